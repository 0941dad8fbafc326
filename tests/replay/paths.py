"""The paths of which golden histories exist: every way a request can go, one function each.

A function drives one request to its end and checks that it went that way; ``capture`` keeps its history.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from domain.errors import ProviderError, VerifierError
from domain.guardrails import Verdict
from domain.ports import ModelCall, Verification
from domain.request import Outcome
from domain.review import DecisionEnvelope, ReviewVerdict
from domain.stage import FailureKind, StageAnswer
from tests.examples import POLICY, snapshot
from tests.fakes import ScriptedVerifier, answer_of
from tests.replay.rig import SUBMITTED_AT, Rig
from tests.workflows.harness import by_confidence

HIGH = {"risk": "high"}
PATHS: dict[str, Callable[[Rig], Awaitable[None]]] = {}


def path(drive: Callable[[Rig], Awaitable[None]]) -> Callable[[Rig], Awaitable[None]]:
    """Enter a path under the function's name."""
    PATHS[drive.__name__] = drive
    return drive


@path
async def accepted_at_first_stage(rig: Rig) -> None:
    async with rig.working():
        await rig.start()
        await rig.ends(Outcome.ACCEPTED)


@path
async def escalated_then_accepted(rig: Rig) -> None:
    rig.provider.script = by_confidence(0.3).script
    async with rig.working():
        await rig.start()
        await rig.ends(Outcome.ACCEPTED)


@path
async def exhausted_then_approved(rig: Rig) -> None:
    rig.provider.script = by_confidence(0.5, 0.4).script
    async with rig.working():
        await rig.start()
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ends(Outcome.APPROVED, "applied")


@path
async def high_risk_then_rejected(rig: Rig) -> None:
    async with rig.working():
        await rig.start(constraints=HIGH)
        await rig.decide(ReviewVerdict.REJECT)
        await rig.ends(Outcome.REJECTED, "applied")


@path
async def finding_then_edited(rig: Rig) -> None:
    rig.provider.script = lambda call: answer_of("You have a guaranteed return of 9 %.")
    async with rig.working():
        await rig.start()
        await rig.decide(ReviewVerdict.EDIT, output="Returns are never certain.")
        await rig.ends(Outcome.EDITED, "applied")


@path
async def edit_refused_then_approved(rig: Rig) -> None:
    async with rig.working():
        await rig.start(constraints=HIGH)
        await rig.decide(ReviewVerdict.EDIT, output="A guaranteed return!")
        await rig.judged(1)
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ends(Outcome.APPROVED, "inapplicable", "applied")


@path
async def reviewer_escalates_then_approves(rig: Rig) -> None:
    async with rig.working():
        await rig.start(constraints=HIGH)
        await rig.decide(ReviewVerdict.ESCALATE)
        await rig.decide(ReviewVerdict.APPROVE, version=2)
        await rig.ends(Outcome.APPROVED, "applied", "applied")


@path
async def input_refused(rig: Rig) -> None:
    async with rig.working():
        await rig.start("My account is DE89 3704 0044 0532 0130 00.")
        await rig.ends(Outcome.REFUSED)


@path
async def no_candidates_refused(rig: Rig) -> None:
    async with rig.working():
        await rig.start(constraints={"capabilities": ["vision"]})
        await rig.ends(Outcome.REFUSED)


@path
async def unavailable_fell_back(rig: Rig) -> None:
    rig.provider.script = lambda call: ProviderError(FailureKind.PERMANENT, f"{call.model.name}: status 401")
    async with rig.working():
        await rig.start()
        await rig.ends(Outcome.FELL_BACK)


@path
async def transient_failure_retried(rig: Rig) -> None:
    def script(call: ModelCall) -> StageAnswer | ProviderError:
        if len(rig.provider.calls) == 1:
            return ProviderError(FailureKind.TRANSIENT, "small: status 503", maybe_billed=True)
        return answer_of("the answer of small")

    rig.provider.script = script
    async with rig.working():
        await rig.start()
        await rig.ends(Outcome.ACCEPTED)


@path
async def stage_timed_out(rig: Rig) -> None:
    small, large = POLICY["stages"]
    rig.provider.silent.add("small")
    async with rig.working():
        await rig.start(policy=snapshot(stages=[{**small, "timeout": "100ms", "max_attempts": 1}, large]))
        await rig.ends(Outcome.ACCEPTED)


@path
async def ceiling_reached(rig: Rig) -> None:
    rig.provider.script = by_confidence(0.2).script
    async with rig.working():
        await rig.start(policy=snapshot(ceilings={**POLICY["ceilings"], "attempts": 1}))
        await rig.decide(ReviewVerdict.REJECT)
        await rig.ends(Outcome.REJECTED, "applied")


class Unreachable(ScriptedVerifier):
    """A verification service that cannot be reached."""

    async def verify(self, verifier: str, text: str, input_text: str | None, timeout_seconds: float) -> Verification:
        raise VerifierError(f"{verifier} cannot be reached", transient=True)


@path
async def check_error_held(rig: Rig) -> None:
    rig.verifier = Unreachable()
    checks = [
        {"check": "completeness", "on_fail": "escalate"},
        {"check": "external", "verifier": "register", "on_fail": "escalate"},
    ]
    async with rig.working():
        await rig.start(policy=snapshot(guardrails={"output": checks}))
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ends(Outcome.APPROVED, "applied")


@path
async def reminded_then_expired(rig: Rig) -> None:
    async with rig.working():
        await rig.start(policy=snapshot(hold={"expires_after": "4s", "remind_after": "1s"}), constraints=HIGH)
        await rig.ends(Outcome.EXPIRED)
    if rig.ledger.kinds(rig.id).count("reminded") != 2:
        raise AssertionError("not reminded after 1 s and after 3 s")


@path
async def cancelled_in_hold(rig: Rig) -> None:
    async with rig.working():
        await rig.start(constraints=HIGH)
        await rig.review()
        await rig.handle.cancel(reason="the customer hung up")
        await rig.ends(Outcome.CANCELLED)


@path
async def cancelled_in_stage(rig: Rig) -> None:
    rig.provider.silent.add("small")
    async with rig.working():
        await rig.start()
        await rig.provider.called.wait()
        await rig.handle.cancel(reason="the customer hung up")
        await rig.ends(Outcome.CANCELLED)


@path
async def decisions_without_effect_then_approved(rig: Rig) -> None:
    async with rig.working():
        await rig.start(constraints=HIGH)
        await rig.review()
        await rig.handle.signal("decide", "yes")
        await rig.handle.signal("decide")
        await rig.handle.signal("decide", args=["yes", "and no"])
        await rig.handle.signal("approve", "yes")
        await rig.decide(ReviewVerdict.APPROVE, result_sha256="0" * 64)
        await rig.decide(ReviewVerdict.APPROVE, signature="forged")
        await rig.judged(6)
        await rig.decide(ReviewVerdict.REJECT, decision_id="decision-1")
        await rig.judged(7)
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ends(Outcome.APPROVED, *["malformed"] * 4, "stale", "unauthorised", "duplicate", "applied")


def early(rig: Rig) -> DecisionEnvelope:
    """A decision on a text that nobody has been shown."""
    return DecisionEnvelope(
        decision_id="early",
        verdict=ReviewVerdict.APPROVE,
        result_sha256="0" * 64,
        review_version=1,
        request_id=rig.id,
        tenant="acme",
        reviewer="rita",
        decided_at=SUBMITTED_AT,
        signature="genuine",
    )


@path
async def decision_before_the_hold(rig: Rig) -> None:
    async with rig.working():
        await rig.start_with_decision(early(rig), constraints=HIGH)
        await rig.judged(1)
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ends(Outcome.APPROVED, "stale", "applied")


@path
async def decision_without_a_hold(rig: Rig) -> None:
    async with rig.working():
        await rig.start_with_decision(early(rig))
        await rig.ends(Outcome.ACCEPTED, "late")


@path
async def second_decision_superseded(rig: Rig) -> None:
    async with rig.working():
        await rig.start(constraints=HIGH)
        await rig.review()
        await rig.handle.query("status")
    # Both wait for the next worker, which so finds them in one Workflow Task.
    await rig.decide(ReviewVerdict.REJECT)
    await rig.decide(ReviewVerdict.APPROVE)
    async with rig.working():
        await rig.ends(Outcome.REJECTED, "applied", "superseded")


@path
async def late_while_committing(rig: Rig) -> None:
    rig.ledger.may_end.clear()
    async with rig.working():
        await rig.start(constraints=HIGH)
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ledger.ending.wait()
        await rig.decide(ReviewVerdict.REJECT)
        rig.ledger.may_end.set()
        await rig.ends(Outcome.APPROVED, "applied", "late")


# Policies that say otherwise than the defaults: a history of a default cannot show that the setting is still read.


@path
async def exhausted_then_refused_by_policy(rig: Rig) -> None:
    rig.provider.script = by_confidence(0.5, 0.4).script
    async with rig.working():
        await rig.start(policy=snapshot(on_exhausted="refuse"))
        await rig.ends(Outcome.REFUSED)


@path
async def unavailable_then_held_by_policy(rig: Rig) -> None:
    rig.provider.script = lambda call: ProviderError(
        FailureKind.TRANSIENT, f"{call.model.name}: no answer in time", maybe_billed=True
    )
    async with rig.working():
        await rig.start(policy=snapshot(on_unavailable="hold"))
        await rig.decide(ReviewVerdict.EDIT, output="Your parcel is at the depot.")
        await rig.ends(Outcome.EDITED, "applied")


@path
async def no_candidates_held_by_policy(rig: Rig) -> None:
    async with rig.working():
        await rig.start(policy=snapshot(routing={"on_no_candidates": "hold"}), constraints={"capabilities": ["vision"]})
        await rig.decide(ReviewVerdict.REJECT)
        await rig.ends(Outcome.REJECTED, "applied")


@path
async def high_risk_accepted_by_policy(rig: Rig) -> None:
    async with rig.working():
        await rig.start(policy=snapshot(risk={"hold_at": "critical"}), constraints=HIGH)
        await rig.ends(Outcome.ACCEPTED)


@path
async def check_error_escalated_by_policy(rig: Rig) -> None:
    rig.verifier = ScriptedVerifier(Verdict.ERROR)
    checks = [{"check": "external", "verifier": "register", "on_fail": "refuse", "on_error": "escalate"}]
    async with rig.working():
        await rig.start(policy=snapshot(guardrails={"output": checks}))
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ends(Outcome.APPROVED, "applied")


@path
async def input_finding_held_by_policy(rig: Rig) -> None:
    checks = [{"check": "terms", "forbidden": ["refund"], "on_fail": "hold"}]
    async with rig.working():
        await rig.start("I want a refund.", policy=snapshot(guardrails={"input": checks}))
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ends(Outcome.APPROVED, "applied")


@path
async def demanded_cost_reached(rig: Rig) -> None:
    rig.provider.script = by_confidence(0.2).script
    async with rig.working():
        await rig.start(constraints={"max_cost_usd": "0.00108"})
        review = await rig.review()
        if "ceiling reached" not in review.why:
            raise AssertionError(review.why)
        await rig.decide(ReviewVerdict.REJECT)
        await rig.ends(Outcome.REJECTED, "applied")
