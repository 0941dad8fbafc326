"""Do the numbers of a JSON answer lie within their limits? Compared exactly, as decimals."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from activities.checks.results import MOST_FINDINGS, failed_or_passed, result
from activities.checks.strict_json import NotJsonError, parse
from domain.guardrails import Bound, BoundsGuardrail, CheckResult, Finding, Judged, Verdict

_MISSING = object()


def check(guardrail: BoundsGuardrail, judged: Judged) -> CheckResult:
    """Report every bounded field that is missing, not a number, or outside its limits.

    true and "12" are no numbers. A ``*`` over an empty list leaves a required field missing: a limit that nothing was
    measured against was not kept. A field that is not required may be absent, but null is no number. Text that is not
    JSON cannot be judged: verdict error.
    """
    try:
        value = parse(judged.text, exact=True)
    except NotJsonError as error:
        return result(guardrail, Verdict.ERROR, f"there are no numbers to compare: {error}")
    findings: list[Finding] = []
    for bound in guardrail.bounds:
        for path, found in _reach(value, bound.field.split("."), ""):
            objection = _objection(bound, found)
            if objection is not None:
                findings.append(Finding(kind="bounds", detail=f"{path} {objection}"))
            if len(findings) >= MOST_FINDINGS:
                break
    return failed_or_passed(guardrail, findings, "every bounded number lies within its limits")


def _reach(value: Any, steps: list[str], path: str) -> Iterator[tuple[str, Any]]:
    """Every place that ``steps`` lead to, with its path; ``_MISSING`` where they lead nowhere."""
    if not steps:
        yield path, value
        return
    step, rest = steps[0], steps[1:]
    here = f"{path}.{step}" if path else step
    if step == "*" and isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _reach(item, rest, f"{path}.{index}" if path else str(index))
    elif isinstance(value, dict) and step in value:
        yield from _reach(value[step], rest, here)
    elif isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 9 and int(step) < len(value):
        yield from _reach(value[int(step)], rest, here)
    else:
        yield ".".join([here, *rest]), _MISSING


def _objection(bound: Bound, found: Any) -> str | None:
    if found is _MISSING:
        return "is missing" if bound.required else None
    if not isinstance(found, Decimal):  # every number was read as one; true and "12" were not
        return "is not a number"
    if bound.min is not None and found < bound.min:
        return f"is below the minimum {bound.min}"
    if bound.max is not None and found > bound.max:
        return f"is above the maximum {bound.max}"
    return None
