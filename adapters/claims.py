"""Who works on which review: claims with a lease, and who has the page open. Coordination, not protocol.

A claim ends by itself when its lease is over: nothing has to run for that, since whoever reads it compares the time.
The ledger takes a claim away together with the decision that ends its purpose.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, Select, select, update
from sqlalchemy.dialects import postgresql, sqlite

from adapters.database import Database
from adapters.tables import ReviewEventRow, ReviewRow, ViewerRow, table
from domain.errors import SluiceError
from domain.payload import Payload
from domain.review import ReviewState

_reviews = table(ReviewRow)
_events = table(ReviewEventRow)
_viewers = table(ViewerRow)

SEEN_FOR = timedelta(seconds=30)
"""How long after its last sign of life a page counts as open."""


class ClaimedError(SluiceError):
    """Somebody else has claimed the review."""

    def __init__(self, by: str, until: datetime) -> None:
        super().__init__(f"{by!r} has claimed this review until {until.isoformat()}; wait, or have it reassigned")
        self.by = by
        self.until = until


class NotPendingError(SluiceError):
    """The review awaits no decision, so nobody can claim it."""

    def __init__(self) -> None:
        super().__init__("this review awaits no decision (any more); claim another one")


class ClaimView(Payload):
    """A claim that lives until ``claimed_until`` unless it is renewed."""

    claimed_by: str
    claimed_until: datetime


class ReviewEventKind(StrEnum):
    """What a person did beside the protocol."""

    OPENED_PAGE = "opened_page"
    CLAIMED = "claimed"
    RELEASED = "released"
    REASSIGNED = "reassigned"


class ReviewEvent(Payload):
    """A human step on a review. ``data`` says more: the review's version, a reason, whom it went to."""

    at: datetime
    actor: str
    kind: ReviewEventKind
    data: dict[str, Any]


class Claims:
    """Keeps claims. Each method is one transaction; two that meet are served one after the other."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, request_id: str, tenant: str, name: str, lease: timedelta, now: datetime) -> ClaimView:
        """Claim the review for ``lease``, or begin the lease of one's own claim anew.

        Raises ``ClaimedError`` while somebody else's claim lives, ``NotPendingError`` where nothing can be decided.
        **Correctness:** again is a renewal, and recorded once.
        """

        def work(connection: Connection) -> ClaimView:
            row = _pending(connection, request_id, tenant)
            holder = _holder(row, now)
            if holder is not None and holder.claimed_by != name:
                raise ClaimedError(holder.claimed_by, holder.claimed_until)
            claim = ClaimView(claimed_by=name, claimed_until=now + lease)
            _set(connection, request_id, claim)
            if holder is None:
                data = {"review_version": row.review_version, "until": claim.claimed_until.isoformat()}
                _record(
                    connection, request_id, ReviewEvent(at=now, actor=name, kind=ReviewEventKind.CLAIMED, data=data)
                )
            return claim

        return await self._database.write(work)

    async def release(self, request_id: str, tenant: str, name: str, now: datetime) -> bool:
        """Give one's claim back; False if there is none that lives. **Correctness:** again is no change."""

        def work(connection: Connection) -> bool:
            row = _locked(connection, request_id, tenant)
            holder = None if row is None else _holder(row, now)
            if row is None or holder is None or holder.claimed_by != name:
                return False
            _set(connection, request_id, None)
            data = {"review_version": row.review_version}
            _record(connection, request_id, ReviewEvent(at=now, actor=name, kind=ReviewEventKind.RELEASED, data=data))
            return True

        return await self._database.write(work)

    async def reassign(
        self, request_id: str, tenant: str, to: str, by: str, lease: timedelta, reason: str, now: datetime
    ) -> ClaimView:
        """Give the claim to ``to`` for ``lease``, whoever has it. Raises ``NotPendingError``.

        **Correctness:** again begins the lease anew and is recorded again: ordering it twice is two orders.
        """

        def work(connection: Connection) -> ClaimView:
            row = _pending(connection, request_id, tenant)
            holder = _holder(row, now)
            claim = ClaimView(claimed_by=to, claimed_until=now + lease)
            _set(connection, request_id, claim)
            data = {
                "review_version": row.review_version,
                "to": to,
                "from": None if holder is None else holder.claimed_by,
                "reason": reason,
                "until": claim.claimed_until.isoformat(),
            }
            _record(connection, request_id, ReviewEvent(at=now, actor=by, kind=ReviewEventKind.REASSIGNED, data=data))
            return claim

        return await self._database.write(work)

    async def look(self, request_id: str, tenant: str, name: str, now: datetime) -> tuple[str, ...]:
        """The sign of life of an open page; the other people who have it open, in alphabetical order.

        The first one of a person for each version of the review is recorded. A review that the tenant does not have is
        looked at by nobody.
        """
        return await self._database.write(partial(_look, request_id=request_id, tenant=tenant, name=name, now=now))

    async def events(self, request_id: str, tenant: str) -> list[ReviewEvent]:
        """What people did beside the protocol, in order of time."""
        statement = (
            select(_events)
            .join(_reviews, _reviews.c.request_id == _events.c.request_id)
            .where(_events.c.request_id == request_id, _reviews.c.tenant == tenant)
            .order_by(_events.c.at, _events.c.id)
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [ReviewEvent(at=row.at, actor=row.actor, kind=row.kind, data=json.loads(row.data)) for row in rows]


def _locked(connection: Connection, request_id: str, tenant: str) -> Row[Any] | None:
    """The review's state and claim, locked against others until the transaction ends; SQLite has locked all already."""
    columns = (_reviews.c.state, _reviews.c.review_version, _reviews.c.claimed_by, _reviews.c.claimed_until)
    this = (_reviews.c.request_id == request_id, _reviews.c.tenant == tenant)
    statement: Select[Any] = select(*columns).where(*this).with_for_update()
    return connection.execute(statement).one_or_none()


def _pending(connection: Connection, request_id: str, tenant: str) -> Row[Any]:
    row = _locked(connection, request_id, tenant)
    if row is None or row.state != ReviewState.PENDING.value:
        raise NotPendingError
    return row


def _holder(row: Row[Any], now: datetime) -> ClaimView | None:
    """The claim that lives."""
    if row.claimed_by is None or row.claimed_until <= now:
        return None
    return ClaimView(claimed_by=row.claimed_by, claimed_until=row.claimed_until)


def _set(connection: Connection, request_id: str, claim: ClaimView | None) -> None:
    values = {"claimed_by": None, "claimed_until": None} if claim is None else claim.model_dump()
    connection.execute(update(_reviews).where(_reviews.c.request_id == request_id).values(values))


def _record(connection: Connection, request_id: str, event: ReviewEvent) -> None:
    row = {
        "id": uuid4().hex,
        "request_id": request_id,
        "at": event.at,
        "actor": event.actor,
        "kind": event.kind.value,
        "data": json.dumps(event.data),
    }
    connection.execute(_events.insert(), row)


def _look(connection: Connection, request_id: str, tenant: str, name: str, now: datetime) -> tuple[str, ...]:
    this = (_reviews.c.request_id == request_id, _reviews.c.tenant == tenant)
    version = connection.execute(select(_reviews.c.review_version).where(*this)).scalar_one_or_none()
    if version is None:
        return ()
    # Before the events are read: two pages of one person then come one after the other.
    insert = (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(_viewers)
    seen = insert.on_conflict_do_update(
        index_elements=["request_id", "name"], set_={"seen_at": insert.excluded.seen_at}
    )
    connection.execute(seen, {"request_id": request_id, "name": name, "seen_at": now})
    opened = select(_events.c.data).where(
        _events.c.request_id == request_id,
        _events.c.actor == name,
        _events.c.kind == ReviewEventKind.OPENED_PAGE.value,
    )
    known = {json.loads(data)["review_version"] for data in connection.execute(opened).scalars()}
    if version not in known:
        data = {"review_version": version}
        _record(connection, request_id, ReviewEvent(at=now, actor=name, kind=ReviewEventKind.OPENED_PAGE, data=data))
    others = select(_viewers.c.name).where(
        _viewers.c.request_id == request_id, _viewers.c.name != name, _viewers.c.seen_at > now - SEEN_FOR
    )
    return tuple(connection.execute(others.order_by(_viewers.c.name)).scalars())
