"""What callers see of requests and reviews. Money is a JSON number in US dollars, times are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from adapters.decision_outbox import SubmittedDecision
from adapters.ledger_reader import RequestView, ReviewView
from domain.guardrails import Verdict
from domain.ledger import DecisionRecord, RecordKind
from domain.request import Message, Outcome, RequestBody, RequestResult, Status
from domain.review import DecisionStatus, Proposal, ReviewVerdict
from domain.risk import RiskTier
from domain.stage import Attempt


class View(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class PolicyRef(View):
    """The policy version a request is pinned to."""

    name: str
    version: str


class ModelRef(View):
    """The model whose answer was released, and what the provider says served it."""

    name: str
    version_served: str | None


class Links(View):
    """Where to go on from a request."""

    self: str
    events: str
    record: str
    history: str
    cancel: str
    review: str | None = None


class RequestAnswer(View):
    """Where a request stands. ``output`` is null until it has ended."""

    id: str
    status: Status
    outcome: Outcome | None = None
    output: str | None = None
    result_sha256: str | None = None
    reason: str | None = None
    risk: RiskTier | None = None
    policy: PolicyRef | None
    """None only in the moment before the request is admitted to the ledger."""
    model: ModelRef | None = None
    stages_attempted: int = 0
    cost_usd: float = 0.0
    baseline_cost_usd: float = 0.0
    created_at: datetime | None = None
    ended_at: datetime | None = None
    links: Links


class RequestWithProgress(RequestAnswer):
    """Where a request stands, with what its Workflow says it is doing."""

    progress: dict[str, Any] | None = None


def links_to(request_id: str, status: Status) -> Links:
    """The links of a request; to its review only while it is held."""
    own = f"/v1/requests/{request_id}"
    return Links(
        self=own,
        events=f"{own}/events",
        record=f"{own}/record",
        history=f"{own}/history",
        cancel=f"{own}/cancel",
        review=f"/v1/reviews/{request_id}" if status is Status.HELD else None,
    )


def answer_from_row(row: RequestView) -> RequestAnswer:
    """The answer for a request in the ledger."""
    ended = row.status.ended
    return RequestAnswer(
        id=row.request_id,
        status=row.status,
        outcome=row.outcome,
        output=row.output if ended else None,
        result_sha256=row.result_sha256 if ended else None,
        reason=row.reason,
        risk=row.risk,
        policy=PolicyRef(name=row.policy, version=row.policy_version),
        model=_model(row.model, row.model_version_served),
        stages_attempted=row.stages_attempted,
        cost_usd=float(row.cost_usd),
        baseline_cost_usd=float(row.baseline_cost_usd),
        created_at=_utc(row.created_at),
        ended_at=_utc(row.ended_at),
        links=links_to(row.request_id, row.status),
    )


def answer_from_result(result: RequestResult, created_at: datetime | None) -> RequestAnswer:
    """The answer for a request whose Workflow has returned ``result``; its ledger commit came before."""
    return RequestAnswer(
        id=result.request_id,
        status=result.status,
        outcome=result.outcome,
        output=result.output,
        result_sha256=result.result_sha256,
        reason=result.reason,
        risk=result.risk,
        policy=PolicyRef(name=result.policy, version=result.policy_version),
        model=_model(result.model, result.model_version_served),
        stages_attempted=result.stages_attempted,
        cost_usd=float(result.cost_usd),
        baseline_cost_usd=float(result.baseline_cost_usd),
        created_at=_utc(created_at),
        ended_at=_utc(result.ended_at),
        links=links_to(result.request_id, result.status),
    )


def answer_running(request_id: str, policy: PolicyRef | None, created_at: datetime | None) -> RequestAnswer:
    """The answer for a request that Temporal has accepted and the ledger does not know yet."""
    return RequestAnswer(
        id=request_id,
        status=Status.RUNNING,
        policy=policy,
        created_at=_utc(created_at),
        links=links_to(request_id, Status.RUNNING),
    )


def request_headers(answer: RequestAnswer) -> dict[str, str]:
    """The headers that say where a request stands, ours and those that users of LiteLLM already read."""
    cost = f"{Decimal(repr(answer.cost_usd)):f}"
    headers = {
        "x-sluice-request-id": answer.id,
        "x-sluice-state": answer.status.value,
        "x-sluice-stages-attempted": str(answer.stages_attempted),
        "x-sluice-cost": cost,
        "x-sluice-baseline-cost": f"{Decimal(repr(answer.baseline_cost_usd)):f}",
        "x-litellm-call-id": answer.id,
        "x-litellm-response-cost": cost,
    }
    if answer.policy is not None:
        headers["x-sluice-policy"] = answer.policy.name
        headers["x-sluice-policy-version"] = answer.policy.version
    if answer.outcome is not None:
        headers["x-sluice-outcome"] = answer.outcome.value
    if answer.model is not None:
        headers["x-litellm-model-id"] = answer.model.name
    return headers


class AttemptView(Attempt):
    """One attempt at a model call, with its cost as a number."""

    @field_serializer("cost_usd")
    def _number(self, cost: Decimal) -> float:
        return float(cost)


class DecisionView(View):
    """A reviewer's decision and what became of it."""

    decision_id: str
    status: DecisionStatus
    because: str | None
    verdict: ReviewVerdict
    reason: str
    reviewer: str
    decided_at: datetime
    review_version: int
    result_sha256: str
    output: str | None
    signature: str
    submitted_at: datetime
    settled_at: datetime | None


def decision_view(decision: SubmittedDecision) -> DecisionView:
    """The view of a submitted decision."""
    envelope = decision.envelope
    return DecisionView(
        decision_id=envelope.decision_id,
        status=decision.status,
        because=decision.because,
        verdict=envelope.verdict,
        reason=envelope.reason,
        reviewer=envelope.reviewer,
        decided_at=envelope.decided_at.astimezone(UTC),
        review_version=envelope.review_version,
        result_sha256=envelope.result_sha256,
        output=envelope.output,
        signature=envelope.signature,
        submitted_at=decision.submitted_at.astimezone(UTC),
        settled_at=_utc(decision.settled_at),
    )


class ReviewLinks(View):
    """Where to go on from a review."""

    self: str
    decisions: str
    request: str


class ReviewSummary(View):
    """A held answer in the queue. The hash and the version of its proposal go into a decision on it."""

    id: str
    state: str
    queue: str
    policy: PolicyRef
    requester: str
    subject: str | None
    risk: RiskTier
    why: str
    rule: str
    proposal: Proposal
    may_escalate: bool
    opened_at: datetime
    expires_at: datetime
    reminders: int
    decided_by: str | None
    decided_verdict: ReviewVerdict | None
    closed_at: datetime | None
    links: ReviewLinks


class CheckView(View):
    """One verdict of a check. ``stage`` is None for checks of the input."""

    stage: str | None
    name: str
    verdict: str
    rationale: str


class ReviewAnswer(ReviewSummary):
    """A held answer with the request it answers and everything recorded about it."""

    messages: tuple[Message, ...]
    checks: tuple[CheckView, ...] = ()
    """The verdicts on the input and on every answer so far, in order."""
    records: tuple[DecisionRecord, ...] = ()


class ReviewList(View):
    """One page of the queue; ``next_cursor`` leads to the next one."""

    items: tuple[ReviewSummary, ...]
    next_cursor: str | None


def _summary_fields(review: ReviewView) -> dict[str, Any]:
    own = f"/v1/reviews/{review.request_id}"
    return {
        "id": review.request_id,
        "state": review.state.value,
        "queue": review.queue,
        "policy": PolicyRef(name=review.policy, version=review.policy_version),
        "requester": review.requester,
        "subject": review.subject,
        "risk": review.risk,
        "why": review.why,
        "rule": review.rule,
        "proposal": review.proposal,
        "may_escalate": review.may_escalate,
        "opened_at": _utc(review.opened_at),
        "expires_at": _utc(review.expires_at),
        "reminders": review.reminders,
        "decided_by": review.decided_by,
        "decided_verdict": review.decided_verdict,
        "closed_at": _utc(review.closed_at),
        "links": ReviewLinks(self=own, decisions=f"{own}/decisions", request=f"/v1/requests/{review.request_id}"),
    }


def review_summary(review: ReviewView) -> ReviewSummary:
    """A review as the queue shows it."""
    return ReviewSummary(**_summary_fields(review))


def review_answer(review: ReviewView, records: list[DecisionRecord]) -> ReviewAnswer:
    """A review with the request and the records up to now."""
    checks = tuple(
        CheckView(
            stage=record.stage,
            name=str(record.data.get("name", record.actor)),
            verdict=str(record.data.get("verdict", Verdict.ERROR)),
            rationale=record.rationale,
        )
        for record in records
        if record.kind in (RecordKind.INPUT_CHECKED, RecordKind.OUTPUT_CHECKED, RecordKind.EDIT_CHECKED)
    )
    return ReviewAnswer(**_summary_fields(review), messages=review.messages, checks=checks, records=tuple(records))


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
    review: ReviewSummary | None = Field(default=None)


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


def _model(name: str | None, version_served: str | None) -> ModelRef | None:
    return None if name is None else ModelRef(name=name, version_served=version_served)


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)
