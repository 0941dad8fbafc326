"""From the POST to the result over real HTTP: every way a request can go, and everything that can be read about it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import datetime
from decimal import Decimal

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from adapters.temporal_plugin import temporal_plugin
from domain.payload import sha256_text
from tests.e2e.live import SAFE, Json, Live, climbs, says, until
from workflows.cascade import CascadeWorkflow

LONGEST_CHAIN = 4


async def test_accepted_at_the_first_stage(live: Live) -> None:
    answer = await live.post(says("Yes."), wait_seconds=20)
    shown = answer.json()
    assert answer.status_code == 200
    assert (shown["status"], shown["outcome"], shown["output"]) == ("completed", "accepted", "Yes.")
    assert shown["result_sha256"] == sha256_text("Yes.")
    assert shown["model"] == {"name": "sim-small", "version_served": "simulated-small-2026-11"}
    assert shown["stages_attempted"] == 1
    assert 0 < shown["cost_usd"] < shown["baseline_cost_usd"]
    assert await live.show(shown["id"]) == shown
    assert await live.calls(shown["id"]) == {f"{shown['id']}/first/1": 1}
    history = await live.history(shown["id"])
    names, depth = _activities(history)
    assert names == {
        *("route", "check_pii", "run_stage", "check_confidence", "check_completeness", "check_terms", "end_request")
    }
    assert depth <= LONGEST_CHAIN
    await _replays(shown["id"], history)


def _activities(history: Json) -> tuple[set[str], int]:
    """The types of the Activities in a history, and how many of them had to wait for one another at most."""
    names: set[str] = set()
    depth_of: dict[str, int] = {}
    done = 0
    for event in history["events"]:
        scheduled = event.get("activityTaskScheduledEventAttributes")
        completed = event.get("activityTaskCompletedEventAttributes")
        if scheduled is not None:
            names.add(scheduled["activityType"]["name"])
            depth_of[event["eventId"]] = done + 1
        elif completed is not None:
            done = max(done, depth_of[completed["scheduledEventId"]])
    return names, max(depth_of.values())


async def _replays(request_id: str, history: Json) -> None:
    """What the API gives an auditor is enough to run the Workflow's code again, to the same decisions."""
    replayer = Replayer(workflows=[CascadeWorkflow], plugins=[temporal_plugin()])
    await replayer.replay_workflow(WorkflowHistory.from_json(request_id, json.dumps(history)))
    altered = json.dumps(history).replace('"run_stage"', '"ask_stage"')
    with pytest.raises(workflow.NondeterminismError):
        await replayer.replay_workflow(WorkflowHistory.from_json(request_id, altered))


async def test_escalated_to_the_stronger_model(live: Live) -> None:
    shown = (await live.post(climbs("Surely."), wait_seconds=20)).json()
    assert (shown["outcome"], shown["output"], shown["stages_attempted"]) == ("accepted", "Surely.", 2)
    assert shown["model"] == {"name": "sim-large", "version_served": "simulated-large-2026-11"}
    record = await live.record(shown["id"])
    verbs = [entry["data"]["verb"] for entry in record["records"] if entry["kind"] == "decided"]
    assert verbs == ["escalate", "accept"]
    assert Decimal(str(shown["cost_usd"])) == sum(Decimal(str(attempt["cost_usd"])) for attempt in record["attempts"])
    assert await live.calls(shown["id"]) == {f"{shown['id']}/first/1": 1, f"{shown['id']}/second/2": 1}
    await _replays(shown["id"], await live.history(shown["id"]))


async def test_refused_before_any_model_is_asked(live: Live) -> None:
    shown = (await live.post("Take it from DE89 3704 0044 0532 0130 00, please.", wait_seconds=20)).json()
    assert (shown["status"], shown["outcome"], shown["output"]) == ("refused", "refused", SAFE)
    assert (shown["model"], shown["stages_attempted"], shown["cost_usd"]) == (None, 0, 0)
    assert "payment-data failed" in shown["reason"]
    assert await live.calls(shown["id"]) == {}


async def test_the_record_is_complete(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("For the record.")))
    await live.decide(review, "approve", reason="compared with the contract")
    ended = await live.ended(review["id"])
    record = await live.record(review["id"])
    assert [entry["kind"] for entry in record["records"]] == [
        *("admitted", "input_checked", "routed", "stage_answered"),
        *("output_checked", "output_checked", "output_checked"),
        *("decided", "held", "decision_judged", "ended"),
    ]
    assert all(entry["rationale"] and entry["actor"] for entry in record["records"])
    times = [datetime.fromisoformat(entry["at"]) for entry in record["records"]]
    assert times == sorted(times)
    by_kind = {entry["kind"]: entry for entry in record["records"]}
    assert record["request"]["policy"]["version"] in by_kind["admitted"]["rationale"]
    assert by_kind["admitted"]["data"]["body_sha256"] == record["request"]["body_sha256"]
    assert by_kind["stage_answered"]["model_version_served"] == "simulated-small-2026-11"
    assert by_kind["stage_answered"]["data"]["result_sha256"] == sha256_text("For the record.")
    assert "risk is high" in by_kind["held"]["rationale"]
    assert by_kind["decision_judged"]["actor"] == "reviewer:rita"
    assert by_kind["decision_judged"]["data"]["reason"] == "compared with the contract"
    assert by_kind["ended"]["data"]["result_sha256"] == ended["result_sha256"] == sha256_text("For the record.")
    assert record["request"]["body"]["input"] == says("For the record.")
    assert [decision["status"] for decision in record["decisions"]] == ["applied"]
    assert record["decisions"][0]["signature"]
    assert (record["review"]["state"], record["review"]["decided_by"]) == ("decided", "rita")
    assert [attempt["state"] for attempt in record["attempts"]] == ["finished"]
    await _replays(review["id"], await live.history(review["id"]))


async def _sluice(live: Live, role: str, *words: str) -> tuple[int, Json]:
    """Run the ``sluice`` command as a person does, and read its JSON."""
    credentials = {key.value: value for key, value in live.stack.issued.keys.items()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *words, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "SLUICE_URL": live.stack.url, "SLUICE_API_KEY": credentials[role]},
    )
    out, problem = await process.communicate()
    assert process.returncode is not None
    assert out, problem.decode()
    return process.returncode, dict(json.loads(out))


async def test_held_and_approved_from_a_shell(live: Live) -> None:
    submitted, request = await _sluice(
        live, "service", "submit", "--policy", "durable", "--risk", "high", "--wait", "20", says("From a shell.")
    )
    assert (submitted, request["status"], request["output"]) == (6, "held", None)
    listed, queue = await _sluice(live, "reviewer", "reviews", "--queue", "testers", "--limit", "200")
    assert listed == 0
    assert request["id"] in [item["id"] for item in queue["items"]]
    looked, review = await _sluice(live, "reviewer", "show", request["id"])
    assert (looked, review["proposal"]["text"]) == (0, "From a shell.")
    other = sha256_text("Something that was never shown.")
    stale, _ = await _sluice(live, "reviewer", "approve", request["id"], "--sha256", other, "--version", "1")
    assert stale == 5
    approved, decision = await _sluice(
        live, "reviewer", "approve", request["id"], "--sha256", review["proposal"]["result_sha256"], "--version", "1"
    )
    assert (approved, decision["status"], decision["request"]["outcome"]) == (0, "applied", "approved")
    shown, ended = await _sluice(live, "service", "show", request["id"], "--wait", "20")
    assert (shown, ended["output"]) == (0, "From a shell.")
    recorded, record = await _sluice(live, "auditor", "record", request["id"])
    assert (recorded, record["records"][-1]["kind"]) == (0, "ended")


async def test_events_tell_the_whole_way_and_can_be_resumed(live: Live) -> None:
    request_id = await live.submit_risky(climbs("Here."))
    events: list[tuple[int, str]] = []
    path = f"/v1/requests/{request_id}/events"
    async with asyncio.timeout(30), live.service.stream("GET", path) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        number = 0
        async for line in stream.aiter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("event: "):
                events.append((number, line[7:]))
                if line[7:] == "request.held":
                    # The stream goes on over the hold to the end.
                    assert (await live.decide(await live.held(request_id), "approve")).status_code == 200
    names = [name for _, name in events if name != "check.finished"]
    assert sorted(names[:2]) == ["request.routed", "request.started"]
    assert names[2:] == [
        *("stage.started", "stage.answered", "stage.started", "stage.answered"),
        *("request.held", "review.signalled", "request.decided", "request.ended"),
    ]
    assert [name for _, name in events].count("check.finished") == 7
    numbers = [number for number, _ in events]
    assert numbers == sorted(set(numbers))
    after = numbers[len(numbers) // 2]
    resumed = await live.service.get(path, headers={"Last-Event-ID": str(after)})
    told = [int(line[4:]) for line in resumed.text.splitlines() if line.startswith("id: ")]
    assert told == [number for number in numbers if number > after]


async def test_cancelled_while_a_model_is_asked(live: Live) -> None:
    request_id = await live.submit(says("Never sent.", "delay_ms=20000"))

    async def asked() -> bool:
        return bool(await live.calls(request_id))

    await until("the model was asked", asked)
    cancelled = await live.service.post(f"/v1/requests/{request_id}/cancel", json={"reason": "withdrawn"})
    assert cancelled.status_code in (200, 202)
    ended = await live.ended(request_id)
    assert (ended["status"], ended["outcome"]) == ("cancelled", "cancelled")
    assert ended["output"] != "Never sent."
    assert "withdrawn" in ended["reason"]
    record = await live.record(request_id)
    assert [attempt["state"] for attempt in record["attempts"]] == ["unconfirmed"]
    assert ended["cost_usd"] == record["attempts"][0]["cost_usd"] > 0


async def test_cancelled_in_a_hold_cannot_be_approved_any_more(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Kept in.")))
    cancelled = await live.operator.post(f"/v1/requests/{review['id']}/cancel", json={"reason": "no longer wanted"})
    assert cancelled.status_code == 200
    assert cancelled.json()["status"] == "cancelled"
    late = await live.decide(review, "approve")
    assert (late.status_code, late.json()["status"]) == (409, "late")
    assert late.json()["review"]["state"] == "cancelled"
    again = await live.service.post(f"/v1/requests/{review['id']}/cancel", json={"reason": "once more"})
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


async def test_falls_back_when_no_model_can_be_reached(live: Live) -> None:
    shown = (await live.post("Hello? [[simulate: status=401]]", wait_seconds=20)).json()
    assert (shown["status"], shown["outcome"], shown["output"]) == ("refused", "fell_back", SAFE)
    assert shown["model"] is None
    # A refused key is no passing trouble: each model is asked once, and neither call was billed.
    assert await live.calls(shown["id"]) == {f"{shown['id']}/first/1": 1, f"{shown['id']}/second/2": 1}
    assert shown["cost_usd"] == 0
    failures = [entry for entry in (await live.record(shown["id"]))["records"] if entry["kind"] == "stage_failed"]
    assert [failure["data"]["kind"] for failure in failures] == ["permanent", "permanent"]


async def test_a_provider_that_asks_for_patience_gets_it(live: Live) -> None:
    shown = (await live.post(says("Worth the wait.", "status=503 retry_after=2 times=1"), wait_seconds=20)).json()
    assert (shown["outcome"], shown["output"], shown["stages_attempted"]) == ("accepted", "Worth the wait.", 1)
    key = f"{shown['id']}/first/1"
    assert await live.calls(shown["id"]) == {key: 2}
    record = await live.record(shown["id"])
    assert [(attempt["number"], attempt["state"]) for attempt in record["attempts"]] == [
        (1, "failed"),
        (2, "finished"),
    ]
    failed, began = (
        datetime.fromisoformat(live.rows(query, key)[0][0])
        for query in (
            "SELECT recorded_at FROM attempts WHERE call_key = ? AND state = 'failed'",
            "SELECT recorded_at FROM attempts WHERE call_key = ? AND number = 2 AND state = 'started'",
        )
    )
    assert (began - failed).total_seconds() >= 1.9
