"""Every way a request can go, against the time-skipping server, with fakes instead of the world."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.testing import WorkflowEnvironment

from domain.errors import ProviderError
from domain.guardrails import Verdict
from domain.ledger import Ending
from domain.ports import ModelCall
from domain.progress import Progress
from domain.request import Outcome, Status
from domain.review import ReviewVerdict
from domain.stage import FailureKind, StageAnswer
from tests.examples import POLICY, SAFE, request, snapshot
from tests.fakes import MemoryLedger, answer_of
from tests.workflows.harness import Harness, by_confidence


@pytest.fixture
async def harness(time_skipping: WorkflowEnvironment) -> AsyncIterator[Harness]:
    async with Harness(time_skipping.client, by_confidence(0.95)).working() as harness:
        yield harness


def unavailable(call: ModelCall) -> ProviderError:
    return ProviderError(FailureKind.PERMANENT, f"{call.model.name}: status 401")


async def test_accepts_at_the_first_stage(harness: Harness) -> None:
    result = await harness.run(request())
    assert (result.status, result.outcome) == (Status.COMPLETED, Outcome.ACCEPTED)
    assert (result.model, result.output, result.stages_attempted) == ("small", "the answer of small", 1)
    assert result.cost_usd == Decimal("0.00003")
    assert result.baseline_cost_usd == Decimal("0.0003")
    kinds = harness.ledger.kinds(result.request_id)
    assert kinds == [
        "admitted",
        "input_checked",
        "routed",
        "stage_answered",
        *["output_checked"] * 3,
        "decided",
        "ended",
    ]
    sequences = [record.sequence for record in harness.ledger.records[result.request_id]]
    assert sequences == list(range(1, len(kinds) + 1))


async def test_escalates_on_low_confidence(harness: Harness) -> None:
    harness.provider.script = by_confidence(0.3).script
    result = await harness.run(request())
    assert (result.outcome, result.model, result.stages_attempted) == (Outcome.ACCEPTED, "large", 2)
    decided = [r for r in harness.ledger.records[result.request_id] if r.kind == "decided"]
    assert [record.data["verb"] for record in decided] == ["escalate", "accept"]


async def test_exhausted_cascade_holds_the_best_answer(harness: Harness) -> None:
    harness.provider.script = by_confidence(0.5, 0.4).script
    handle = await harness.start(request())
    review = await harness.ledger.review_of(handle.id)
    assert review.rule == "on_exhausted"
    assert review.proposal.text == "the answer of small"
    assert not review.may_escalate
    await harness.decide(handle, ReviewVerdict.APPROVE)
    result = await handle.result()
    assert (result.outcome, result.output, result.model) == (Outcome.APPROVED, "the answer of small", "small")


async def test_high_risk_is_held_and_the_query_tells(harness: Harness) -> None:
    handle = await harness.start(request(constraints={"risk": "high"}))
    review = await harness.ledger.review_of(handle.id)
    assert review.rule == "risk.hold_at"
    assert (review.spent.cost_usd, review.baseline_cost_usd) == (Decimal("0.00003"), Decimal("0.0003"))
    progress = await handle.query("status", result_type=Progress)
    assert progress.status is Status.HELD
    assert progress.review_version == 1
    await harness.decide(handle, ReviewVerdict.REJECT, reason="wrong tone")
    result = await handle.result()
    assert (result.status, result.outcome, result.output) == (Status.REFUSED, Outcome.REJECTED, SAFE)
    assert result.reason == "rejected by a reviewer"
    judged = [record for record in harness.ledger.records[handle.id] if record.kind == "decision_judged"]
    assert [(record.actor, record.data["reason"]) for record in judged] == [("reviewer:rita", "wrong tone")]


async def test_a_finding_that_holds_stops_the_cascade(harness: Harness) -> None:
    harness.provider.script = lambda call: answer_of("You have a guaranteed return of 9 %.")
    handle = await harness.start(request())
    review = await harness.ledger.review_of(handle.id)
    assert review.rule == "guardrails.output.terms.on_fail"
    assert len(harness.provider.calls) == 1
    assert review.may_escalate
    await harness.decide(handle, ReviewVerdict.EDIT, output="Returns are never certain.")
    result = await handle.result()
    assert (result.outcome, result.output) == (Outcome.EDITED, "Returns are never certain.")


async def test_an_edit_that_fails_a_guardrail_changes_nothing(harness: Harness) -> None:
    handle = await harness.start(request(constraints={"risk": "high"}))
    await harness.decide(handle, ReviewVerdict.EDIT, output="A guaranteed return!")
    await harness.decide(handle, ReviewVerdict.APPROVE)
    result = await handle.result()
    assert result.outcome is Outcome.APPROVED
    assert harness.ledger.statuses(handle.id) == ["inapplicable", "applied"]


async def test_a_reviewer_can_escalate(harness: Harness) -> None:
    handle = await harness.start(request(constraints={"risk": "critical"}))
    await harness.decide(handle, ReviewVerdict.ESCALATE)
    review = await harness.ledger.review_of(handle.id, version=2)
    assert review.proposal.text == "the answer of large"
    assert review.proposal.review_version == 2
    await harness.decide(handle, ReviewVerdict.APPROVE, version=2)
    assert (await handle.result()).model == "large"


async def test_input_that_must_not_be_processed_is_refused(harness: Harness) -> None:
    result = await harness.run(request("My account is DE89 3704 0044 0532 0130 00."))
    assert (result.outcome, result.output) == (Outcome.REFUSED, SAFE)
    assert harness.provider.calls == []
    assert result.cost_usd == 0


async def test_no_candidate_is_refused_with_reasons(harness: Harness) -> None:
    result = await harness.run(request(constraints={"capabilities": ["vision"]}))
    assert result.outcome is Outcome.REFUSED
    assert "lacks vision" in result.reason


async def test_falls_back_when_every_model_is_unavailable(harness: Harness) -> None:
    harness.provider.script = unavailable
    result = await harness.run(request())
    assert (result.status, result.outcome, result.output) == (Status.REFUSED, Outcome.FELL_BACK, SAFE)
    assert result.model is None
    assert len(harness.provider.calls) == 2


async def test_transient_failures_are_retried_and_counted(harness: Harness) -> None:
    def script(call: ModelCall) -> StageAnswer | ProviderError:
        if len(harness.provider.calls) == 1:
            return ProviderError(FailureKind.TRANSIENT, "timed out", maybe_billed=True)
        return answer_of("fine")

    harness.provider.script = script
    result = await harness.run(request())
    assert (result.outcome, result.model) == (Outcome.ACCEPTED, "small")
    assert result.cost_usd > Decimal("0.00003"), "the attempt that may have been billed counts at its estimate"
    answered = next(r for r in harness.ledger.records[result.request_id] if r.kind == "stage_answered")
    assert [attempt["state"] for attempt in answered.data["attempts"]] == ["failed", "finished"]


async def test_garbage_is_evidence_not_success(harness: Harness) -> None:
    def script(call: ModelCall) -> StageAnswer:
        if call.model.name == "small":
            return answer_of("", finish_reason="length")
        return answer_of("whole")

    harness.provider.script = script
    result = await harness.run(request())
    assert (result.model, result.output) == ("large", "whole")


@pytest.mark.parametrize(
    "broken",
    [
        answer_of(" "),
        answer_of("cut o", finish_reason="length"),
        answer_of("well").model_copy(update={"defect": "the reply holds no choices"}),
    ],
)
async def test_an_unusable_answer_is_never_accepted_even_without_checks(harness: Harness, broken: StageAnswer) -> None:
    harness.provider.script = lambda call: broken if call.model.name == "small" else answer_of("whole")
    result = await harness.run(request(policy=snapshot(guardrails={})))
    assert (result.model, result.output) == ("large", "whole")


async def test_attempts_over_all_stages_have_a_ceiling(harness: Harness) -> None:
    ceilings = {**POLICY["ceilings"], "attempts": 1}
    harness.provider.script = by_confidence(0.2).script
    handle = await harness.start(request(policy=snapshot(ceilings=ceilings)))
    review = await harness.ledger.review_of(handle.id)
    assert "no attempt is left" in review.why
    assert len(harness.provider.calls) == 1
    await harness.decide(handle, ReviewVerdict.REJECT)
    await handle.result()


async def test_a_check_that_errs_is_no_pass(harness: Harness) -> None:
    harness.verifier.verdict = Verdict.ERROR
    output = [{"check": "external", "verifier": "register", "on_fail": "escalate"}]
    handle = await harness.start(request(policy=snapshot(guardrails={"output": output})))
    review = await harness.ledger.review_of(handle.id)
    assert review.rule == "guardrails.output.external.on_error"
    await harness.decide(handle, ReviewVerdict.REJECT)
    await handle.result()


async def test_nobody_deciding_fails_closed(harness: Harness) -> None:
    handle = await harness.start(request(constraints={"risk": "high"}))
    result = await handle.result()
    assert (result.status, result.outcome, result.output) == (Status.REFUSED, Outcome.EXPIRED, SAFE)
    kinds = harness.ledger.kinds(handle.id)
    assert kinds.count("reminded") == 2, "after 4 h and 12 h of 24 h"
    assert kinds[-2:] == ["hold_expired", "ended"]


async def test_cancelling_in_a_hold_is_recorded(harness: Harness) -> None:
    handle = await harness.start(request(constraints={"risk": "high"}))
    await harness.ledger.review_of(handle.id)
    await handle.cancel(reason="customer hung up")
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    ended = harness.ledger.ended[handle.id]
    assert (ended.status, ended.output) == (Status.CANCELLED, None)
    assert harness.ledger.kinds(handle.id)[-1] == "ended"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"result_sha256": "0" * 64}, "stale"),
        ({"review_version": 7}, "stale"),
        ({"signature": "forged"}, "unauthorised"),
        ({"request_id": "req_other"}, "unauthorised"),
        ({"tenant": "other"}, "unauthorised"),
        ({"decided_at": "9999-01-01T00:00:00Z"}, "late"),
    ],
)
async def test_decisions_without_effect_are_recorded(harness: Harness, changes: dict[str, object], status: str) -> None:
    handle = await harness.start(request(constraints={"risk": "high"}))
    await harness.decide(handle, ReviewVerdict.APPROVE, **changes)
    await harness.decide(handle, ReviewVerdict.REJECT)
    result = await handle.result()
    assert result.outcome is Outcome.REJECTED
    assert harness.ledger.statuses(handle.id) == [status, "applied"]


class SlowToAnswer(MemoryLedger):
    """A ledger that has committed the end, for all to see, before the Workflow hears of it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.heard = asyncio.Event(), asyncio.Event()

    async def end(self, ending: Ending) -> None:
        await super().end(ending)
        self.seen.set()
        await self.heard.wait()


async def test_whoever_saw_the_end_decides_too_late(time_skipping: WorkflowEnvironment) -> None:
    harness, ledger = Harness(time_skipping.client, by_confidence(0.95)), SlowToAnswer()
    harness.ledger = ledger
    async with harness.working():
        handle = await harness.start(request(constraints={"risk": "high"}))
        await harness.decide(handle, ReviewVerdict.APPROVE)
        await ledger.seen.wait()
        await harness.decide(handle, ReviewVerdict.REJECT)
        ledger.heard.set()
        assert (await handle.result()).outcome is Outcome.APPROVED
    applied, late = ledger.decisions[handle.id]
    assert (applied.status, late.status) == ("applied", "late")
    assert late.because == "rita had decided already: approve"


@pytest.mark.parametrize("payload", ["yes", 7, None, {"verdict": "approve"}, {"verdict": ["approve"]}, [1], "\x00"])
async def test_malformed_signals_are_recorded_and_harm_nothing(harness: Harness, payload: object) -> None:
    handle = await harness.start(request(constraints={"risk": "high"}))
    await harness.ledger.review_of(handle.id)
    await handle.signal("decide", payload)
    await handle.signal("decide")
    await harness.decide(handle, ReviewVerdict.APPROVE)
    assert (await handle.result()).outcome is Outcome.APPROVED
    assert harness.ledger.statuses(handle.id) == ["malformed", "malformed", "applied"]


async def test_an_early_decision_is_not_lost_and_not_applied(harness: Harness) -> None:
    first = request(constraints={"risk": "high"})
    other = await harness.start(request(constraints={"risk": "high"}))
    envelope = await harness.decide(other, ReviewVerdict.REJECT)
    early = envelope.model_copy(update={"request_id": first.request_id, "result_sha256": "0" * 64})
    handle = await harness.client.start_workflow(
        "CascadeWorkflow",
        first,
        id=first.request_id,
        task_queue=harness.task_queue,
        start_signal="decide",
        start_signal_args=[early],
    )
    await harness.ledger.review_of(first.request_id)
    await harness.decide(handle, ReviewVerdict.APPROVE)
    await handle.result()
    assert harness.ledger.statuses(first.request_id) == ["stale", "applied"]


async def test_only_a_check_that_is_told_to_reads_the_input(harness: Harness) -> None:
    output = [
        {"check": "external", "verifier": "blind"},
        {"check": "external", "name": "seeing", "verifier": "seeing", "send_input": True},
    ]
    await harness.run(request("Where is it?", policy=snapshot(guardrails={"output": output})))
    assert harness.verifier.inputs == {"blind": None, "seeing": "Where is it?"}


async def test_the_temporal_ui_reads_like_a_story(harness: Harness) -> None:
    harness.provider.script = by_confidence(0.3).script
    handle = await harness.start(request(constraints={"risk": "high"}))
    await harness.decide(handle, ReviewVerdict.EDIT, output="Better so.")
    await handle.result()
    told = [
        json.loads(event.user_metadata.summary.data)
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    checks = ("confidence", "completeness", "terms")
    assert told == [
        "route by plain",
        "input-pii on the input",
        "small: ask small",
        *(f"{check} on the answer of small" for check in checks),
        "large: ask large",
        *(f"{check} on the answer of large" for check in checks),
        "hold: risk.hold_at",
        *(f"{check} on the edited text" for check in checks[1:]),
        "commit: edited",
    ]
