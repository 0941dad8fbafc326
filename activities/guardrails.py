"""The guardrail Activities: one type per kind of check, so that each has its own timeout, retries and history entry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.checks import bounds, completeness, confidence, external, pii, schema, terms
from domain.errors import VerifierError
from domain.guardrails import (
    BoundsGuardrail,
    CheckResult,
    CheckTask,
    CompletenessGuardrail,
    ConfidenceGuardrail,
    ExternalGuardrail,
    Judged,
    PiiGuardrail,
    SchemaGuardrail,
    TermsGuardrail,
)
from domain.ports import Verifier

ACTIVITY_OF: dict[str, str] = {
    "confidence": "check_confidence",
    "schema": "check_schema",
    "completeness": "check_completeness",
    "pii": "check_pii",
    "terms": "check_terms",
    "bounds": "check_bounds",
    "external": "check_external",
}
"""The Activity that runs each kind of check."""

WRONG_GUARDRAIL = "WrongGuardrail"
VERIFIER_UNAVAILABLE = "VerifierUnavailable"

_LARGE = 32 * 1024
"""Characters from which on a text is judged in a thread: longer than a few milliseconds, nobody blocks the loop."""
_LARGE_FOR_PII = 2 * 1024
"""The same for personal data, where a hostile text costs about ten microseconds a character and region."""

G = TypeVar("G")


class GuardrailActivities:
    """Runs checks. One instance a worker.

    **Correctness:** all checks but the external one are functions of their task alone; running one twice changes
    nothing. See ``activities.checks.external`` for the other. An unexpected error is not caught: after its retries the
    Workflow records it as the verdict error.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        # Slow to import, and imported lazily by the checks for the sake of Workflow files: here, so that no request
        # waits for it.
        for library in ("jsonschema", "phonenumbers"):
            import_module(library)

    @activity.defn(name="check_confidence")
    async def check_confidence(self, task: CheckTask) -> CheckResult:
        """Judge by the model's own confidence."""
        return confidence.check(_expect(task, ConfidenceGuardrail), task.judged)

    @activity.defn(name="check_schema")
    async def check_schema(self, task: CheckTask) -> CheckResult:
        """Judge the shape of a JSON answer."""
        return await _judge(schema.check, _expect(task, SchemaGuardrail), task.judged)

    @activity.defn(name="check_completeness")
    async def check_completeness(self, task: CheckTask) -> CheckResult:
        """Judge whether there is a whole answer."""
        return await _judge(completeness.check, _expect(task, CompletenessGuardrail), task.judged)

    @activity.defn(name="check_pii")
    async def check_pii(self, task: CheckTask) -> CheckResult:
        """Look for personal data."""
        return await _judge(pii.check, _expect(task, PiiGuardrail), task.judged, large=_LARGE_FOR_PII)

    @activity.defn(name="check_terms")
    async def check_terms(self, task: CheckTask) -> CheckResult:
        """Look for forbidden and required terms."""
        return await _judge(terms.check, _expect(task, TermsGuardrail), task.judged)

    @activity.defn(name="check_bounds")
    async def check_bounds(self, task: CheckTask) -> CheckResult:
        """Judge the numbers of a JSON answer."""
        return await _judge(bounds.check, _expect(task, BoundsGuardrail), task.judged)

    @activity.defn(name="check_external")
    async def check_external(self, task: CheckTask) -> CheckResult:
        """Ask a verification service. Fails, to be retried, while it cannot be reached."""
        guardrail = _expect(task, ExternalGuardrail)
        try:
            return await external.check(guardrail, task.judged, self._verifier)
        except VerifierError as error:
            raise ApplicationError(str(error), type=VERIFIER_UNAVAILABLE) from error


def _expect(task: CheckTask, kind: type[G]) -> G:
    guardrail = task.guardrail
    if not isinstance(guardrail, kind):
        raise ApplicationError(
            f"guardrail {guardrail.name!r} is a {guardrail.check} check, sent to the Activity of another kind",
            type=WRONG_GUARDRAIL,
            non_retryable=True,
        )
    return guardrail


async def _judge(
    check: Callable[[G, Judged], CheckResult], guardrail: G, judged: Judged, *, large: int = _LARGE
) -> CheckResult:
    if len(judged.text) < large:
        return check(guardrail, judged)
    return await asyncio.to_thread(check, guardrail, judged)
