"""Starting, reading, following and cancelling requests over HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest

from adapters.temporal_requests import WorkflowEndedError
from domain.request import CascadeInput, Outcome, RequestBody, Status, request_id
from tests.api.conftest import Caller
from tests.examples import snapshot


async def test_an_ended_request_is_answered_at_once_with_everything(caller: Caller) -> None:
    response = await caller.start(wait_seconds=5)

    assert response.status_code == 200
    assert response.json() == {
        "id": request_id("acme", "k1"),
        "status": "completed",
        "outcome": "accepted",
        "output": "Forty-two.",
        "result_sha256": "ab" * 32,
        "reason": "because",
        "risk": "low",
        "policy": {"name": "plain", "version": "0123456789abcdef"},
        "model": {"name": "small", "version_served": "small-1"},
        "stages_attempted": 1,
        "cost_usd": 0.000123,
        "baseline_cost_usd": 0.00456,
        "created_at": "2026-11-23T18:00:00Z",
        "ended_at": "2026-11-23T18:00:01Z",
        "links": {
            "self": f"/v1/requests/{request_id('acme', 'k1')}",
            "events": f"/v1/requests/{request_id('acme', 'k1')}/events",
            "record": f"/v1/requests/{request_id('acme', 'k1')}/record",
            "history": f"/v1/requests/{request_id('acme', 'k1')}/history",
            "timeline": f"/v1/requests/{request_id('acme', 'k1')}/timeline",
            "cancel": f"/v1/requests/{request_id('acme', 'k1')}/cancel",
            "review": None,
        },
    }
    assert response.headers["x-sluice-request-id"] == response.json()["id"]
    assert response.headers["x-sluice-cost"] == "0.000123"
    assert caller.world.reads == 1, "one database read on the way of a request that ends while its caller waits"


async def test_without_a_wait_the_answer_is_202_with_a_link(caller: Caller) -> None:
    caller.world.answer = "running"
    response = await caller.start()

    assert response.status_code == 202
    assert response.json()["status"] == "running"
    assert response.json()["output"] is None
    assert response.headers["location"] == response.json()["links"]["self"]
    assert response.headers["retry-after"] == "1"
    assert caller.world.reads == 1


async def test_prefer_waits_like_wait_seconds(caller: Caller) -> None:
    response = await caller.post(
        "/v1/requests", {"policy": "plain", "input": "x"}, idempotency_key="k", prefer="respond-async, wait=5"
    )
    assert response.status_code == 200
    assert response.headers["preference-applied"] == "wait=5"


async def test_a_held_request_shows_its_state_and_never_the_proposal(caller: Caller) -> None:
    caller.world.answer = "held"
    response = await caller.start(wait_seconds=0.05)

    assert response.status_code == 202
    assert response.json()["status"] == "held"
    assert response.json()["links"]["review"] == f"/v1/reviews/{response.json()['id']}"
    assert "Buy it all." not in response.text


async def test_the_same_key_and_body_lead_to_the_same_answer(caller: Caller) -> None:
    first = await caller.start(wait_seconds=5)
    second = await caller.start(wait_seconds=1)

    assert second.status_code == 200
    assert second.json() == first.json()
    assert caller.world.starts == 1


async def test_the_same_key_with_another_body_is_a_conflict(caller: Caller) -> None:
    await caller.start()
    response = await caller.start(input="Something else")

    assert response.status_code == 409
    assert response.json()["error"]["code"] == "idempotency_conflict"
    assert response.json()["error"]["param"] == "Idempotency-Key"


async def test_the_same_key_before_the_ledger_knows_it(caller: Caller) -> None:
    caller.world.answer = None
    first = await caller.start()
    second = await caller.start()
    other = await caller.start(input="Something else")

    assert (first.status_code, second.status_code, other.status_code) == (202, 202, 409)
    assert first.json()["id"] == second.json()["id"]
    assert caller.world.starts == 1


async def test_fifty_equal_starts_at_once_are_one_request(caller: Caller) -> None:
    responses = await asyncio.gather(*(caller.start(wait_seconds=5) for _ in range(50)))

    assert {response.status_code for response in responses} == {200}
    assert len({response.text for response in responses}) == 1
    assert caller.world.starts == 1


async def test_keys_of_two_tenants_do_not_meet(caller: Caller) -> None:
    await caller.start()
    body = {"policy": "plain", "input": "Another"}
    response = await caller.post("/v1/requests", body, key="sk-other", idempotency_key="k1")

    assert response.status_code == 202
    assert caller.world.starts == 2


async def test_temporal_away_is_503_and_nothing_is_stored(caller: Caller) -> None:
    caller.world.temporal_up = False
    response = await caller.start()

    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert "Temporal" in response.json()["error"]["message"]
    assert not caller.world.inputs


async def test_database_away_is_503(caller: Caller) -> None:
    caller.world.database_up = False
    assert (await caller.start()).status_code == 503


async def test_a_poll_returns_as_soon_as_the_request_ends(caller: Caller) -> None:
    caller.world.answer = "running"
    identifier = (await caller.start()).json()["id"]
    poll = asyncio.create_task(caller.get(f"/v1/requests/{identifier}?wait=30"))
    await asyncio.sleep(0)
    caller.world.end(identifier, Outcome.ACCEPTED)
    async with asyncio.timeout(5):
        while not poll.done():
            await caller.world.notify()
            await asyncio.sleep(0)

    assert poll.result().json()["status"] == "completed"


async def test_a_request_only_temporal_knows_is_running(caller: Caller) -> None:
    caller.world.answer = None
    identifier = (await caller.start()).json()["id"]

    response = await caller.get(f"/v1/requests/{identifier}")
    assert response.status_code == 200
    assert response.json()["status"] == "running"
    assert (await caller.get(f"/v1/requests/{identifier}", key="sk-other")).status_code == 404


async def test_a_workflow_that_broke_is_failed_with_the_reason(caller: Caller) -> None:
    caller.world.answer = "running"
    identifier = (await caller.start()).json()["id"]
    caller.world.broken[identifier] = WorkflowEndedError(Status.FAILED, "terminated by an operator")

    response = await caller.get(f"/v1/requests/{identifier}")
    assert response.json()["status"] == "failed"
    assert response.json()["outcome"] == "failed"
    assert response.json()["reason"] == "terminated by an operator"


async def test_reading_survives_an_outage_of_temporal(caller: Caller) -> None:
    identifier = await caller.held()
    caller.world.temporal_up = False

    response = await caller.get(f"/v1/requests/{identifier}?wait=5")
    assert response.status_code == 200
    assert response.json()["status"] == "held"


async def test_progress_is_asked_for(caller: Caller) -> None:
    caller.world.answer = "running"
    identifier = (await caller.start()).json()["id"]

    response = await caller.get(f"/v1/requests/{identifier}?progress=true")
    assert response.json()["progress"]["doing"] == "asking small"
    assert response.json()["progress"]["cost_usd"] == 0.5
    assert "progress" not in (await caller.get(f"/v1/requests/{identifier}")).json()


async def test_cancel_says_who_and_why_and_is_idempotent(caller: Caller) -> None:
    caller.world.answer = "running"
    identifier = (await caller.start()).json()["id"]
    path = f"/v1/requests/{identifier}/cancel"

    first = await caller.post(path, {"reason": "withdrawn"})
    second = await caller.post(path, {"reason": "withdrawn"}, key="sk-operator")
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["status"] == second.json()["status"] == "cancelled"
    assert caller.world.cancels == [(identifier, "shop: withdrawn")]


async def test_an_ended_request_cannot_be_cancelled(caller: Caller) -> None:
    identifier = (await caller.start()).json()["id"]
    response = await caller.post(f"/v1/requests/{identifier}/cancel", {"reason": "too late"})

    assert response.status_code == 409
    assert response.json()["error"]["code"] == "already_ended"


async def test_the_record_joins_everything(caller: Caller) -> None:
    identifier = await caller.held()
    caller.world.end(identifier, Outcome.APPROVED)

    record = (await caller.get(f"/v1/requests/{identifier}/record", key="sk-auditor")).json()
    assert record["request"]["id"] == identifier
    assert record["request"]["requester"] == "shop"
    assert record["request"]["body"]["input"] == "Where?"
    assert record["records"][0]["kind"] == "output_checked"
    assert record["attempts"][0]["cost_usd"] == 0.000123
    assert record["review"]["proposal"]["text"] == "Buy it all."
    assert record["decisions"] == []


async def test_a_history_of_several_runs_is_read_run_by_run(caller: Caller) -> None:
    identifier = (await caller.start()).json()["id"]
    caller.world.runs = 3
    path = f"/v1/requests/{identifier}/history"
    for query, run in (("", 3), ("?run=1", 1), ("?run=3", 3)):
        answer = await caller.get(path + query, key="sk-auditor")
        assert (answer.json()["run"], answer.headers["x-sluice-history-runs"]) == (run, "3")
    gone = await caller.get(f"{path}?run=4", key="sk-auditor")
    assert (gone.status_code, gone.json()["error"]["code"], gone.json()["error"]["param"]) == (
        404,
        "no_such_run",
        "run",
    )


async def test_the_history_is_for_auditors(caller: Caller) -> None:
    identifier = (await caller.start()).json()["id"]

    assert (await caller.get(f"/v1/requests/{identifier}/history", key="sk-auditor")).json()["events"]
    assert (await caller.get(f"/v1/requests/{identifier}/history")).status_code == 403
    del caller.world.inputs[identifier]
    gone = await caller.get(f"/v1/requests/{identifier}/history", key="sk-auditor")
    assert gone.json()["error"]["code"] == "history_expired"


async def test_events_are_streamed_and_resumed(caller: Caller) -> None:
    identifier = (await caller.start()).json()["id"]
    path = f"/v1/requests/{identifier}/events"

    whole = await caller.get(path)
    assert whole.headers["content-type"].startswith("text/event-stream")
    assert [line for line in whole.text.splitlines() if line.startswith("id:")] == ["id: 1", "id: 7", "id: 19"]
    data = next(line for line in whole.text.splitlines() if '"small"' in line)
    assert json.loads(data.removeprefix("data: ")) == {
        "at": "2026-11-23T18:00:00Z",
        "data": {"stage": "small", "cost_usd": 0.000123},
    }
    rest = await caller.get(path, **{"Last-Event-ID": "7"})
    assert [line for line in rest.text.splitlines() if line.startswith("id:")] == ["id: 19"]
    assert (await caller.get(path, **{"Last-Event-ID": "nonsense"})).text == whole.text


async def test_a_quiet_stream_is_kept_alive(caller: Caller) -> None:
    services = caller.world.services(keep_alive_seconds=0.01)
    caller.world.answer = "running"
    identifier = (await caller.start()).json()["id"]
    caller.http._transport.app.state.services = services  # type: ignore[attr-defined]
    stream = asyncio.create_task(caller.get(f"/v1/requests/{identifier}/events"))
    done, _ = await asyncio.wait({stream}, timeout=0.1)
    assert not done
    caller.world.end(identifier, Outcome.ACCEPTED)
    await caller.world.notify()

    text = (await stream).text
    assert ": nothing new\n\n" in text
    assert "event: request.ended" in text


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("POST", "/v1/requests", "sk-auditor"),
        ("POST", "/v1/requests/{id}/cancel", "sk-auditor"),
        ("POST", "/v1/requests/{id}/cancel", "sk-reviewer"),
        ("GET", "/v1/requests/{id}", "sk-reviewer"),
        ("GET", "/v1/requests/{id}", "sk-admin"),
        ("GET", "/v1/requests/{id}/record", "sk-service"),
        ("GET", "/v1/requests/{id}/record", "sk-operator"),
        ("GET", "/v1/requests/{id}/history", "sk-operator"),
        ("GET", "/v1/reviews", "sk-service"),
        ("GET", "/v1/reviews/{id}", "sk-service"),
        ("POST", "/v1/reviews/{id}/decisions", "sk-auditor"),
        ("POST", "/v1/reviews/{id}/decisions", "sk-operator"),
        ("POST", "/v1/chat/completions", "sk-reviewer"),
        ("GET", "/v1/models", "sk-reviewer"),
        ("GET", "/v1/policies", "sk-service"),
        ("POST", "/v1/policies/validate", "sk-operator"),
        ("POST", "/v1/policies/explain", "sk-operator"),
    ],
)
async def test_a_wrong_role_is_403_before_anything_is_looked_up(
    caller: Caller, method: str, path: str, key: str
) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    response = await caller.http.request(method, path.format(id="req_none"), headers=headers)

    assert response.status_code == 403
    assert "role" in response.json()["error"]["message"]
    assert caller.world.reads == 0


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer ", "Bearer nope", "Basic c2s6", "Bearer \u00e9", "nope"])
async def test_no_key_or_a_bad_one_is_401(caller: Caller, header: str | None) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    response = await caller.http.get("/v1/requests/req_none", headers=headers)

    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "nope" not in response.text


@pytest.mark.parametrize(
    "path", ["/v1/requests/{id}", "/v1/requests/{id}/record", "/v1/requests/{id}/history", "/v1/requests/{id}/events"]
)
async def test_another_tenants_object_is_404(caller: Caller, path: str) -> None:
    identifier = await caller.held()

    response = await caller.get(path.format(id=identifier), key="sk-other")
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"


def test_a_replayed_input_hashes_like_its_body() -> None:
    body = RequestBody.model_validate({"policy": "plain", "input": "x", "context": {"a": 1}})
    sent = CascadeInput(
        request_id="r",
        tenant="t",
        requester="s",
        submitted_at="2026-11-23T18:00:00Z",  # type: ignore[arg-type]
        body=body,
        policy=snapshot(),
    )
    assert CascadeInput.model_validate_json(sent.model_dump_json()).body.sha256() == body.sha256()
