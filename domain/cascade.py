"""The decision after each stage: accept, escalate, hold, refuse or fall back. Pure and small.

**Correctness:** the Workflow branches on these functions, so they are Workflow code. A changed result for an old input
breaks the replay of running requests; it needs ``workflow.patched()`` or a pinned worker version.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from domain.duration import words
from domain.guardrails import Action, CheckResult, Guardrail, Verdict
from domain.payload import Payload
from domain.policy import Policy
from domain.request import Constraints
from domain.risk import RiskTier
from domain.route import Considered
from domain.stage import Budget, FailureKind, Spent, StageEvidence, StageFailure
from domain.usage import Usage


class Verb(StrEnum):
    """What happens next with a request."""

    ACCEPT = "accept"
    ESCALATE = "escalate"
    HOLD = "hold"
    REFUSE = "refuse"
    FALL_BACK = "fall_back"


class Decision(Payload):
    """A verb with its reason in words and the policy setting it follows from.

    ``exhausted`` says that it ends the cascade for want of a stage: then the best answer so far counts, not the last.
    """

    verb: Verb
    because: str
    rule: str
    exhausted: bool = False


def ceilings_left(policy: Policy, demands: Constraints, spent: Spent, started: datetime) -> Budget:
    """What is left of the policy's ceilings, tightened by the request's own demands. Amounts can be negative."""
    cost = policy.ceilings.cost_usd
    if demands.max_cost_usd is not None:
        cost = min(cost, demands.max_cost_usd)
    wall_clock = policy.ceilings.wall_clock
    if demands.max_latency_ms is not None:
        wall_clock = min(wall_clock, timedelta(milliseconds=demands.max_latency_ms))
    return Budget(
        cost_usd=cost - spent.cost_usd,
        attempts=policy.ceilings.attempts - spent.attempts,
        tokens=policy.ceilings.tokens - spent.tokens,
        deadline=started + wall_clock,
    )


def forbidden_by_ceiling(budget: Budget, usage: Usage, cost: Decimal, now: datetime) -> str | None:
    """Why a call that may use ``usage`` and ``cost`` US dollars must not be made now; None if it may."""
    if budget.attempts < 1:
        return "ceiling reached: no attempt is left"
    if cost > budget.cost_usd:
        return f"ceiling reached: the call may cost {cost:f} USD, {max(budget.cost_usd, Decimal(0)):f} USD are left"
    if usage.total > budget.tokens:
        return f"ceiling reached: the call may use {usage.total} tokens, {max(budget.tokens, 0)} are left"
    if now >= budget.deadline:
        return f"ceiling reached: the time for this request ended {words(now - budget.deadline)} ago"
    return None


def decide_input(guardrails: Sequence[Guardrail], checks: Sequence[CheckResult]) -> Decision | None:
    """What the input checks demand: refuse at once, hold whatever answer comes, or nothing (None)."""
    missing = _missing(guardrails, checks)
    if missing is not None:
        return missing
    for action, verb in ((Action.REFUSE, Verb.REFUSE), (Action.HOLD, Verb.HOLD)):
        objecting = _objecting(guardrails, checks, action)
        if objecting:
            return Decision(verb=verb, because=_sentence(objecting), rule=_rule("input", objecting))
    return None


def decide(
    policy: Policy,
    checks: Sequence[CheckResult],
    risk: RiskTier,
    held_by_input: Decision | None,
    next_stage: str | None,
    ceiling: str | None,
    unusable: str | None,
) -> Decision:
    """Decide over an answer that was judged by every output guardrail.

    ``next_stage`` names the stage to escalate to, ``ceiling`` why it must not be called, ``unusable`` why the answer is
    of no use to anybody. In order: a check that refuses, a check that holds, an unusable answer, a check that
    escalates, then the risk of the request itself.
    """
    guardrails = policy.guardrails.output
    missing = _missing(guardrails, checks)
    if missing is not None:
        return missing
    for action, verb in ((Action.REFUSE, Verb.REFUSE), (Action.HOLD, Verb.HOLD)):
        objecting = _objecting(guardrails, checks, action)
        if objecting:
            return Decision(verb=verb, because=_sentence(objecting), rule=_rule("output", objecting))
    if unusable is not None:
        return _escalate(policy, unusable, "unusable answer", next_stage, ceiling)
    objecting = _objecting(guardrails, checks, Action.ESCALATE)
    if objecting:
        return _escalate(policy, _sentence(objecting), _rule("output", objecting), next_stage, ceiling)
    if held_by_input is not None:
        return held_by_input
    if risk.at_least(policy.risk.hold_at):
        return Decision(
            verb=Verb.HOLD,
            because=f"risk is {risk}, and from {policy.risk.hold_at} on a person must approve",
            rule="risk.hold_at",
        )
    return Decision(verb=Verb.ACCEPT, because="every check that must pass has passed", rule="guardrails.output")


def _escalate(policy: Policy, why: str, rule: str, next_stage: str | None, ceiling: str | None) -> Decision:
    if next_stage is not None and ceiling is None:
        return Decision(verb=Verb.ESCALATE, because=f"{why}; {next_stage} is next", rule=rule)
    blocked = ceiling or "no stronger stage is left"
    return Decision(verb=Verb(policy.on_exhausted), because=f"{why}; {blocked}", rule="on_exhausted", exhausted=True)


def decide_no_candidates(policy: Policy, considered: Sequence[Considered]) -> Decision:
    """Decide over a request that no stage may serve."""
    reasons = "; ".join(f"{stage.stage}: {stage.because}" for stage in considered)
    return Decision(
        verb=Verb(policy.routing.on_no_candidates),
        because=f"no stage may serve this request ({reasons})",
        rule="routing.on_no_candidates",
        exhausted=True,
    )


def decide_failure(policy: Policy, failure: StageFailure, next_stage: str | None, ceiling: str | None) -> Decision:
    """Decide over a stage that gave no answer. A ceiling ends the cascade; an unavailable model leads to the next."""
    if failure.kind is FailureKind.CEILING:
        return Decision(verb=Verb(policy.on_exhausted), because=failure.message, rule="on_exhausted", exhausted=True)
    if next_stage is not None and ceiling is None:
        return Decision(verb=Verb.ESCALATE, because=f"{failure.message}; {next_stage} is next", rule="stages")
    blocked = ceiling or "no further model is left"
    return Decision(
        verb=Verb(policy.on_unavailable), because=f"{failure.message}; {blocked}", rule="on_unavailable", exhausted=True
    )


def best_so_far(evidence: Sequence[StageEvidence]) -> StageEvidence | None:
    """The answer to put before a person: fewest objections, then highest confidence, then the later stage."""

    def merit(item: StageEvidence) -> tuple[bool, int, float, int]:
        objections = sum(1 for check in item.checks if check.verdict is not Verdict.PASS)
        confidence = max((check.score or 0.0 for check in item.checks if check.check == "confidence"), default=0.0)
        return bool(item.answer.text.strip()), -objections, confidence, item.stage_index

    return max(evidence, key=merit, default=None)


def edit_objections(policy: Policy, checks: Sequence[CheckResult], overruled: Sequence[str] = ()) -> str | None:
    """Why a person's edited text may not be released; None if every check lets it, or was overruled by name."""
    guardrails = [guardrail for guardrail in guardrails_for_edit(policy) if guardrail.name not in overruled]
    by_name = {check.name: check for check in checks}
    objecting = [
        by_name.get(guardrail.name)
        or CheckResult(name=guardrail.name, check=guardrail.check, verdict=Verdict.ERROR, rationale="did not run")
        for guardrail in guardrails
        if guardrail.name not in by_name or guardrail.action(by_name[guardrail.name].verdict) is not Action.CONTINUE
    ]
    return _sentence(objecting) if objecting else None


def guardrails_for_edit(policy: Policy) -> tuple[Guardrail, ...]:
    """The output guardrails that apply to a text written by a person: all but the model's own confidence."""
    return tuple(guardrail for guardrail in policy.guardrails.output if guardrail.check != "confidence")


def _missing(guardrails: Sequence[Guardrail], checks: Sequence[CheckResult]) -> Decision | None:
    ran = {check.name for check in checks}
    missing = [guardrail.name for guardrail in guardrails if guardrail.name not in ran]
    if not missing:
        return None
    return Decision(verb=Verb.HOLD, because=f"checks did not run: {', '.join(missing)}", rule="fail closed")


def _objecting(guardrails: Sequence[Guardrail], checks: Sequence[CheckResult], action: Action) -> list[CheckResult]:
    configured = {guardrail.name: guardrail for guardrail in guardrails}
    return [
        check for check in checks if check.name in configured and configured[check.name].action(check.verdict) is action
    ]


def _sentence(checks: Sequence[CheckResult]) -> str:
    return "; ".join(f"{check.name} {_SAID[check.verdict]}: {check.rationale}" for check in checks)


_SAID = {
    Verdict.PASS: "passed",
    Verdict.FAIL: "failed",
    Verdict.ERROR: "could not judge",
    Verdict.SKIPPED: "was skipped",
}


def _rule(part: str, checks: Sequence[CheckResult]) -> str:
    return ", ".join(
        f"guardrails.{part}.{check.name}.{'on_fail' if check.verdict is Verdict.FAIL else 'on_error'}"
        for check in checks
    )
