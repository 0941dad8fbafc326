"""The roster: rights as members, delegations, keys, sign-ins and time give them, against a reference of a few lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from adapters.api_keys import ApiKeys
from adapters.database import Database
from adapters.roster import Roster, RosterError
from adapters.sql_ledger import SqlLedger
from adapters.tables import ApiKeyRow, DelegationRow, IdentityRow, QueueMemberRow, table
from domain.identity import Principal, Role
from domain.rights import WhoMayDecide, objection
from tests.adapters.ledger_examples import START, ending, held_request, hold
from tests.adapters.statements import plan_of, watched

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PEOPLE = ("ann", "bob", "cyd")
QUEUES = ("claims", "legal")


@pytest.fixture
def roster(database: Database) -> Roster:
    return Roster(database)


@dataclass(frozen=True)
class Key:
    name: str
    roles: tuple[Role, ...]
    expires: int | None
    revoked: int | None


@dataclass(frozen=True)
class SignIn:
    name: str
    roles: tuple[Role, ...]
    seen: int


@dataclass(frozen=True)
class Delegated:
    delegator: str
    delegate: str
    queue: str | None
    starts: int
    ends: int
    revoked: int | None


@dataclass(frozen=True)
class World:
    """A tenant at any moment. Times are hours since the start."""

    keys: tuple[Key, ...]
    sign_ins: tuple[SignIn, ...]
    members: frozenset[tuple[str, str]]
    delegations: tuple[Delegated, ...]

    def roles(self, name: str, at: int) -> frozenset[Role]:
        by_key = [key.roles for key in self.keys if key.name == name and _before(at, key.expires, key.revoked)]
        signed_in = [one.roles for one in self.sign_ins if one.name == name and at < one.seen + 24]
        return frozenset(role for roles in by_key + signed_in for role in roles)

    def member(self, name: str, queue: str) -> bool:
        return (queue, name) in self.members or all(other != queue for other, _ in self.members)

    def delegated(self, delegator: str, delegate: str, queue: str, at: int) -> list[int]:
        return [
            one.ends
            for one in self.delegations
            if (one.delegator, one.delegate) == (delegator, delegate)
            and one.queue in (None, queue)
            and one.starts <= at
            and _before(at, one.ends, one.revoked)
        ]

    def may_decide(self, name: str, behalf: str | None, queue: str, at: int, *, senior_only: bool) -> bool:
        kinds = {Role.REVIEWER, Role.SENIOR_REVIEWER}
        if not self.roles(name, at) & kinds:
            return False
        if behalf is not None and not self.delegated(behalf, name, queue, at):
            return False
        entitled = behalf or name
        needed = {Role.SENIOR_REVIEWER} if senior_only else kinds
        return self.member(entitled, queue) and bool(self.roles(entitled, at) & needed)


def _before(at: int, *ends: int | None) -> bool:
    return all(end is None or at < end for end in ends)


HOURS = st.integers(-3, 30)
ROLES = st.lists(st.sampled_from([Role.REVIEWER, Role.SENIOR_REVIEWER, Role.SERVICE]), unique=True).map(tuple)
NAMES = st.sampled_from(PEOPLE)
WORLDS = st.builds(
    World,
    keys=st.lists(st.builds(Key, NAMES, ROLES, st.none() | HOURS, st.none() | HOURS), max_size=5).map(tuple),
    sign_ins=st.lists(st.builds(SignIn, NAMES, ROLES, HOURS), max_size=3, unique_by=lambda one: one.name).map(tuple),
    members=st.frozensets(st.tuples(st.sampled_from(QUEUES), NAMES), max_size=4),
    delegations=st.lists(
        st.builds(Delegated, NAMES, NAMES, st.sampled_from([None, *QUEUES]), HOURS, HOURS, st.none() | HOURS),
        max_size=5,
    ).map(tuple),
)

EDGES = World(
    keys=(Key("ann", (Role.REVIEWER,), None, 5), Key("bob", (Role.REVIEWER,), 5, None)),
    sign_ins=(SignIn("cyd", (Role.REVIEWER,), 5 - 24),),
    members=frozenset(),
    delegations=(Delegated("ann", "bob", None, 5, 6, None), Delegated("cyd", "bob", None, 1, 5, None)),
)
"""Everything ends at five o'clock, and one delegation begins then."""


def _at(hours: int | None) -> datetime | None:
    return None if hours is None else START + hours * HOUR


def _roles(roles: Sequence[Role]) -> str:
    return json.dumps([role.value for role in roles] + ["a role of the next version"])


def build(connection: Connection, world: World, tenant: str) -> None:
    """Write the world into the tables."""

    def fill(row: Any, values: list[dict[str, Any]]) -> None:
        if values:
            connection.execute(table(row).insert(), [one | {"tenant": tenant} for one in values])

    made = {"mac": "m", "created_at": START}
    keys: list[dict[str, Any]] = [
        {"prefix": uuid4().hex, "name": key.name, "roles": _roles(key.roles)}
        | {"expires_at": _at(key.expires), "revoked_at": _at(key.revoked)}
        | made
        for key in world.keys
    ]
    fill(ApiKeyRow, keys)
    sign_ins = [{"name": one.name, "roles": _roles(one.roles), "seen_at": _at(one.seen)} for one in world.sign_ins]
    fill(IdentityRow, [one | {"source": "oidc:https://id.example"} for one in sign_ins])
    members = [{"queue": queue, "name": name} for queue, name in sorted(world.members)]
    fill(QueueMemberRow, [one | {"added_by": "olga", "added_at": START} for one in members])
    delegations: list[dict[str, Any]] = [
        {"id": uuid4().hex, "delegator": one.delegator, "delegate": one.delegate, "queue": one.queue}
        | {"starts_at": _at(one.starts), "ends_at": _at(one.ends), "revoked_at": _at(one.revoked)}
        for one in world.delegations
    ]
    fill(DelegationRow, [one | {"created_by": "olga", "created_at": START} for one in delegations])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(world=EDGES, queue="legal", at=5, senior_only=False)
@given(world=WORLDS, queue=st.sampled_from(QUEUES), at=HOURS, senior_only=st.booleans())
async def test_rights_are_what_the_reference_says(
    world: World, queue: str, at: int, senior_only: bool, database: Database
) -> None:
    tenant, roster, moment = uuid4().hex, Roster(database), START + at * HOUR
    await database.write(lambda connection: build(connection, world, tenant))
    who = WhoMayDecide(requester="shop", queue=queue, senior_only=senior_only)
    for name in PEOPLE:
        assert await roster.roles(tenant, name, moment) == world.roles(name, at)
        givers = tuple(sorted({one for one in PEOPLE if world.delegated(one, name, queue, at)}))
        assert await roster.delegators(tenant, name, queue, moment) == givers
        for behalf in (None, *PEOPLE):
            standing = await roster.standing(tenant, name, behalf, queue, moment)
            may = world.may_decide(name, behalf, queue, at, senior_only=senior_only)
            assert (objection(who, standing) is None) == may
            ends = [] if behalf is None else world.delegated(behalf, name, queue, at)
            assert standing.delegated_until == (_at(max(ends)) if ends else None)
            elsewhere = await roster.standing(uuid4().hex, name, behalf, queue, moment)
            assert objection(who, elsewhere) is not None


async def test_rights_of_keys_are_those_at_the_moment_of_the_decision(database: Database, roster: Roster) -> None:
    keys, now = ApiKeys(database, b"p" * 32), datetime.now(UTC)
    secret = await keys.create(Principal(tenant="acme", name="rita", roles=frozenset({Role.REVIEWER})))
    second = Principal(tenant="acme", name="rita", roles=frozenset({Role.AUDITOR}))
    await keys.create(second, expires_at=now + HOUR)
    assert await roster.roles("acme", "rita", now) == {Role.REVIEWER, Role.AUDITOR}
    await keys.revoke(secret[10:18])
    assert await roster.roles("acme", "rita", now) == {Role.REVIEWER, Role.AUDITOR}  # decided before
    assert await roster.roles("acme", "rita", now + HOUR / 2) == {Role.AUDITOR}
    assert await roster.roles("acme", "rita", now + HOUR) == frozenset()
    assert await roster.roles("acme", "nobody", now) == frozenset()


async def test_the_first_member_closes_a_queue_and_the_last_one_opens_it(roster: Roster) -> None:
    async def members() -> list[bool]:
        standings = [await roster.standing("acme", name, None, "legal", START) for name in ("ann", "bob")]
        return [standing.reviewer.member for standing in standings]

    assert await members() == [True, True]
    for _ in range(2):
        await roster.add_member("acme", "legal", "ann", "olga")
    assert await members() == [True, False]
    assert not await roster.remove_member("acme", "legal", "bob")
    assert not await roster.remove_member("other", "legal", "ann")
    assert await roster.remove_member("acme", "legal", "ann")
    assert not await roster.remove_member("acme", "legal", "ann")
    assert await members() == [True, True]


async def test_queues_are_those_with_members_or_reviews(database: Database, roster: Roster) -> None:
    await roster.add_member("acme", "empty", "cyd", "olga")
    await roster.add_member("acme", "legal", "bob", "olga")
    await roster.add_member("acme", "legal", "ann", "sue")
    await roster.add_member("other", "secret", "ann", "sue")
    for queue in ("legal", "legal", "zoo"):
        await hold(database, queue=queue)
    past = await hold(database, queue="past")
    await SqlLedger(database).end(ending(held_request(past)))
    await hold(database, queue="secret", tenant="other")
    found = await roster.queues("acme")
    assert [(queue.name, queue.pending, [member.name for member in queue.members]) for queue in found] == [
        ("empty", 0, ["cyd"]),
        ("legal", 2, ["ann", "bob"]),
        ("past", 0, []),
        ("zoo", 1, []),
    ]
    assert [(member.added_by, member.added_at.tzinfo) for member in found[1].members] == [("sue", UTC), ("olga", UTC)]
    assert await roster.queues("nobody") == ()


async def test_a_delegation_holds_from_its_start_until_it_ends_or_is_revoked(roster: Roster) -> None:
    now = datetime.now(UTC)
    given_to_bob = await roster.delegate("acme", "ann", "bob", "legal", now - HOUR, now + DAY, "ann")
    await roster.delegate("acme", "cyd", "bob", None, now - HOUR, now + HOUR, "olga")
    assert await roster.delegators("acme", "bob", "legal", now) == ("ann", "cyd")
    assert await roster.delegators("acme", "bob", "claims", now) == ("cyd",)
    assert await roster.delegators("acme", "bob", "legal", now + HOUR) == ("ann",)
    assert await roster.delegators("acme", "bob", "legal", now - 2 * HOUR) == ()
    assert await roster.delegators("other", "bob", "legal", now) == ()
    assert await roster.delegators("acme", "ann", "legal", now) == ()
    assert await roster.revoke_delegation("other", given_to_bob.id) is None
    revoked = await roster.revoke_delegation("acme", given_to_bob.id)
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert revoked == given_to_bob.model_copy(update={"revoked_at": revoked.revoked_at})
    assert await roster.revoke_delegation("acme", given_to_bob.id) == revoked
    assert await roster.revoke_delegation("acme", "unknown") is None
    assert await roster.delegators("acme", "bob", "legal", datetime.now(UTC)) == ("cyd",)
    assert await roster.delegators("acme", "bob", "legal", now) == ("ann", "cyd")  # decided before


async def test_delegations_are_listed_from_and_to_a_person(roster: Roster) -> None:
    first = await roster.delegate("acme", "ann", "bob", "legal", START, START + DAY, "ann")
    second = await roster.delegate("acme", "cyd", "ann", None, START, START + 2 * DAY, "olga")
    third = await roster.delegate("acme", "cyd", "bob", None, START, START + 3 * DAY, "cyd")
    await roster.delegate("other", "ann", "bob", None, START, START + DAY, "ann")
    assert await roster.delegations("acme", None) == (third, second, first)
    assert await roster.delegations("acme", "ann") == (second, first)
    assert await roster.delegations("acme", "nobody") == ()


@pytest.mark.parametrize(
    ("delegate", "lasts", "problem"),
    [
        ("ann", DAY, "somebody else"),
        ("bob", timedelta(0), "end later"),
        ("bob", -HOUR, "end later"),
        ("bob", 366 * DAY + timedelta(microseconds=1), "end earlier"),
    ],
)
async def test_a_delegation_that_cannot_be_is_refused(
    delegate: str, lasts: timedelta, problem: str, roster: Roster
) -> None:
    with pytest.raises(RosterError, match=problem):
        await roster.delegate("acme", "ann", delegate, None, START, START + lasts, "ann")
    assert await roster.delegations("acme", None) == ()


async def test_the_longest_delegation_is_a_year(roster: Roster) -> None:
    await roster.delegate("acme", "ann", "bob", None, START, START + 366 * DAY, "ann")
    assert len(await roster.delegations("acme", "bob")) == 1


async def test_rights_are_read_in_one_transaction_of_few_statements(sqlite_database: Database) -> None:
    """A worker asks before it applies a decision; each answer is found by an index."""
    roster = Roster(sqlite_database)
    with watched() as seen:
        await roster.standing("acme", "ann", "bob", "legal", START)
    statements = [statement for statement, _ in seen]
    assert [one.split()[0] for one in statements] == ["BEGIN", "SELECT", "SELECT", "SELECT"]

    async def ask() -> None:
        await roster.standing("acme", "ann", "bob", "legal", START)
        await roster.delegators("acme", "ann", "legal", START)

    steps = [step for plan in await plan_of(sqlite_database, ask) for step in plan]
    assert not [step for step in steps if step.startswith("SCAN")]
    assert sum(step.startswith("SEARCH") for step in steps) == 5


async def test_queues_are_found_without_looking_at_all_reviews(sqlite_database: Database) -> None:
    plans = await plan_of(sqlite_database, lambda: Roster(sqlite_database).queues("acme"))
    steps = [step for plan in plans for step in plan]
    assert not [step for step in steps if step.startswith("SCAN reviews")]
    of_reviews = [step for step in steps if step.startswith("SEARCH reviews")]
    assert len(of_reviews) == 3
    assert all("COVERING INDEX ix_reviews_tenant_state_queue" in step for step in of_reviews)
