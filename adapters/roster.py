"""The roster: which roles people hold, who decides over which queue, and who decides in whose place.

Roles come from API keys and from the identity provider; they and delegations are read as they were when somebody
decided. Members of a queue are read as they are now: whoever was taken out of one has no say in it any more, not even
by a decision that is under way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, func, literal, or_, select, union_all, update

from adapters.database import Database, insert_new
from adapters.tables import ApiKeyRow, DelegationRow, IdentityRow, QueueMemberRow, ReviewRow, table
from domain.errors import SluiceError
from domain.identity import Role
from domain.payload import Payload
from domain.review import ReviewState
from domain.rights import Person, Standing

_keys = table(ApiKeyRow)
_identities = table(IdentityRow)
_members = table(QueueMemberRow)
_delegations = table(DelegationRow)
_reviews = table(ReviewRow)

IDENTITY_LASTS = timedelta(hours=24)
"""How long what an identity provider said of a person counts after they have signed in."""
LONGEST_DELEGATION = timedelta(days=366)


class RosterError(SluiceError):
    """A delegation that cannot be. The message says what to change."""


class MemberView(Payload):
    """A person who decides over a queue."""

    name: str
    added_by: str
    added_at: datetime


class QueueView(Payload):
    """A queue with its members in alphabetical order, and how many reviews await a decision in it.

    Without members it is open to every reviewer of the tenant.
    """

    name: str
    members: tuple[MemberView, ...]
    pending: int


class DelegationView(Payload):
    """``delegator`` lets ``delegate`` decide in their place, in every queue of theirs where ``queue`` is None."""

    id: str
    delegator: str
    delegate: str
    queue: str | None
    starts_at: datetime
    ends_at: datetime
    created_by: str
    created_at: datetime
    revoked_at: datetime | None


class Roster:
    """Reads and keeps the roster. What belongs to another tenant is as if it did not exist."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(
        self, tenant: str, reviewer: str, on_behalf_of: str | None, queue: str, at: datetime
    ) -> Standing:
        """What counts when ``reviewer`` decides over ``queue`` at this moment. Nobody is refused here."""
        return await self._database.read(
            partial(_standing, tenant=tenant, reviewer=reviewer, on_behalf_of=on_behalf_of, queue=queue, at=at)
        )

    async def roles(self, tenant: str, name: str, at: datetime) -> frozenset[Role]:
        """The roles that the person of this name holds at this moment, over all keys and sign-ins."""
        roles = await self._database.read(partial(_roles, tenant=tenant, names=(name,), at=at))
        return roles[name]

    async def delegators(self, tenant: str, delegate: str, queue: str, at: datetime) -> tuple[str, ...]:
        """Who has this person decide over ``queue`` in their place at this moment; in alphabetical order."""
        statement = (
            select(_delegations.c.delegator)
            .where(*_in_force(tenant, delegate, queue, at))
            .distinct()
            .order_by(_delegations.c.delegator)
        )
        return tuple(await self._database.read(lambda connection: connection.execute(statement).scalars().all()))

    async def queues(self, tenant: str) -> tuple[QueueView, ...]:
        """Every queue that has members or has ever had a review, in alphabetical order."""
        return await self._database.read(partial(_queues, tenant=tenant))

    async def add_member(self, tenant: str, queue: str, name: str, by: str) -> None:
        """Let the person decide over ``queue``; the first member closes it to all others. Again is no change."""
        row = {"tenant": tenant, "queue": queue, "name": name, "added_by": by, "added_at": datetime.now(UTC)}
        await self._database.write(lambda connection: insert_new(connection, _members, [row], "name"))

    async def remove_member(self, tenant: str, queue: str, name: str) -> bool:
        """Take the person out of ``queue``; without its last member it is open to all. False if they were not in it."""
        statement = delete(_members).where(
            _members.c.tenant == tenant, _members.c.queue == queue, _members.c.name == name
        )
        return await self._database.write(lambda connection: connection.execute(statement).rowcount > 0)

    async def delegate(
        self,
        tenant: str,
        delegator: str,
        delegate: str,
        queue: str | None,
        starts_at: datetime,
        ends_at: datetime,
        by: str,
    ) -> DelegationView:
        """Let ``delegate`` decide in ``delegator``'s place from ``starts_at`` until before ``ends_at``.

        Raises ``RosterError``. **Correctness:** a second call makes a second delegation; it gives nobody more rights,
        but to end them both have to be revoked.
        """
        _possible(delegator, delegate, starts_at, ends_at)
        view = DelegationView(
            id=uuid4().hex,
            delegator=delegator,
            delegate=delegate,
            queue=queue,
            starts_at=starts_at,
            ends_at=ends_at,
            created_by=by,
            created_at=datetime.now(UTC),
            revoked_at=None,
        )
        row = view.model_dump() | {"tenant": tenant}
        await self._database.write(lambda connection: insert_new(connection, _delegations, [row], "id"))
        return view

    async def delegations(self, tenant: str, person: str | None) -> tuple[DelegationView, ...]:
        """Delegations from or to ``person``, of everybody where it is None; those that end last at the beginning."""
        statement = select(_delegations).where(_delegations.c.tenant == tenant)
        if person is not None:
            statement = statement.where(or_(_delegations.c.delegator == person, _delegations.c.delegate == person))
        statement = statement.order_by(_delegations.c.ends_at.desc(), _delegations.c.id)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return tuple(_view(row) for row in rows)

    async def revoke_delegation(self, tenant: str, id: str) -> DelegationView | None:
        """End a delegation now; None if the tenant has none of this id. One that was revoked before stays as it is."""
        this = (_delegations.c.tenant == tenant, _delegations.c.id == id)
        revoking = update(_delegations).where(*this, _delegations.c.revoked_at.is_(None))

        def work(connection: Connection) -> Row[Any] | None:
            connection.execute(revoking.values(revoked_at=datetime.now(UTC)))
            return connection.execute(select(_delegations).where(*this)).one_or_none()

        row = await self._database.write(work)
        return None if row is None else _view(row)


def _possible(delegator: str, delegate: str, starts_at: datetime, ends_at: datetime) -> None:
    if delegator == delegate:
        raise RosterError("'delegate' is the delegator; name somebody else")
    if ends_at <= starts_at:
        raise RosterError("'ends_at' is not after 'starts_at'; let the delegation end later")
    if ends_at - starts_at > LONGEST_DELEGATION:
        raise RosterError(f"a delegation lasts at most {LONGEST_DELEGATION.days} days; let it end earlier")


def _standing(
    connection: Connection, tenant: str, reviewer: str, on_behalf_of: str | None, queue: str, at: datetime
) -> Standing:
    names = (reviewer,) if on_behalf_of is None else (reviewer, on_behalf_of)
    roles = _roles(connection, tenant, names, at)
    of_queue = select(_members.c.name).where(_members.c.tenant == tenant, _members.c.queue == queue)
    members = frozenset(connection.execute(of_queue).scalars())

    def person(name: str) -> Person:
        return Person(name=name, roles=roles[name], member=not members or name in members)

    until = None
    if on_behalf_of is not None:
        covering = select(func.max(_delegations.c.ends_at)).where(
            *_in_force(tenant, reviewer, queue, at), _delegations.c.delegator == on_behalf_of
        )
        until = connection.execute(covering).scalar()
    return Standing(
        reviewer=person(reviewer),
        on_behalf_of=None if on_behalf_of is None else person(on_behalf_of),
        delegated_until=until,
    )


def _roles(connection: Connection, tenant: str, names: Sequence[str], at: datetime) -> dict[str, frozenset[Role]]:
    keys = select(_keys.c.name, _keys.c.roles).where(
        _keys.c.tenant == tenant,
        _keys.c.name.in_(names),
        or_(_keys.c.expires_at.is_(None), _keys.c.expires_at > at),
        or_(_keys.c.revoked_at.is_(None), _keys.c.revoked_at > at),
    )
    signed_in = select(_identities.c.name, _identities.c.roles).where(
        _identities.c.tenant == tenant, _identities.c.name.in_(names), _identities.c.seen_at > at - IDENTITY_LASTS
    )
    held: dict[str, set[str]] = {name: set() for name in names}
    for name, roles in connection.execute(union_all(keys, signed_in)):
        held[name].update(json.loads(roles))
    # A role that this version does not know gives no right.
    return {name: frozenset(role for role in Role if role.value in roles) for name, roles in held.items()}


def _in_force(tenant: str, delegate: str, queue: str, at: datetime) -> tuple[ColumnElement[bool], ...]:
    """The conditions on a delegation to ``delegate`` that covers ``queue`` at this moment."""
    return (
        _delegations.c.tenant == tenant,
        _delegations.c.delegate == delegate,
        or_(_delegations.c.queue.is_(None), _delegations.c.queue == queue),
        _delegations.c.starts_at <= at,
        _delegations.c.ends_at > at,
        or_(_delegations.c.revoked_at.is_(None), _delegations.c.revoked_at > at),
    )


def _view(row: Row[Any]) -> DelegationView:
    return DelegationView(**dict(row._mapping))


def _queues(connection: Connection, tenant: str) -> tuple[QueueView, ...]:
    rows = connection.execute(
        select(_members).where(_members.c.tenant == tenant).order_by(_members.c.queue, _members.c.name)
    )
    members: dict[str, list[MemberView]] = {}
    for row in rows:
        members.setdefault(row.queue, []).append(MemberView(**dict(row._mapping)))
    counted = connection.execute(
        select(_reviews.c.queue, func.count().label("pending"))
        .where(_reviews.c.tenant == tenant, _reviews.c.state == ReviewState.PENDING.value)
        .group_by(_reviews.c.queue)
    )
    pending = {row.queue: row.pending for row in counted}
    used: set[str] = set(connection.execute(_used_queues(tenant)).scalars())
    return tuple(
        QueueView(name=name, members=tuple(members.get(name, ())), pending=pending.get(name, 0))
        for name in sorted(used | members.keys())
    )


def _used_queues(tenant: str) -> Select[Any]:
    """The queues of all reviews, found by jumping from one to the next in the index, however many reviews there are."""
    states = union_all(*(select(literal(state.value).label("state")) for state in ReviewState)).subquery("states")

    def first_queue(state: ColumnElement[str], after: ColumnElement[str] | None) -> ColumnElement[str]:
        of_state = select(func.min(_reviews.c.queue)).where(_reviews.c.tenant == tenant, _reviews.c.state == state)
        return (of_state if after is None else of_state.where(_reviews.c.queue > after)).scalar_subquery()

    found = select(states.c.state, first_queue(states.c.state, None).label("queue")).cte("found", recursive=True)
    following = select(found.c.state, first_queue(found.c.state, found.c.queue)).where(found.c.queue.is_not(None))
    found = found.union_all(following)
    return select(found.c.queue).where(found.c.queue.is_not(None)).distinct()
