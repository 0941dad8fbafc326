"""The bundled samples: every expectation follows from the real policy, the real checks and the scripted answers."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.checks import bounds, completeness, confidence, external, pii, schema, terms
from adapters.policy_files import PolicyStore, load_catalog, load_policies
from domain.cascade import (
    Decision,
    Verb,
    best_so_far,
    ceilings_left,
    decide,
    decide_input,
    decide_no_candidates,
    forbidden_by_ceiling,
)
from domain.guardrails import (
    BoundsGuardrail,
    CheckResult,
    CompletenessGuardrail,
    ConfidenceGuardrail,
    ExternalGuardrail,
    Guardrail,
    Judged,
    PiiGuardrail,
    SchemaGuardrail,
    TermsGuardrail,
)
from domain.ports import Verification
from domain.request import CascadeInput, request_id
from domain.route import route, worst_case
from domain.stage import Spent, StageAnswer, StageEvidence
from domain.usage import Usage
from standalone.arithmetic import verify_arithmetic
from standalone.citations import CitationCheck, load_register
from standalone.samples import SAMPLES, Sample, SampleError, load_samples
from standalone.scripted import estimated_tokens
from standalone.simulation import Size

POLICIES = Path(__file__).parents[2] / "policies"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
SIZE_OF: dict[str, Size] = {"sim-small": "small", "sim-medium": "medium", "sim-large": "large"}
STATUS = {Verb.ACCEPT: "completed", Verb.HOLD: "held", Verb.REFUSE: "refused", Verb.FALL_BACK: "refused"}
ALL = load_samples()
POLICY_NAMES = sorted({sample.policy for sample in ALL})


class OwnVerifiers:
    """The embedded stack's verification services, called directly."""

    def __init__(self) -> None:
        self._citations = CitationCheck(load_register())

    async def verify(self, verifier: str, text: str, input_text: str | None, timeout_seconds: float) -> Verification:
        return {"citations": self._citations.verify, "arithmetic": verify_arithmetic}[verifier](text)


@pytest.fixture(scope="module")
def policies() -> PolicyStore:
    return load_policies(POLICIES, load_catalog(POLICIES / "catalog.yaml"))


async def run_check(guardrail: Guardrail, judged: Judged) -> CheckResult:
    match guardrail:
        case ConfidenceGuardrail():
            return confidence.check(guardrail, judged)
        case CompletenessGuardrail():
            return completeness.check(guardrail, judged)
        case SchemaGuardrail():
            return schema.check(guardrail, judged)
        case BoundsGuardrail():
            return bounds.check(guardrail, judged)
        case TermsGuardrail():
            return terms.check(guardrail, judged)
        case PiiGuardrail():
            return pii.check(guardrail, judged)
        case ExternalGuardrail():
            return await external.check(guardrail, judged, OwnVerifiers())


def answer_of(sample: Sample, size: Size, sent: str) -> StageAnswer:
    script = sample.answers[size]
    return StageAnswer(
        text=script.text,
        model_version_served=f"simulated-{size}",
        finish_reason=script.finish_reason,
        usage=Usage(input_tokens=estimated_tokens(sent), output_tokens=estimated_tokens(script.text)),
        mean_logprob=math.log(script.confidence),
        defect=None,
    )


async def run(sample: Sample, policies: PolicyStore) -> tuple[Decision, Size | None]:
    """What becomes of a sample, and whose answer is released or held."""
    snapshot = policies.snapshot(sample.policy)
    assert snapshot is not None
    policy, body = snapshot.policy, sample.body()
    request = CascadeInput(
        request_id=request_id("demo", sample.id),
        tenant="demo",
        requester="samples",
        submitted_at=NOW,
        body=body,
        policy=snapshot,
    )
    asked = Judged(text=body.input_text(), by_model=False)
    flagged = decide_input(policy.guardrails.input, [await run_check(each, asked) for each in policy.guardrails.input])
    if flagged is not None and flagged.verb is Verb.REFUSE:
        return flagged, None
    routed = route(request)
    if not routed.path:
        return decide_no_candidates(policy, routed.considered), None
    evidence: list[StageEvidence] = []
    spent = Spent()
    for position, index in enumerate(routed.path):
        model = snapshot.models[index]
        answer = answer_of(sample, SIZE_OF[model.name], body.input_text() + (policy.stages[index].system or ""))
        spent = Spent(
            cost_usd=spent.cost_usd + model.price.cost(answer.usage),
            attempts=spent.attempts + 1,
            tokens=spent.tokens + answer.usage.total,
        )
        judged = answer.judged(body.input_text())
        checks = [await run_check(guardrail, judged) for guardrail in policy.guardrails.output]
        evidence.append(
            StageEvidence(
                stage_index=index,
                stage=policy.stages[index].name,
                model=model.name,
                answer=answer,
                checks=tuple(checks),
            )
        )
        following = routed.path[position + 1] if position + 1 < len(routed.path) else None
        ceiling = None
        if following is not None:
            usage, cost = worst_case(policy.stages[following], snapshot.models[following], body)
            ceiling = forbidden_by_ceiling(ceilings_left(policy, body.constraints, spent, NOW), usage, cost, NOW)
        next_stage = None if following is None else policy.stages[following].name
        decision = decide(policy, checks, routed.risk, flagged, next_stage, ceiling, answer.unusable())
        if decision.verb is not Verb.ESCALATE:
            break
    shown = best_so_far(evidence) if decision.exhausted else evidence[-1]
    assert shown is not None
    return decision, None if decision.verb is Verb.REFUSE else SIZE_OF[shown.model]


@pytest.mark.parametrize("sample", ALL, ids=lambda sample: f"{sample.policy}/{sample.id}")
async def test_a_sample_ends_as_it_says(sample: Sample, policies: PolicyStore) -> None:
    decision, stage = await run(sample, policies)
    said = (sample.expect.status, sample.expect.stage)
    assert (STATUS[decision.verb], stage) == said, f"{decision.because} ({decision.rule})"


def test_there_is_a_file_of_samples_for_every_policy(policies: PolicyStore) -> None:
    assert tuple(POLICY_NAMES) == policies.names()


@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_a_policy_has_samples_of_every_ending(policy: str) -> None:
    own = [sample for sample in ALL if sample.policy == policy]
    endings = Counter(sample.expect.status for sample in own)
    assert len(own) >= 28
    assert endings["completed"] >= len(own) // 2
    assert endings["held"] >= 4
    assert endings["refused"] >= 2


def test_latencies_belong_to_their_model_size() -> None:
    plausible = {"small": (40, 120), "medium": (100, 250), "large": (200, 500)}
    for sample in ALL:
        for size, answer in sample.answers.items():
            assert plausible[size][0] <= answer.latency_ms <= plausible[size][1], (sample.id, size)


def test_a_model_without_a_text_answers_like_the_next_smaller_one() -> None:
    sample = next(sample for sample in ALL if sample.id == "reset-link-expired")
    assert sample.answers["large"].text == sample.answers["small"].text


def test_no_sample_hides_a_direction_mark_in_its_file() -> None:
    hidden = {chr(code) for code in (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
    for path in SAMPLES.glob("*.yaml"):
        assert hidden.isdisjoint(path.read_text(encoding="utf-8")), f"{path.name}: write it as an escape"


GOOD = """
- id: one
  request: {input: Hello}
  answers:
    small: {text: Hi, confidence: 0.9, latency_ms: 50}
    medium: {confidence: 0.9, latency_ms: 120}
    large: {confidence: 0.9, latency_ms: 220}
  expect: {status: completed, stage: small, because: it is sure}
"""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("latency_ms: 50", "latency_ms: 50, speed: 9"), r"plain\.yaml: sample 'one': answers\.small\.speed"),
        (("input: Hello", "inptu: Hello"), r"request\.inptu"),
        (("confidence: 0.9, latency_ms: 220", "confidence: 1.9, latency_ms: 220"), r"answers\.large\.confidence"),
        (("    large: {confidence: 0.9, latency_ms: 220}\n", ""), "needs small, medium and large"),
        (("stage: small, ", ""), "names the 'stage'"),
        (("input: Hello", "input: Hello, messages: [{role: user, content: Hello}]"), "exactly one of"),
    ],
)
def test_a_wrong_sample_file_is_refused_with_its_place(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    (tmp_path / "plain.yaml").write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(SampleError, match=problem):
        load_samples(tmp_path)


def test_two_samples_with_the_same_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text(GOOD + GOOD.replace("id: one", "id: two"), encoding="utf-8")
    with pytest.raises(SampleError, match="same text"):
        load_samples(tmp_path)
