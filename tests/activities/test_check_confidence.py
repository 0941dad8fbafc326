"""Confidence: what the log-probability says, calibrated, and never a pass out of nonsense."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.checks.confidence import calibrated, check
from domain.guardrails import CheckResult, ConfidenceGuardrail, Judged, Platt, Verdict


def judge(mean_logprob: float | None, threshold: float = 0.5, platt: Platt | None = None) -> CheckResult:
    guardrail = ConfidenceGuardrail(check="confidence", name="confidence", threshold=threshold, calibration=platt)
    return check(guardrail, Judged.model_construct(text="42", by_model=True, mean_logprob=mean_logprob))


def test_the_geometric_mean_of_the_token_probabilities_is_compared() -> None:
    passed, failed = judge(math.log(0.8), 0.7), judge(math.log(0.6), 0.7)
    assert (passed.verdict, passed.threshold) == (Verdict.PASS, 0.7)
    assert passed.score == pytest.approx(0.8)
    assert failed.verdict is Verdict.FAIL
    assert failed.rationale == "0.6 is below 0.7"


def test_no_log_probability_is_skipped_and_says_why() -> None:
    assert judge(None).verdict is Verdict.SKIPPED
    guardrail = ConfidenceGuardrail(check="confidence", name="confidence", threshold=0.5)
    said = check(guardrail, Judged(text="by hand", by_model=False))
    assert (said.verdict, said.score) == (Verdict.SKIPPED, None)
    assert "person" in said.rationale


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -math.inf, 0.1, 1e308])
def test_what_cannot_be_a_log_probability_is_an_error(nonsense: float) -> None:
    said = judge(nonsense)
    assert (said.verdict, said.score) == (Verdict.ERROR, None)


def test_a_calibration_that_overflows_is_an_error() -> None:
    assert judge(0.0, 0.5, Platt(a=1e308, b=1e308)).verdict is Verdict.ERROR


def test_calibration_decides() -> None:
    overconfident = Platt(a=4.0, b=-4.0)
    assert judge(math.log(0.9), 0.6).verdict is Verdict.PASS
    said = judge(math.log(0.9), 0.6, overconfident)
    assert said.verdict is Verdict.FAIL
    assert said.score == pytest.approx(1 / (1 + math.exp(0.4)))


@given(st.floats(max_value=0, allow_nan=False, allow_infinity=False), st.floats(0.01, 1))
def test_the_verdict_follows_from_score_and_threshold(mean_logprob: float, threshold: float) -> None:
    said = judge(mean_logprob, threshold)
    assert said.score is not None
    assert 0 <= said.score <= 1
    assert (said.verdict is Verdict.PASS) == (said.score >= threshold)


@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(0, 1))
def test_calibration_stays_between_0_and_1(a: float, b: float, raw: float) -> None:
    score = calibrated(Platt(a=a, b=b), raw)
    assert score is not None
    assert 0 <= score <= 1
