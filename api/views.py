"""What callers see of requests. Money is a JSON number in US dollars, times are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict

from adapters.ledger_reader import RequestView
from domain.request import Outcome, RequestResult, Status
from domain.risk import RiskTier


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
    timeline: str
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
        timeline=f"{own}/timeline",
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
        created_at=utc(row.created_at),
        ended_at=utc(row.ended_at),
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
        created_at=utc(created_at),
        ended_at=utc(result.ended_at),
        links=links_to(result.request_id, result.status),
    )


def answer_running(request_id: str, policy: PolicyRef | None, created_at: datetime | None) -> RequestAnswer:
    """The answer for a request that Temporal has accepted and the ledger does not know yet."""
    return RequestAnswer(
        id=request_id,
        status=Status.RUNNING,
        policy=policy,
        created_at=utc(created_at),
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


def _model(name: str | None, version_served: str | None) -> ModelRef | None:
    return None if name is None else ModelRef(name=name, version_served=version_served)


def utc(at: datetime | None) -> datetime | None:
    """The same moment in UTC."""
    return None if at is None else at.astimezone(UTC)
