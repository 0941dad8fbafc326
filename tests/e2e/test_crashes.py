"""Processes killed with SIGKILL at the worst moments. Nothing is lost, nothing is released twice, every call counts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from standalone.processes import Process
from tests.e2e.live import ENDED, Json, Live, says, until


def _attempts(record: Json) -> list[tuple[int, str]]:
    return [(attempt["number"], attempt["state"]) for attempt in record["attempts"]]


def _cost(attempts: Sequence[Json]) -> Decimal:
    return sum((Decimal(str(attempt["cost_usd"])) for attempt in attempts), Decimal(0))


def _both_attempts_are_paid_for(record: Json) -> None:
    """The lost attempt counts at its upper estimate, the finished one at what the provider said."""
    lost, finished = record["attempts"]
    assert (lost["state"], lost["usage"]["estimated"], lost["usage"]["output_tokens"]) == ("unconfirmed", True, 200)
    assert finished["state"] == "finished"
    assert lost["cost_usd"] > finished["cost_usd"] > 0
    assert Decimal(str(record["request"]["cost_usd"])) == _cost(record["attempts"])


async def test_a_worker_killed_while_a_model_is_asked(doomed: Live) -> None:
    request_id = await doomed.submit(says("Asked twice.", "delay_ms=20000 times=1"))
    key = f"{request_id}/first/1"
    await until("the provider was asked", lambda: _called(doomed, request_id, {key: 1}))
    doomed.stack.worker.kill()
    assert (await doomed.show(request_id))["status"] == "running"
    await doomed.start_worker()
    ended = await doomed.ended(request_id)
    assert (ended["status"], ended["output"]) == ("completed", "Asked twice.")
    assert await doomed.calls(request_id) == {key: 2}
    record = await doomed.record(request_id)
    assert _attempts(record) == [(1, "unconfirmed"), (2, "finished")]
    _both_attempts_are_paid_for(record)
    assert doomed.released([request_id]) == [request_id]


async def _called(live: Live, request_id: str, calls: dict[str, int]) -> bool:
    return await live.calls(request_id) == calls


@asynccontextmanager
async def _fatal_worker(live: Live, orders: Path) -> AsyncIterator[None]:
    """In the place of the worker one that dies as ordered; afterwards the ordinary one, started again."""
    ordinary = live.stack.worker
    await ordinary.stop()
    command = [sys.executable, "-m", "tests.e2e.fatal_worker", str(orders)]
    fatal = Process("fatal worker", command, ordinary.log, live.stack.environment)
    live.stack.worker = fatal
    try:
        await live.start_worker()
        yield
    finally:
        fatal.kill()
        live.stack.worker = ordinary
        await live.start_worker()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_worker_killed_between_the_answer_and_the_return(doomed: Live, tmp_path: Path, moment: str) -> None:
    """Killed before the answer is journalled, the model is asked again, and both count; killed after, it is not."""
    orders = tmp_path / "orders"
    orders.write_text(moment, "utf-8")
    async with _fatal_worker(doomed, orders):
        request_id = await doomed.submit(says("Answered once or twice."))

        async def dead() -> bool:
            return not doomed.stack.worker.running

        await until("the worker has killed itself", dead)
        assert not orders.exists()
        assert await doomed.answered_calls(request_id) == {f"{request_id}/first/1": 1}
    ended = await doomed.ended(request_id)
    assert (ended["status"], ended["output"]) == ("completed", "Answered once or twice.")
    record = await doomed.record(request_id)
    answered = await doomed.answered_calls(request_id)
    if moment == "before":
        assert answered == {f"{request_id}/first/1": 2}
        assert _attempts(record) == [(1, "unconfirmed"), (2, "finished")]
        _both_attempts_are_paid_for(record)
    else:
        assert answered == {f"{request_id}/first/1": 1}
        assert _attempts(record) == [(1, "finished")]
        assert Decimal(str(record["request"]["cost_usd"])) == _cost(record["attempts"]) > 0
    assert doomed.released([request_id]) == [request_id]


async def test_a_worker_killed_in_a_hold(doomed: Live) -> None:
    """A decision sent while no worker runs is pending, and applied once when one does."""
    review = await doomed.held(await doomed.submit_risky(says("Held over a crash.")))
    doomed.stack.worker.kill()
    pending = await doomed.decide(review, "approve", decision_id="no-worker", wait=0.5)
    assert (pending.status_code, pending.json()["status"]) == (202, "pending")
    assert pending.json()["request"] == {"id": review["id"], "status": "held", "outcome": None}
    shown = await doomed.show(review["id"])
    assert (shown["status"], shown["output"]) == ("held", None)
    assert doomed.released([review["id"]]) == []
    await doomed.start_worker()
    await _applied_once(doomed, review, "no-worker")


async def _applied_once(live: Live, review: Json, decision_id: str) -> None:
    """The request ended as approved, with the text that was shown, by this decision and by nothing else."""
    ended = await live.ended(review["id"])
    assert (ended["status"], ended["outcome"]) == ("completed", "approved")
    assert ended["output"] == review["proposal"]["text"]
    again = await live.decide(review, "approve", decision_id=decision_id)
    assert (again.status_code, again.json()["status"]) == (200, "applied")
    judged = [entry["data"] for entry in await live.judged(review["id"])]
    applied = [data["decision_id"] for data in judged if data["status"] == "applied"]
    assert applied == [decision_id]
    # The outbox may send a decision twice rather than never; the second Signal then is a duplicate without effect.
    assert {data["status"] for data in judged} <= {"applied", "duplicate", "superseded"}
    kinds = [entry["kind"] for entry in (await live.record(review["id"]))["records"]]
    assert kinds.count("ended") == 1
    assert live.released([review["id"]]) == [review["id"]]


async def test_the_temporal_server_killed_in_a_hold(doomed: Live) -> None:
    first, second = [
        await doomed.held(await doomed.submit_risky(says(f"Held over an outage, {number}."))) for number in (1, 2)
    ]
    doomed.temporal.kill()
    pending, refused = await asyncio.gather(
        doomed.decide(first, "approve", decision_id="no-server", wait=0.5),
        doomed.post(says("Sent into an outage."), key="into-an-outage"),
    )
    assert (pending.status_code, pending.json()["status"]) == (202, "pending")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    for review in (first, second):
        shown = await doomed.show(review["id"])
        assert (shown["status"], shown["output"]) == ("held", None)
    doomed.temporal.start()
    await doomed.stack.temporal_ready()
    # Nobody sends the first decision again: the outbox does.
    await _applied_once(doomed, first, "no-server")
    assert (await doomed.held(second["id"]))["state"] == "pending"
    assert (await doomed.show(second["id"]))["status"] == "held"
    approved = await doomed.decide(second, "approve", decision_id="after-the-outage")
    assert (approved.status_code, approved.json()["status"]) == (200, "applied")
    await _applied_once(doomed, second, "after-the-outage")
    # What was refused may be sent again under its key, and is then one request.
    request_id = await doomed.submit(says("Sent into an outage."), key="into-an-outage")
    assert (await doomed.ended(request_id))["output"] == "Sent into an outage."


async def test_everything_killed_with_twenty_held_and_ten_just_decided(doomed: Live) -> None:
    texts = [f"Answer number {number}." for number in range(20)]
    requests = await asyncio.gather(*(doomed.submit_risky(says(text)) for text in texts))
    reviews = [await doomed.held(request_id) for request_id in requests]
    decided, undecided = reviews[:10], reviews[10:]
    # Five decisions meet a worker that is at work on them when it dies, five come when it is dead already.
    await _decide_at_once(doomed, decided[:5])
    doomed.stack.worker.kill()
    late_answers = await _decide_at_once(doomed, decided[5:])
    doomed.temporal.kill()
    doomed.stack.api.kill()
    assert [answer["status"] for answer in late_answers] == ["pending"] * 5
    assert doomed.released([review["id"] for review in (*decided[5:], *undecided)]) == []
    doomed.temporal.start()
    await doomed.stack.temporal_ready()
    doomed.stack.worker.start()
    doomed.stack.api.start()
    await asyncio.gather(doomed.stack.worker_ready(), doomed.stack.api_ready())
    # The truth at any moment: an end with its output, or no output yet.
    for shown in await asyncio.gather(*(doomed.show(review["id"]) for review in reviews)):
        assert (shown["output"] is not None) == (shown["status"] in ENDED)
    for review in decided:
        await _applied_once(doomed, review, f"decision-on-{review['id']}")
    for review in undecided:
        shown = await doomed.show(review["id"])
        assert (shown["status"], shown["output"]) == ("held", None)
    assert sorted(doomed.released(requests)) == sorted(review["id"] for review in decided)
    answers = await _decide_at_once(doomed, undecided, wait=10)
    assert [answer["status"] for answer in answers] == ["applied"] * 10
    for review in undecided:
        await _applied_once(doomed, review, f"decision-on-{review['id']}")
    for request_id, text in zip(requests, texts, strict=True):
        assert (await doomed.show(request_id))["output"] == text
        assert await doomed.calls(request_id) == {f"{request_id}/first/1": 1}
    assert sorted(doomed.released(requests)) == sorted(requests)


async def _decide_at_once(live: Live, reviews: Sequence[Json], wait: float = 0) -> list[Any]:
    answers = await asyncio.gather(
        *(live.decide(review, "approve", decision_id=f"decision-on-{review['id']}", wait=wait) for review in reviews)
    )
    assert {answer.status_code for answer in answers} <= {200, 202}
    return [answer.json() for answer in answers]
