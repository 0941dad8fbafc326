"""What auditors see: the joined record of one request, with every attempt and every order of a person."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from pydantic import field_serializer

from adapters.decision_outbox import SubmittedDecision
from adapters.decision_rows import OrderKind, given_by
from adapters.ledger_reader import RequestView
from api.review_views import ReviewSummary
from api.views import RequestAnswer, View, answer_from_row, utc
from domain.ledger import DecisionRecord
from domain.override import OverrideAction, OverrideEnvelope
from domain.request import RequestBody
from domain.review import DecisionStatus, ReviewVerdict
from domain.stage import Attempt


class AttemptView(Attempt):
    """One attempt at a model call, with its cost as a number."""

    @field_serializer("cost_usd")
    def _number(self, cost: Decimal) -> float:
        return float(cost)


class DecisionView(View):
    """A reviewer's decision or an operator's override, and what became of it.

    ``reviewer`` is whoever gave it. ``verdict`` and what goes with it are those of a decision, ``action`` and ``stage``
    those of an override; the others are null.
    """

    decision_id: str
    kind: OrderKind
    status: DecisionStatus
    because: str | None
    reviewer: str
    on_behalf_of: str | None = None
    reason: str
    decided_at: datetime
    verdict: ReviewVerdict | None = None
    review_version: int | None = None
    result_sha256: str | None = None
    output: str | None = None
    overrule: tuple[str, ...] | None = None
    queue: str | None = None
    instruction: str | None = None
    action: OverrideAction | None = None
    stage: str | None = None
    signature: str
    """Empty where the API itself refused it."""
    submitted_at: datetime
    settled_at: datetime | None


_DECISION_FIELDS = frozenset({"verdict", "review_version", "result_sha256", "output", "overrule", "queue"}) | {
    "instruction",
    "on_behalf_of",
}
_OVERRIDE_FIELDS = frozenset({"action", "stage"})


def decision_view(submitted: SubmittedDecision) -> DecisionView:
    """The view of a submitted decision or override."""
    envelope = submitted.envelope
    own = _OVERRIDE_FIELDS if isinstance(envelope, OverrideEnvelope) else _DECISION_FIELDS
    return DecisionView(
        **{field: getattr(envelope, field) for field in own},
        decision_id=envelope.decision_id,
        kind=submitted.kind,
        status=submitted.status,
        because=submitted.because,
        reviewer=given_by(envelope),
        reason=envelope.reason,
        decided_at=envelope.decided_at.astimezone(UTC),
        signature=envelope.signature,
        submitted_at=submitted.submitted_at.astimezone(UTC),
        settled_at=utc(submitted.settled_at),
    )


class RecordedRequest(RequestAnswer):
    """A request as an auditor sees it."""

    tenant: str
    requester: str
    subject: str | None
    body: RequestBody
    body_sha256: str


class RecordAnswer(View):
    """The joined decision record of one request."""

    request: RecordedRequest
    records: tuple[DecisionRecord, ...]
    attempts: tuple[AttemptView, ...]
    decisions: tuple[DecisionView, ...]
    review: ReviewSummary | None = None


def recorded_request(row: RequestView) -> RecordedRequest:
    """The auditor's view of a request in the ledger."""
    return RecordedRequest(
        **dict(answer_from_row(row)),
        tenant=row.tenant,
        requester=row.requester,
        subject=row.subject,
        body=row.body,
        body_sha256=row.body_sha256,
    )
