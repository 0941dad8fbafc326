"""What people and services may read of the ledger, each tenant its own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, Select, literal, select, tuple_

from adapters.database import Database
from adapters.decision_outbox import SubmittedDecision, submitted
from adapters.sql_journal import fold_attempts
from adapters.tables import (
    AttemptRow,
    DecisionRecordRow,
    DecisionRow,
    RequestBodyRow,
    RequestRow,
    ReviewRow,
    table,
)
from domain.errors import SluiceError
from domain.ledger import DecisionRecord
from domain.payload import Payload
from domain.request import Message, Outcome, RequestBody, Status
from domain.review import Proposal, ReviewState, ReviewVerdict
from domain.risk import RiskTier
from domain.stage import Attempt

__all__ = ["CursorError", "LedgerReader", "RequestView", "ReviewPage", "ReviewState", "ReviewView", "SubmittedDecision"]

_requests = table(RequestRow)
_bodies = table(RequestBodyRow)
_records = table(DecisionRecordRow)
_attempts = table(AttemptRow)
_reviews = table(ReviewRow)
_decisions = table(DecisionRow)


class CursorError(SluiceError):
    """A cursor that no list gave out."""


class RequestView(Payload):
    """Where a request stands and, once it has ended, with what. Costs are in US dollars."""

    request_id: str
    tenant: str
    requester: str
    subject: str | None
    policy: str
    policy_version: str
    status: Status
    outcome: Outcome | None
    risk: RiskTier | None
    output: str | None
    result_sha256: str | None
    reason: str | None
    model: str | None
    model_version_served: str | None
    stages_attempted: int
    cost_usd: Decimal
    baseline_cost_usd: Decimal
    tokens: int
    body: RequestBody
    body_sha256: str
    created_at: datetime
    ended_at: datetime | None


class ReviewView(Payload):
    """A review in its newest version. ``messages`` is what the requester sent."""

    request_id: str
    tenant: str
    requester: str
    subject: str | None
    policy: str
    policy_version: str
    queue: str
    risk: RiskTier
    why: str
    rule: str
    proposal: Proposal
    may_escalate: bool
    opened_at: datetime
    expires_at: datetime
    state: ReviewState
    reminders: int
    decided_by: str | None
    decided_verdict: ReviewVerdict | None
    closed_at: datetime | None
    messages: tuple[Message, ...]


class ReviewPage(Payload):
    """Part of a list of reviews. ``next_cursor`` leads to the next part, None where there is none."""

    items: tuple[ReviewView, ...]
    next_cursor: str | None


class LedgerReader:
    """Reads; writes nothing. What belongs to another tenant is as if it did not exist."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(self, request_id: str, tenant: str) -> RequestView | None:
        """The request, or None."""
        statement = (
            select(_requests, _bodies.c.body)
            .join(_bodies, _bodies.c.request_id == _requests.c.request_id)
            .where(_requests.c.request_id == request_id, _requests.c.tenant == tenant)
        )
        rows = await self._all(statement)
        return _request_view(rows[0]) if rows else None

    async def records(self, request_id: str, tenant: str) -> list[DecisionRecord]:
        """The request's decision records in order."""
        statement = (
            select(_records.c.record)
            .join(_requests, _requests.c.request_id == _records.c.request_id)
            .where(_records.c.request_id == request_id, _requests.c.tenant == tenant)
            .order_by(_records.c.sequence)
        )
        return [DecisionRecord.model_validate_json(row.record) for row in await self._all(statement)]

    async def attempts(self, request_id: str, tenant: str) -> list[Attempt]:
        """Every attempt at a model call of the request, in the order they were begun."""
        statement = (
            select(_attempts.c.call_key, _attempts.c.number, _attempts.c.state, _attempts.c.attempt)
            .join(_requests, _requests.c.request_id == _attempts.c.request_id)
            .where(_attempts.c.request_id == request_id, _requests.c.tenant == tenant)
            .order_by(_attempts.c.recorded_at, _attempts.c.call_key, _attempts.c.number)
        )
        return list(fold_attempts(await self._all(statement)))

    async def reviews(
        self, tenant: str, state: ReviewState | None, limit: int, cursor: str | None, queue: str | None = None
    ) -> ReviewPage:
        """At most ``limit`` reviews, those that expire first at the beginning, after ``cursor``.

        A page goes on where the one before ended, whatever was opened or decided in between. Raises ``CursorError``.
        """
        statement = _review_select().where(_reviews.c.tenant == tenant)
        if state is not None:
            statement = statement.where(_reviews.c.state == state.value)
        if queue is not None:
            statement = statement.where(_reviews.c.queue == queue)
        place = (_reviews.c.expires_at, _reviews.c.request_id)
        if cursor is not None:
            expires_at, request_id = _read_cursor(cursor)
            after = tuple_(literal(expires_at, _reviews.c.expires_at.type), literal(request_id))
            statement = statement.where(tuple_(*place) > after)
        rows = await self._all(statement.order_by(*place).limit(limit + 1))
        items = tuple(_review_view(row) for row in rows[:limit])
        return ReviewPage(items=items, next_cursor=_cursor(items[-1]) if len(rows) > limit and items else None)

    async def review(self, request_id: str, tenant: str) -> ReviewView | None:
        """The request's review, or None if it was never held."""
        statement = _review_select().where(_reviews.c.request_id == request_id, _reviews.c.tenant == tenant)
        rows = await self._all(statement)
        return _review_view(rows[0]) if rows else None

    async def decision(self, request_id: str, decision_id: str) -> SubmittedDecision | None:
        """The submitted decision, or None. For callers that have checked whose request it is."""
        statement = select(_decisions).where(
            _decisions.c.request_id == request_id, _decisions.c.decision_id == decision_id
        )
        rows = await self._all(statement)
        return submitted(rows[0]) if rows else None

    async def decisions(self, request_id: str, tenant: str) -> list[SubmittedDecision]:
        """All decisions submitted on the request, oldest first."""
        statement = (
            select(_decisions)
            .where(_decisions.c.request_id == request_id, _decisions.c.tenant == tenant)
            .order_by(_decisions.c.submitted_at, _decisions.c.decision_id)
        )
        return [submitted(row) for row in await self._all(statement)]

    async def _all(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        def work(connection: Connection) -> Sequence[Row[Any]]:
            return connection.execute(statement).all()

        return await self._database.read(work)


def _request_view(row: Row[Any]) -> RequestView:
    fields = dict(row._mapping)
    return RequestView(**fields | {"body": RequestBody.model_validate_json(row.body)})


def _review_select() -> Select[Any]:
    return select(_reviews, _bodies.c.body).join(_bodies, _bodies.c.request_id == _reviews.c.request_id)


def _review_view(row: Row[Any]) -> ReviewView:
    proposal = Proposal(
        review_version=row.review_version, text=row.text, result_sha256=row.result_sha256, stage_index=row.stage_index
    )
    messages = RequestBody.model_validate_json(row.body).conversation()
    return ReviewView(**dict(row._mapping) | {"proposal": proposal, "messages": messages})


def _cursor(last: ReviewView) -> str:
    place = f"{last.expires_at.isoformat()}|{last.request_id}"
    return base64.urlsafe_b64encode(place.encode("utf-8")).decode("ascii").rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        place = base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8")
        moment, _, request_id = place.partition("|")
        expires_at = datetime.fromisoformat(moment)
    except (ValueError, binascii.Error):
        expires_at, request_id = None, ""
    if expires_at is None or expires_at.tzinfo is None or not request_id or "\x00" in request_id:
        raise CursorError("'cursor' is none that a list gave out; leave it out to start at the beginning")
    return expires_at, request_id
