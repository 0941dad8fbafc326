"""What people and services may read of the ledger, each tenant its own."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, select

from adapters.decision_rows import SubmittedDecision, submitted
from adapters.review_reader import CursorError, ReviewReader
from adapters.review_rows import (
    AnswerView,
    DeliveryView,
    ReviewPage,
    ReviewQuery,
    ReviewRowView,
    ReviewVersion,
    ReviewView,
)
from adapters.sql_journal import fold_attempts
from adapters.tables import AttemptRow, DecisionRecordRow, DecisionRow, RequestBodyRow, RequestRow, table
from domain.ledger import DecisionRecord
from domain.payload import Payload
from domain.request import Outcome, RequestBody, Status
from domain.review import ReviewState
from domain.risk import RiskTier
from domain.stage import Attempt

__all__ = [
    "AnswerView",
    "CursorError",
    "DeliveryView",
    "LedgerReader",
    "RequestView",
    "ReviewPage",
    "ReviewQuery",
    "ReviewRowView",
    "ReviewState",
    "ReviewVersion",
    "ReviewView",
    "SubmittedDecision",
]

_requests = table(RequestRow)
_bodies = table(RequestBodyRow)
_records = table(DecisionRecordRow)
_attempts = table(AttemptRow)
_decisions = table(DecisionRow)


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


class LedgerReader(ReviewReader):
    """Reads requests, and reviews as well; writes nothing. Another tenant's are as if they did not exist."""

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

    async def decision(self, request_id: str, decision_id: str) -> SubmittedDecision | None:
        """The submitted decision or override, or None. For callers that have checked whose request it is."""
        statement = select(_decisions).where(
            _decisions.c.request_id == request_id, _decisions.c.decision_id == decision_id
        )
        rows = await self._all(statement)
        return submitted(rows[0]) if rows else None

    async def decisions(self, request_id: str, tenant: str) -> list[SubmittedDecision]:
        """All decisions and overrides submitted on the request, refused ones too, oldest first."""
        statement = (
            select(_decisions)
            .where(_decisions.c.request_id == request_id, _decisions.c.tenant == tenant)
            .order_by(_decisions.c.submitted_at, _decisions.c.decision_id)
        )
        return [submitted(row) for row in await self._all(statement)]


def _request_view(row: Row[Any]) -> RequestView:
    fields = dict(row._mapping)
    return RequestView(**fields | {"body": RequestBody.model_validate_json(row.body)})
