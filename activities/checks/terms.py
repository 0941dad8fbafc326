"""Does the answer say what it must not, or leave out what it must say? Whole words, case ignored."""

from __future__ import annotations

from collections.abc import Iterator

from activities.checks.results import failed_or_passed
from domain.guardrails import CheckResult, Finding, Judged, TermsGuardrail
from domain.route import mentions

_MOST_PER_TERM = 10
"""Occurrences of one term that are reported; the first alone decides the verdict."""


def check(guardrail: TermsGuardrail, judged: Judged) -> CheckResult:
    """Report where forbidden terms occur and which required ones are missing; the terms are the policy's own words."""
    findings = [
        Finding(kind="forbidden", detail=f"forbidden term {term!r}", start=start, end=end)
        for term in guardrail.forbidden
        for start, end in _spans(judged.text, term)
    ]
    findings += [
        Finding(kind="required", detail=f"required term {term!r} is missing")
        for term in guardrail.required
        if mentions(judged.text, term) is None
    ]
    return failed_or_passed(guardrail, findings, "no forbidden term occurs and every required one does")


def _spans(text: str, term: str) -> Iterator[tuple[int, int]]:
    offset = 0
    for _ in range(_MOST_PER_TERM):
        match = mentions(text[offset:], term)
        if match is None:
            return
        yield offset + match.start(), offset + match.end()
        offset += match.end()
