"""Decisions on held answers against the real server: at once, opposite, malformed, forged and late."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from domain.payload import sha256_text
from standalone.stack import temporal_binary
from tests.e2e.live import SAFE, Json, Live, says, until

LOST = ("superseded", "late")
"""What a decision is that comes second: late if the request is ending by then, which no test can time."""


async def test_fifty_times_the_same_decision_at_once_is_one_decision(live: Live) -> None:
    request_id = await live.submit_risky(says("The one answer."))
    review = await live.held(request_id)
    answers = await asyncio.gather(*(live.decide(review, "approve", decision_id="fifty") for _ in range(50)))
    assert Counter((answer.status_code, answer.json()["status"]) for answer in answers) == {(200, "applied"): 50}
    assert {answer.json()["request"]["outcome"] for answer in answers} == {"approved"}
    assert (await live.ended(request_id))["output"] == "The one answer."
    assert [entry["data"]["status"] for entry in await live.judged(request_id)] == ["applied"]
    assert live.rows("SELECT decision_id, status FROM decisions WHERE request_id = ?", request_id) == [
        ("fifty", "applied")
    ]
    assert live.released([request_id]) == [request_id]


async def test_of_two_opposite_decisions_at_once_exactly_one_wins_and_both_callers_learn_it(live: Live) -> None:
    requests = await asyncio.gather(*(live.submit_risky(says(f"Answer {number}.")) for number in range(5)))
    reviews = [await live.held(request_id) for request_id in requests]
    for review in reviews:
        approval, rejection = await asyncio.gather(
            live.decide(review, "approve", by=live.reviewer), live.decide(review, "reject", by=live.other_reviewer)
        )
        won, lost = (approval, rejection) if approval.status_code == 200 else (rejection, approval)
        winner = "rita" if won is approval else "otto"
        assert (won.status_code, won.json()["status"]) == (200, "applied")
        assert lost.status_code == 409
        assert lost.json()["status"] in LOST
        assert lost.json()["error"]["code"] == f"decision_{lost.json()['status']}"
        for answer in (won, lost):
            assert answer.json()["review"]["decided_by"] == winner
            assert answer.json()["request"]["outcome"] == ("approved" if winner == "rita" else "rejected")
        await _only_one_applied(live, review, winner)


async def test_the_loser_of_two_decisions_that_arrive_together_is_told_who_won(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Contested.")))
    async with _worker_stopped(live):
        pending = [
            asyncio.create_task(live.decide(review, "reject", by=live.other_reviewer)),
            asyncio.create_task(live.decide(review, "approve", by=live.reviewer)),
        ]
        await until("Temporal has taken both Signals", lambda: _taken(live, review["id"], 2))
    answers = [answer.json() for answer in await asyncio.gather(*pending)]
    winner = "otto" if answers[0]["status"] == "applied" else "rita"
    won, lost = answers if winner == "otto" else reversed(answers)
    assert won["status"] == "applied"
    assert lost["status"] in LOST
    assert lost["because"] == f"{winner} had decided already: {'reject' if winner == 'otto' else 'approve'}"
    await _only_one_applied(live, review, winner)


async def _only_one_applied(live: Live, review: Json, winner: str) -> None:
    ended = await live.ended(review["id"])
    assert ended["output"] == (review["proposal"]["text"] if winner == "rita" else SAFE)
    judged = await live.judged(review["id"])
    assert [entry["actor"] for entry in judged if entry["data"]["status"] == "applied"] == [f"reviewer:{winner}"]
    assert len(judged) == 2
    assert live.released([review["id"]]) == [review["id"]]


@asynccontextmanager
async def _worker_stopped(live: Live) -> AsyncIterator[None]:
    """Let the worker stand still, so that Signals meet at Temporal before it sees any of them."""
    os.killpg(live.stack.worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(live.stack.worker.pid, signal.SIGCONT)


async def _taken(live: Live, request_id: str, count: int) -> bool:
    sent = "SELECT count(*) FROM decisions WHERE request_id = ? AND sent_at IS NOT NULL"
    return live.rows(sent, request_id) == [(count,)]


_DEEP = "[" * 5000 + "]" * 5000
MALFORMED: dict[str, list[str]] = {
    "null": ["--input", "null"],
    "a bare yes": ["--input", "true"],
    "a text": ["--input", '"approve"'],
    "a list": ["--input", "[1, 2]"],
    "half an envelope": ["--input", '{"verdict": "approve", "decision_id": "x"}'],
    "nested without end": ["--input", _DEEP],
    "nothing at all": [],
    "two arguments": ["--input", '{"verdict": "approve"}', "--input", "true"],
    "eleven arguments": [word for _ in range(11) for word in ("--input", "1")],
    "null encoding": ["--input", '""', "--input-meta", "encoding=binary/null"],
    "bytes": ["--input", "//79AA==", "--input-base64", "--input-meta", "encoding=binary/plain"],
    "an unknown encoding": ["--input", "x", "--input-meta", "encoding=yaml/fancy"],
    "two unknown encodings": ["--input", "x", "--input", "y", "--input-meta", "encoding=yaml/fancy"],
    "a protobuf that nobody knows": ["--input", "{}", "--input-meta", "encoding=json/protobuf"],
    "a named protobuf": [
        *("--input", "{}", "--input-meta", "encoding=json/protobuf"),
        *("--input-meta", "messageType=temporal.api.common.v1.Payload"),
    ],
    "a zipped payload": ["--input", "H4sI", "--input-base64", "--input-meta", "encoding=binary/gzip"],
}


async def _send(live: Live, request_id: str, *words: str, name: str = "decide") -> None:
    """Signal a Workflow as somebody with a shell does."""
    process = await asyncio.create_subprocess_exec(
        temporal_binary(),
        *("workflow", "signal", "--address", live.stack.temporal_address, "--workflow-id", request_id),
        *("--name", name, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def test_raw_signals_of_any_shape_are_recorded_and_a_good_decision_still_works(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Held through noise.")))
    await asyncio.gather(*(_send(live, review["id"], *given) for given in MALFORMED.values()))
    # The temporal command checks JSON itself, so what only calls itself JSON has to come from a client.
    for data in (b"approve!", b'{"verdict": "approve", "reason": "\\ud800"}', b"\xff\xfe"):
        payload = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=data))
        await (await live.stack.client()).get_workflow_handle(review["id"]).signal("decide", payload)
    sent = len(MALFORMED) + 3

    async def all_recorded() -> list[Json] | None:
        judged = await live.judged(review["id"])
        return judged if len(judged) >= sent else None

    judged = await until("every malformed Signal is recorded", all_recorded)
    assert [entry["data"]["status"] for entry in judged] == ["malformed"] * sent
    assert {entry["actor"] for entry in judged} == {"unknown"}
    reasons = " ".join(entry["rationale"] for entry in judged)
    assert "carried no payload" in reasons
    assert "2 arguments" in reasons
    assert "11 arguments" in reasons
    assert (await live.show(review["id"]))["status"] == "held"
    assert live.released([review["id"]]) == []
    approved = await live.decide(review, "approve")
    assert (approved.status_code, approved.json()["status"]) == (200, "applied")
    assert (await live.ended(review["id"]))["output"] == "Held through noise."


async def test_a_signal_of_another_name_does_no_harm(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Still fine.")))
    await _send(live, review["id"], "--input", '{"approved": true}', name="approve")
    assert (await live.decide(review, "approve")).json()["status"] == "applied"
    assert [entry["data"]["status"] for entry in await live.judged(review["id"])] == ["malformed", "applied"]


def _forged(review: Json, **changes: Any) -> Json:
    return {
        "decision_id": "the-same-id",
        "verdict": "approve",
        "reason": "",
        "result_sha256": review["proposal"]["result_sha256"],
        "review_version": review["proposal"]["review_version"],
        "request_id": review["id"],
        "tenant": "demo",
        "reviewer": "rita",
        "decided_at": datetime.now(UTC).isoformat(),
        **changes,
    }


async def test_an_unsigned_decision_is_recorded_as_unauthorised_and_releases_nothing(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Not for forgers.")))
    signature = base64.b64encode(b"\x00" * 64).decode()
    for forged in (_forged(review), _forged(review, signature=signature, decision_id="signed-by-nobody")):
        await _send(live, review["id"], "--input", json.dumps(forged))

    async def both_recorded() -> list[Json] | None:
        judged = await live.judged(review["id"])
        return judged if len(judged) == 2 else None

    judged = await until("both forgeries are recorded", both_recorded)
    assert [entry["data"]["status"] for entry in judged] == ["unauthorised", "unauthorised"]
    assert (await live.show(review["id"]))["status"] == "held"
    assert live.released([review["id"]]) == []
    # A forger who guessed the id of a decision does not keep the genuine one out.
    genuine = await live.decide(review, "approve", decision_id="the-same-id")
    assert (genuine.status_code, genuine.json()["status"]) == (200, "applied")
    assert (await live.ended(review["id"]))["output"] == "Not for forgers."


async def test_a_decision_for_another_text_or_version_is_stale(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Exactly this.")))
    other_text = await live.decide(review, "approve", result_sha256=sha256_text("Something else."))
    other_version = await live.decide(review, "approve", review_version=2)
    assert [(answer.status_code, answer.json()["status"]) for answer in (other_text, other_version)] == [
        (409, "stale"),
        (409, "stale"),
    ]
    assert (await live.show(review["id"]))["status"] == "held"
    assert (await live.decide(review, "reject")).json()["request"]["outcome"] == "rejected"


async def test_a_decision_after_the_end_is_late_and_recorded(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Too late to stop.")))
    await live.decide(review, "approve")
    before = await live.ended(review["id"])
    late = await live.decide(review, "reject", by=live.other_reviewer, decision_id="late-one")
    assert (late.status_code, late.json()["status"]) == (409, "late")
    assert late.json()["review"]["decided_by"] == "rita"
    assert [(entry["data"]["status"], entry["actor"]) for entry in await live.judged(review["id"])] == [
        ("applied", "reviewer:rita"),
        ("late", "reviewer:otto"),
    ]
    assert await live.show(review["id"]) == before


async def test_an_edited_text_of_the_longest_size_is_released_whole(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Short.")))
    text = "\x01" * 100_000 + "A long and considered answer. " * 5000
    edited = await live.decide(review, "edit", output=text)
    assert (edited.status_code, edited.json()["status"]) == (200, "applied")
    assert (await live.ended(review["id"]))["output"] == text


async def test_many_long_edits_at_once_do_not_choke_the_request(live: Live) -> None:
    """Together they are longer than Temporal takes in one payload."""
    review = await live.held(await live.submit_risky(says("Shorter.")))
    texts = [f"{number} " * 120_000 for number in range(10)]
    async with _worker_stopped(live):
        pending = [asyncio.create_task(live.decide(review, "edit", output=text, wait=30)) for text in texts]
        await until("Temporal has taken all Signals", lambda: _taken(live, review["id"], len(texts)))
    statuses = [(await answer).json()["status"] for answer in pending]
    assert statuses.count("applied") == 1
    assert set(statuses) <= {"applied", *LOST}
    assert (await live.ended(review["id"]))["output"] == texts[statuses.index("applied")]


async def test_an_edited_text_too_long_for_a_history_is_refused_at_the_edge(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Short again.")))
    refused = await live.decide(review, "edit", output="x" * 900_000)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "output")
    assert (await live.decide(review, "approve")).json()["status"] == "applied"


@pytest.mark.parametrize("verdict", ["approve", "reject"])
async def test_one_decision_id_cannot_stand_for_two_decisions(live: Live, verdict: str) -> None:
    review = await live.held(await live.submit_risky(says("Once.")))
    decision_id = str(uuid4())
    assert (await live.decide(review, verdict, decision_id=decision_id)).status_code == 200
    other = await live.decide(review, "edit", output="Another text.", decision_id=decision_id)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "decision_conflict")
    again = await live.decide(review, verdict, decision_id=decision_id)
    assert (again.status_code, again.json()["status"]) == (200, "applied")
