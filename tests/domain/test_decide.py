"""The decision after a stage, for any policy and any verdicts: nothing gets through that a check objects to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.cascade import (
    Decision,
    Verb,
    best_so_far,
    decide,
    decide_failure,
    decide_input,
    decide_no_candidates,
    edit_objections,
)
from domain.guardrails import Action, CheckResult, Guardrail, Verdict
from domain.policy import Policy
from domain.risk import RiskTier
from domain.stage import FailureKind, StageAnswer, StageEvidence, StageFailure
from tests.domain.strategies import TIERS, guardrails, policies, results, said
from tests.examples import snapshot

NEXT = st.sampled_from([None, "large"])
CEILING = st.sampled_from([None, "ceiling reached: no attempt is left"])
FLAGGED = st.sampled_from([None, Decision(verb=Verb.HOLD, because="the input was flagged", rule="guardrails.input.x")])


def actions(checks: tuple[Guardrail, ...], verdicts: tuple[CheckResult, ...]) -> set[Action]:
    """What the verdicts of these checks lead to."""
    by_name = {check.name: check for check in checks}
    return {by_name[result.name].action(result.verdict) for result in verdicts}


@given(st.data(), policies(), TIERS, FLAGGED, NEXT, CEILING)
def test_decide(
    data: st.DataObject,
    policy: Policy,
    risk: RiskTier,
    flagged: Decision | None,
    following: str | None,
    ceiling: str | None,
) -> None:
    checks = policy.guardrails.output
    verdicts = data.draw(results(checks))
    decision = decide(policy, verdicts, risk, flagged, following, ceiling, None)
    demanded = actions(checks, verdicts)
    complete = len(verdicts) == len(checks)
    objected = bool(demanded - {Action.CONTINUE})
    held = flagged is not None or risk.at_least(policy.risk.hold_at)
    assert (decision.verb is Verb.ACCEPT) == (complete and not objected and not held)
    if not complete:
        assert decision.verb is Verb.HOLD
    elif Action.REFUSE in demanded:
        assert decision.verb is Verb.REFUSE
    elif Action.HOLD in demanded:
        assert decision.verb is Verb.HOLD
    elif Action.ESCALATE in demanded:
        may = following is not None and ceiling is None
        assert decision.verb is (Verb.ESCALATE if may else Verb(policy.on_exhausted))
        assert decision.exhausted is not may
    assert decision.because
    assert decision.rule


@given(st.data(), policies(), TIERS, FLAGGED, NEXT, CEILING)
def test_a_worse_verdict_or_a_higher_risk_never_lets_an_answer_out(
    data: st.DataObject,
    policy: Policy,
    risk: RiskTier,
    flagged: Decision | None,
    following: str | None,
    ceiling: str | None,
) -> None:
    verdicts = data.draw(results(policy.guardrails.output))
    before = decide(policy, verdicts, risk, flagged, following, ceiling, None)
    passed = [index for index, result in enumerate(verdicts) if result.verdict is Verdict.PASS]
    worse = list(verdicts)
    if passed:
        index = data.draw(st.sampled_from(passed))
        replacement = data.draw(st.sampled_from([Verdict.FAIL, Verdict.ERROR, Verdict.SKIPPED, None]))
        if replacement is None:
            del worse[index]
        else:
            worse[index] = said(verdicts[index].name, replacement)
    higher = data.draw(TIERS.filter(lambda tier: tier.at_least(risk)))
    after = decide(policy, worse, higher, flagged, following, ceiling, None)
    assert before.verb is Verb.ACCEPT or after.verb is not Verb.ACCEPT


@given(st.data(), guardrails(input_checks=True))
def test_decide_input(data: st.DataObject, checks: tuple[Guardrail, ...]) -> None:
    verdicts = data.draw(results(checks))
    decision = decide_input(checks, verdicts)
    demanded = actions(checks, verdicts)
    if len(verdicts) < len(checks):
        assert decision is not None
        assert decision.verb is Verb.HOLD
    elif Action.REFUSE in demanded:
        assert decision is not None
        assert decision.verb is Verb.REFUSE
    elif Action.HOLD in demanded:
        assert decision is not None
        assert decision.verb is Verb.HOLD
    else:
        assert decision is None


@given(policies(), st.sampled_from(FailureKind), NEXT, CEILING)
def test_a_stage_without_an_answer_never_accepts(
    policy: Policy, kind: FailureKind, following: str | None, ceiling: str | None
) -> None:
    decision = decide_failure(policy, StageFailure(kind=kind, message="it failed"), following, ceiling)
    if kind is FailureKind.CEILING:
        assert decision.verb is Verb(policy.on_exhausted)
    elif following is not None and ceiling is None:
        assert decision.verb is Verb.ESCALATE
    else:
        assert decision.verb is Verb(policy.on_unavailable)
    assert decide_no_candidates(policy, ()).verb is Verb(policy.routing.on_no_candidates)


@given(st.data(), policies())
def test_an_edit_passes_only_with_every_check(data: st.DataObject, policy: Policy) -> None:
    checks = policy.guardrails.output
    verdicts = data.draw(results(checks))
    let_out = len(verdicts) == len(checks) and actions(checks, verdicts) <= {Action.CONTINUE}
    assert (edit_objections(policy, verdicts) is None) == let_out


def test_an_edit_is_not_asked_for_confidence() -> None:
    policy = snapshot().policy
    others = [said(check.name, Verdict.PASS) for check in policy.guardrails.output if check.check != "confidence"]
    assert edit_objections(policy, others) is None


@st.composite
def answered(draw: st.DrawFn) -> tuple[StageEvidence, ...]:
    """Answers of up to four stages."""
    return tuple(
        StageEvidence(
            stage_index=index,
            stage=f"stage-{index}",
            model="small",
            answer=StageAnswer(
                text=draw(st.sampled_from(["", " ", "an answer"])),
                model_version_served="small-1",
                finish_reason="stop",
                mean_logprob=None,
                defect=None,
            ),
            checks=tuple(said(f"check-{n}", draw(st.sampled_from(Verdict))) for n in range(draw(st.integers(0, 3)))),
        )
        for index in range(draw(st.integers(0, 4)))
    )


def objections(item: StageEvidence) -> int:
    """How many checks did not pass."""
    return sum(check.verdict is not Verdict.PASS for check in item.checks)


@given(answered())
def test_the_best_answer_has_text_and_the_fewest_objections(evidence: tuple[StageEvidence, ...]) -> None:
    best = best_so_far(evidence)
    if not evidence:
        assert best is None
        return
    assert best is not None
    candidates = [item for item in evidence if item.answer.text.strip()] or list(evidence)
    assert best in candidates
    assert objections(best) == min(objections(item) for item in candidates)
