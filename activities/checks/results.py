"""Building the result of a check, with the limits every result keeps."""

from __future__ import annotations

from collections.abc import Sequence

from domain.guardrails import CheckResult, Finding, Guardrail, Verdict

MOST_FINDINGS = 50
"""Findings kept per result; a result is stored in the history of every request."""

SHARE_OF_TIMEOUT = 0.9
"""Part of its timeout that a check uses itself, so that its verdict arrives before Temporal gives the attempt up."""


def result(
    guardrail: Guardrail,
    verdict: Verdict,
    rationale: str,
    findings: Sequence[Finding] = (),
    *,
    score: float | None = None,
    threshold: float | None = None,
) -> CheckResult:
    """The result of ``guardrail``, with at most ``MOST_FINDINGS`` findings."""
    return CheckResult(
        name=guardrail.name,
        check=guardrail.check,
        verdict=verdict,
        rationale=rationale,
        findings=tuple(findings[:MOST_FINDINGS]),
        score=score,
        threshold=threshold,
    )


def failed_or_passed(guardrail: Guardrail, findings: Sequence[Finding], passed: str) -> CheckResult:
    """Fail with the findings in words, or pass with ``passed`` as the reason if there are none."""
    if not findings:
        return result(guardrail, Verdict.PASS, passed)
    findings = list(dict.fromkeys(findings))
    details = list(dict.fromkeys(finding.detail for finding in findings))
    shown = details[:3] + ([f"and {len(details) - 3} more"] if len(details) > 3 else [])
    return result(guardrail, Verdict.FAIL, "; ".join(shown), findings)
