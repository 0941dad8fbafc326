"""Is the model itself sure enough? Judged by the log-probabilities of its tokens, calibrated if the policy says how."""

from __future__ import annotations

import math

from activities.checks.results import result
from domain.guardrails import CheckResult, ConfidenceGuardrail, Judged, Platt, Verdict

_ROUNDING = 1e-6
"""A mean log-probability this far above zero is a provider's rounding, not nonsense."""


def check(guardrail: ConfidenceGuardrail, judged: Judged) -> CheckResult:
    """Compare exp(mean log-probability), the geometric mean of the token probabilities, with the threshold.

    Skipped where there is no log-probability; an error where the one there is cannot be one.
    """
    threshold = guardrail.threshold
    if judged.mean_logprob is None:
        why = "the provider sent no log-probabilities" if judged.by_model else "a person wrote the text"
        return result(guardrail, Verdict.SKIPPED, f"{why}, so there is no confidence", threshold=threshold)
    if not math.isfinite(judged.mean_logprob) or judged.mean_logprob > _ROUNDING:
        why = "the provider's mean log-probability is not a finite number of at most 0"
        return result(guardrail, Verdict.ERROR, why, threshold=threshold)
    score: float | None = min(math.exp(judged.mean_logprob), 1.0)
    if guardrail.calibration is not None and score is not None:
        score = calibrated(guardrail.calibration, score)
    if score is None:
        why = "the calibration gives no finite number; check 'a' and 'b'"
        return result(guardrail, Verdict.ERROR, why, threshold=threshold)
    if score >= threshold:
        return result(guardrail, Verdict.PASS, f"{score:.6g} reaches {threshold:g}", score=score, threshold=threshold)
    return result(guardrail, Verdict.FAIL, f"{score:.6g} is below {threshold:g}", score=score, threshold=threshold)


def calibrated(platt: Platt, raw: float) -> float | None:
    """The calibrated confidence 1 / (1 + exp(-(a * raw + b))), between 0 and 1; None if it is not finite."""
    exponent = platt.a * raw + platt.b
    if not math.isfinite(exponent):
        return None
    if exponent >= 0:
        return 1 / (1 + math.exp(-exponent))
    grown = math.exp(exponent)  # the other form would overflow here
    return grown / (1 + grown)
