"""What does a verification service say? Asked over the ``Verifier`` port; whatever it answers is kept within limits."""

from __future__ import annotations

from activities.checks.results import MOST_FINDINGS, SHARE_OF_TIMEOUT, result
from domain.errors import VerifierError
from domain.guardrails import CheckResult, ExternalGuardrail, Finding, Judged, Verdict
from domain.ports import Verifier

_LONGEST_DETAIL = 500
_LONGEST_KIND = 64


async def check(guardrail: ExternalGuardrail, judged: Judged, verifier: Verifier) -> CheckResult:
    """Ask the service named by the guardrail, within the guardrail's timeout.

    The request's input leaves the house only where the policy says ``send_input``. Raises a transient
    ``VerifierError``, which may be gone at the next attempt; a permanent one is the verdict error.

    **Correctness:** asking twice is harmless to us but not always to the service (it may count or charge), and the two
    verdicts may differ. The one that the history records is the one that counts.
    """
    input_text = judged.input_text if guardrail.send_input else None
    seconds = guardrail.timeout.total_seconds() * SHARE_OF_TIMEOUT
    try:
        said = await verifier.verify(guardrail.verifier, judged.text, input_text, seconds)
    except VerifierError as error:
        if error.transient:
            raise
        return result(guardrail, Verdict.ERROR, str(error))
    if said.score is not None and not 0 <= said.score <= 1:
        return result(guardrail, Verdict.ERROR, f"{guardrail.verifier} gave a score that is not between 0 and 1")
    findings = [_within_limits(finding, len(judged.text)) for finding in said.findings[:MOST_FINDINGS]]
    return result(guardrail, said.verdict, said.rationale[:_LONGEST_DETAIL], findings, score=said.score)


def _within_limits(finding: Finding, length: int) -> Finding:
    """The finding with its words shortened, and without a span that does not lie in the text."""
    start, end = finding.start, finding.end
    inside = start is not None and end is not None and 0 <= start <= end <= length
    return Finding(
        kind=finding.kind[:_LONGEST_KIND],
        detail=finding.detail[:_LONGEST_DETAIL],
        start=start if inside else None,
        end=end if inside else None,
    )
