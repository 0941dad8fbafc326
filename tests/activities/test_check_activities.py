"""The guardrail Activities: one for every kind, strict about it, and truthful about verifiers that fail."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import timedelta
from decimal import Decimal
from typing import get_args

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.checks import pii
from activities.guardrails import ACTIVITY_OF, GuardrailActivities
from domain.errors import VerifierError
from domain.guardrails import (
    Bound,
    BoundsGuardrail,
    CheckResult,
    CheckTask,
    CompletenessGuardrail,
    ConfidenceGuardrail,
    ExternalGuardrail,
    Finding,
    Guardrail,
    Judged,
    PiiGuardrail,
    SchemaGuardrail,
    TermsGuardrail,
    Verdict,
)
from domain.ports import Verification


class FakeVerifier:
    """Says what it was told to say, and remembers what it was asked."""

    def __init__(self, says: Verification | Exception) -> None:
        self._says = says
        self.asked: list[tuple[str, str, str | None, float]] = []

    async def verify(self, verifier: str, text: str, input_text: str | None, timeout_seconds: float) -> Verification:
        self.asked.append((verifier, text, input_text, timeout_seconds))
        if isinstance(self._says, Exception):
            raise self._says
        return self._says


PASSED = Verification(verdict=Verdict.PASS, rationale="every citation exists", score=0.9)
EXTERNAL = ExternalGuardrail(check="external", name="facts", verifier="citations", timeout=timedelta(seconds=3))
ONE_OF_EACH: tuple[Guardrail, ...] = (
    ConfidenceGuardrail(check="confidence", name="confidence", threshold=0.5),
    SchemaGuardrail(check="schema", name="schema", json_schema={"type": "object"}),
    CompletenessGuardrail(check="completeness", name="completeness"),
    PiiGuardrail(check="pii", name="pii"),
    TermsGuardrail(check="terms", name="terms", forbidden=("guarantee",)),
    BoundsGuardrail(check="bounds", name="bounds", bounds=(Bound(field="price", max=Decimal(9)),)),
    EXTERNAL,
)


def task(guardrail: Guardrail, text: str = '{"price": 3}') -> CheckTask:
    judged = Judged(text=text, mean_logprob=-0.1, finish_reason="stop", input_text="the question")
    return CheckTask(request_id="req_1", stage="small", guardrail=guardrail, judged=judged)


async def run(
    guardrail: Guardrail, verifier: FakeVerifier | None = None, name: str | None = None, text: str = '{"price": 3}'
) -> CheckResult:
    activities = GuardrailActivities(verifier or FakeVerifier(PASSED))
    method = getattr(activities, name or ACTIVITY_OF[guardrail.check])
    said = await ActivityEnvironment().run(method, task(guardrail, text))
    assert isinstance(said, CheckResult)
    return said


def test_every_kind_of_guardrail_has_its_activity() -> None:
    kinds = {kind.model_fields["check"].annotation for kind in get_args(get_args(Guardrail)[0])}
    assert {get_args(kind)[0] for kind in kinds} == set(ACTIVITY_OF) == {guard.check for guard in ONE_OF_EACH}
    for name in ACTIVITY_OF.values():
        definition = activity._Definition.from_callable(getattr(GuardrailActivities, name))
        assert definition is not None
        assert definition.name == name


@pytest.mark.parametrize("guardrail", ONE_OF_EACH, ids=lambda guardrail: guardrail.check)
async def test_each_activity_runs_its_check(guardrail: Guardrail) -> None:
    said = await run(guardrail)
    assert (said.name, said.check, said.verdict) == (guardrail.name, guardrail.check, Verdict.PASS)


@pytest.mark.parametrize("guardrail", ONE_OF_EACH, ids=lambda guardrail: guardrail.check)
async def test_an_activity_refuses_a_guardrail_of_another_kind_for_good(guardrail: Guardrail) -> None:
    for check, name in ACTIVITY_OF.items():
        if check == guardrail.check:
            continue
        with pytest.raises(ApplicationError) as refusal:
            await run(guardrail, name=name)
        assert refusal.value.non_retryable
        assert refusal.value.type == "WrongGuardrail"


async def test_tasks_survive_the_wire() -> None:
    for guardrail in ONE_OF_EACH:
        sent = task(guardrail)
        assert CheckTask.model_validate_json(sent.model_dump_json()) == sent


async def test_the_verifier_sees_the_input_only_where_the_policy_says_so() -> None:
    verifier = FakeVerifier(PASSED)
    said = await run(EXTERNAL, verifier, text="the answer")
    await run(EXTERNAL.model_copy(update={"send_input": True}), verifier, text="the answer")
    assert verifier.asked == [
        ("citations", "the answer", None, 2.7),
        ("citations", "the answer", "the question", 2.7),
    ]
    assert (said.rationale, said.score) == ("every citation exists", 0.9)


async def test_a_verifier_that_may_recover_is_asked_again() -> None:
    with pytest.raises(ApplicationError) as failure:
        await run(EXTERNAL, FakeVerifier(VerifierError("citations answered 503", transient=True)))
    assert failure.value.type == "VerifierUnavailable"
    assert not failure.value.non_retryable


async def test_a_verifier_that_will_not_recover_is_the_verdict_error() -> None:
    said = await run(EXTERNAL, FakeVerifier(VerifierError("citations answered 404", transient=False)))
    assert (said.verdict, said.rationale) == (Verdict.ERROR, "citations answered 404")


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_the_verdict_of_the_service_is_passed_on(verdict: Verdict) -> None:
    said = await run(EXTERNAL, FakeVerifier(Verification(verdict=verdict, rationale="because")))
    assert (said.verdict, said.rationale) == (verdict, "because")


@pytest.mark.parametrize("score", [-0.1, 1.5, 100.0])
async def test_a_score_outside_0_and_1_is_an_error_even_with_a_pass(score: float) -> None:
    said = await run(EXTERNAL, FakeVerifier(Verification(verdict=Verdict.PASS, rationale="", score=score)))
    assert said.verdict is Verdict.ERROR


async def test_what_a_service_says_is_kept_within_limits() -> None:
    findings = [Finding(kind="k" * 999, detail="d" * 9999, start=0, end=4)] * 999
    findings[1:4] = [
        Finding(kind="x", detail="x", start=start, end=end) for start, end in ((-1, 2), (3, 2), (0, 10**9))
    ]
    said = await run(
        EXTERNAL,
        FakeVerifier(Verification(verdict=Verdict.FAIL, rationale="r" * 9999, findings=tuple(findings))),
        text="text",
    )
    assert len(said.model_dump_json()) < 64 * 1024
    assert (said.findings[0].start, said.findings[0].end) == (0, 4)
    assert {(finding.start, finding.end) for finding in said.findings[1:4]} == {(None, None)}


async def test_an_unexpected_error_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        await run(EXTERNAL, FakeVerifier(ZeroDivisionError()))


async def test_large_texts_are_judged_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    judge = pii.check

    def noted(guardrail: PiiGuardrail, judged: Judged) -> CheckResult:
        threads.append(threading.current_thread())
        return judge(guardrail, judged)

    monkeypatch.setattr(pii, "check", noted)
    small = await run(ONE_OF_EACH[3], text="jane@example.com")
    large = await run(ONE_OF_EACH[3], text="jane@example.com " + "word " * 10_000)
    assert threads[0] is threading.main_thread()
    assert threads[1] is not threading.main_thread()
    assert small == large


def test_importing_the_names_imports_no_heavy_library() -> None:
    code = "import sys, activities.guardrails; print([m for m in ('jsonschema', 'phonenumbers') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
