"""Holds of months, and holds under noise: the history stays short, and nothing is lost from one run to the next."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from adapters.temporal_plugin import temporal_plugin
from domain.override import OverrideAction
from domain.progress import Progress
from domain.request import Outcome, Status
from domain.review import ReviewVerdict
from tests.workflows.harness import Handle, Harness, by_confidence
from tests.workflows.test_review_paths import risky, until
from workflows.cascade import CascadeWorkflow

_CONTINUED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW


@pytest.fixture
async def harness(dev_server: WorkflowEnvironment) -> AsyncIterator[Harness]:
    async with Harness(dev_server.client, by_confidence(0.95)).working() as harness:
        yield harness


async def histories(harness: Harness, handle: Handle) -> list[WorkflowHistory]:
    """The history of every run of a request, oldest first."""
    run_id, found = handle.result_run_id, []
    while run_id:
        history = await harness.client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()
        found.append(history)
        last = history.events[-1]
        continued = last.event_type == _CONTINUED
        run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id if continued else None
    return found


async def stale(harness: Harness, handle: Handle, decision_id: str) -> None:
    """A decision for another text than the one that is held."""
    await harness.decide(handle, ReviewVerdict.APPROVE, decision_id=decision_id, result_sha256="0" * 64)


async def quiet(harness: Harness, handle: Handle, count: int) -> None:
    """Wait until so many decisions are judged and the worker has nothing to do for the request."""

    async def look() -> bool:
        if len(harness.ledger.statuses(handle.id)) < count:
            return False
        told = (await harness.client.get_workflow_handle(handle.id).describe()).raw_description
        return not told.pending_activities and not told.HasField("pending_workflow_task")

    await until(f"{count} decisions are judged", look, 60)


def in_order(harness: Harness, handle: Handle) -> None:
    """The decision records are numbered without gaps over all runs."""
    sequences = [record.sequence for record in harness.ledger.records[handle.id]]
    assert sequences == list(range(1, len(sequences) + 1))


async def replays(found: list[WorkflowHistory]) -> None:
    """Every run replays."""
    replayer = Replayer(workflows=[CascadeWorkflow], plugins=[temporal_plugin()])
    for history in found:
        await replayer.replay_workflow(history)


async def test_ninety_days_of_reminders_and_notices_stay_short(
    own_time: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back-off alone keeps it short. In one run, because the test server stops skipping time in the second run of a
    Workflow that has children; runs with notices go on in the tests below."""
    monkeypatch.setattr("workflows.hold.CARRY_AT", 10_000)
    async with Harness(own_time.client, by_confidence(0.95)).working() as harness:
        ladder = [{"after": f"{day}d", "do": "remind"} for day in range(5, 90, 5)]
        about = risky(expires_after="90d", remind_after="1h", ladder=ladder, channels=["team"])
        before = await own_time.get_current_time()
        handle = await harness.start(about)
        result = await handle.result()
        assert result.outcome is Outcome.EXPIRED
        assert await own_time.get_current_time() - before > timedelta(days=89)
        assert harness.ledger.kinds(handle.id).count("reminded") == 11 + 17
        found = await histories(harness, handle)
        assert [len(history.events) < 1000 for history in found] == [True]
        in_order(harness, handle)
        await replays(found)


async def test_ninety_days_under_noise_go_on_in_new_runs(own_time: WorkflowEnvironment) -> None:
    """Signals keep coming while one run ends and the next begins; then nobody decides for ninety days."""
    async with Harness(own_time.client, by_confidence(0.95)).working() as harness:
        ladder = [{"after": f"{day}d", "do": "remind"} for day in range(5, 90, 5)]
        before = await own_time.get_current_time()
        handle = await harness.start(risky(expires_after="90d", remind_after="1h", ladder=ladder))
        await harness.ledger.review_of(handle.id)
        for wave in range(12):
            await asyncio.gather(*(stale(harness, handle, f"{wave}-{number}") for number in range(20)))
            await quiet(harness, handle, (wave + 1) * 20)
        assert (await handle.result()).outcome is Outcome.EXPIRED
        assert await own_time.get_current_time() - before > timedelta(days=89)
        assert Counter(harness.ledger.statuses(handle.id)) == {"stale": 240}
        assert harness.ledger.kinds(handle.id).count("reminded") == 11 + 17
        found = await histories(harness, handle)
        assert len(found) > 1
        assert max(len(history.events) for history in found) < 1000
        in_order(harness, handle)
        await replays(found)


async def test_signals_in_flight_while_it_continues_in_a_new_run_are_all_judged_once(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waves of Signals, at once and from many senders, over runs that end after few events each."""
    monkeypatch.setattr("workflows.hold.CARRY_AT", 60)
    handle = await harness.start(risky(quorum={"high": 2}))
    await harness.ledger.review_of(handle.id)
    await harness.decide(handle, ReviewVerdict.APPROVE, decision_id="first", reviewer="rita")
    waves, width = 12, 15
    for wave in range(waves):
        await asyncio.gather(*(stale(harness, handle, f"{wave}-{number}") for number in range(width)))
        await quiet(harness, handle, 1 + (wave // 3) * 3 * width)
    await quiet(harness, handle, 1 + waves * width)
    # What an earlier run has judged, a later one knows.
    await harness.decide(handle, ReviewVerdict.APPROVE, decision_id="first", reviewer="rita")
    await harness.decide(handle, ReviewVerdict.APPROVE, decision_id="again", reviewer="rita")
    progress = await harness.client.get_workflow_handle(handle.id).query("status", result_type=Progress)
    assert (progress.status, progress.review_version, len(progress.stages)) == (Status.HELD, 1, 1)
    await harness.decide(handle, ReviewVerdict.APPROVE, decision_id="last", reviewer="otto")
    result = await handle.result()
    assert (result.outcome, result.output, result.stages_attempted) == (Outcome.APPROVED, "the answer of small", 1)
    statuses = Counter(harness.ledger.statuses(handle.id))
    assert statuses == {"counted": 1, "stale": waves * width, "duplicate": 1, "inapplicable": 1, "applied": 1}
    in_order(harness, handle)
    found = await histories(harness, handle)
    assert len(found) > 2
    await replays(found)


@pytest.mark.parametrize("end", ["escalate", "revise", "expire", "force_model", "cancel"])
async def test_a_carried_hold_ends_in_every_way(harness: Harness, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr("workflows.hold.CARRY_AT", 40)
    expires = "6s" if end == "expire" else "24h"
    about = risky(expires_after=expires, remind_after=None, revisions=1, channels=["team"])
    handle = await harness.start(about)
    await harness.ledger.review_of(handle.id)
    for number in range(6):
        await stale(harness, handle, f"stale-{number}")
        await quiet(harness, handle, number + 1)
    versioned: dict[str, Any] = {"version": 1}
    match end:
        case "escalate":
            await harness.decide(handle, ReviewVerdict.ESCALATE, **versioned)
        case "revise":
            await harness.decide(handle, ReviewVerdict.REVISE, instruction="Shorter.", **versioned)
        case "force_model":
            await harness.order(handle, OverrideAction.FORCE_MODEL, stage="large")
        case "cancel":
            await harness.client.get_workflow_handle(handle.id).cancel()
    if end in ("escalate", "revise", "force_model"):
        again = await harness.ledger.review_of(handle.id, 2)
        expected = "the answer of small" if end == "revise" else "the answer of large"
        assert again.proposal.text == expected
        assert again.spent.attempts == 2
        await harness.decide(handle, ReviewVerdict.APPROVE, version=2)
    await until("it has ended", lambda: handle.id in harness.ledger.ended)
    outcomes = {"expire": Outcome.EXPIRED, "cancel": Outcome.CANCELLED}
    assert harness.ledger.ended[handle.id].outcome is outcomes.get(end, Outcome.APPROVED)
    found = await histories(harness, handle)
    assert len(found) > 1
    await replays(found)
    ids = [delivery.delivery_id for delivery in harness.notifier.sent if delivery.notice.request_id == handle.id]
    assert len(ids) == len(set(ids))
