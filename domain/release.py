"""What a request ends with: an answer that was let out, or the policy's safe output in its place."""

from __future__ import annotations

from decimal import Decimal

from domain.payload import Payload, sha256_text
from domain.request import CascadeInput, Outcome, RequestResult
from domain.risk import RiskTier
from domain.stage import Spent, StageEvidence


class Tally(Payload):
    """What a request took until its end."""

    risk: RiskTier
    spent: Spent
    stages_attempted: int
    evidence: tuple[StageEvidence, ...]


def release_answer(
    request: CascadeInput, tally: Tally, outcome: Outcome, reason: str, text: str, evidence: StageEvidence | None
) -> RequestResult:
    """The end of a request whose answer is let out. ``evidence`` is None where a person wrote it without a model."""
    return _result(request, tally, outcome, reason, text, evidence)


def withhold_answer(request: CascadeInput, tally: Tally, outcome: Outcome, reason: str) -> RequestResult:
    """The end of a request without an answer: the safe output, or nothing where it was cancelled."""
    text = None if outcome is Outcome.CANCELLED else request.policy.policy.safe_output
    return _result(request, tally, outcome, reason, text, None)


def _result(
    request: CascadeInput, tally: Tally, outcome: Outcome, reason: str, text: str | None, evidence: StageEvidence | None
) -> RequestResult:
    return RequestResult(
        request_id=request.request_id,
        status=outcome.status,
        outcome=outcome,
        output=text,
        result_sha256=None if text is None else sha256_text(text),
        reason=reason,
        risk=tally.risk,
        policy=request.policy.policy.name,
        policy_version=request.policy.version,
        model=evidence.model if evidence else None,
        model_version_served=evidence.answer.model_version_served if evidence else None,
        stages_attempted=tally.stages_attempted,
        cost_usd=tally.spent.cost_usd,
        baseline_cost_usd=baseline_cost(request, tally, evidence),
        tokens=tally.spent.tokens,
    )


def baseline_cost(request: CascadeInput, tally: Tally, evidence: StageEvidence | None) -> Decimal:
    """What one call of the policy's last model would have cost, at the tokens of the answer that counts.

    An approximation: the last model would have written another text.
    """
    counted = evidence or (tally.evidence[-1] if tally.evidence else None)
    if counted is None:
        return Decimal(0)
    return request.policy.baseline.price.cost(counted.answer.usage)
