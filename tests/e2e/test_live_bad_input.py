"""Bad input at every edge of the live API: a 4xx that names the field, and nothing stored anywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import pytest
from temporalio.service import RPCError, RPCStatusCode

from domain.request import request_id
from standalone.credentials import TENANT
from tests.e2e.live import POLICY, Json, Live, says

KEY = "never-accepted"
Caller = Literal["service", "reviewer", "auditor", "nobody", "stranger"]
GOOD = {"policy": POLICY, "input": "Hello."}


@dataclass(frozen=True)
class Bad:
    """One call that has to be refused. ``param`` is the field its error names."""

    status: int
    param: str | None
    body: Any = None
    raw: bytes | None = None
    caller: Caller = "service"
    headers: dict[str, str] = field(default_factory=lambda: {"Idempotency-Key": KEY})
    chunked: bool = False

    async def send(self, live: Live, path: str) -> httpx.Response:
        """Send it."""
        client: httpx.AsyncClient = getattr(live, self.caller)
        raw = self.raw if self.raw is not None else json.dumps(self.body).encode()
        headers = {"Content-Type": "application/json", **self.headers}
        return await client.post(path, content=_pieces(raw) if self.chunked else raw, headers=headers)


async def _pieces(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), 65536):
        yield raw[start : start + 65536]


def _with(**fields: Any) -> Json:
    return {**GOOD, **fields}


_TEN_MEGABYTES = json.dumps(_with(input="x" * 10_000_000)).encode()
_DEEP = b'{"policy": "durable", "input": "x", "context": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001

REQUESTS = {
    "without an API key": Bad(401, "Authorization", GOOD, caller="nobody"),
    "with an API key that nobody has": Bad(
        401, "Authorization", GOOD, caller="nobody", headers={"Authorization": "Bearer sk-sluice-aaaaaaaa-x"}
    ),
    "in the role of a reviewer": Bad(403, "Authorization", GOOD, caller="reviewer"),
    "in the role of an auditor": Bad(403, "Authorization", GOOD, caller="auditor"),
    "without an idempotency key": Bad(400, "Idempotency-Key", GOOD, headers={}),
    "with an idempotency key in two words": Bad(400, "Idempotency-Key", GOOD, headers={"Idempotency-Key": "a b"}),
    "10 MB long": Bad(413, "body", raw=_TEN_MEGABYTES),
    "10 MB long in pieces": Bad(413, "body", raw=_TEN_MEGABYTES, chunked=True),
    "longer than a history may hold": Bad(400, None, _with(input="x" * 300_000)),
    "nested without end": Bad(400, "context", raw=_DEEP),
    "no JSON": Bad(400, "body", raw=b"policy=durable"),
    "not even UTF-8": Bad(400, "body", raw=b'{"policy": "durable", "input": "\xff\xfe"}'),
    "of another type": Bad(
        415, "Content-Type", GOOD, headers={"Idempotency-Key": KEY, "Content-Type": "application/x-www-form-urlencoded"}
    ),
    "with a NUL": Bad(400, "input", raw=b'{"policy": "durable", "input": "a\\u0000b"}'),
    "with a NUL in its context": Bad(
        400, "context.note", raw=b'{"policy": "durable", "input": "x", "context": {"note": "\\u0000"}}'
    ),
    "with a lone surrogate": Bad(400, "input", raw=b'{"policy": "durable", "input": "\\ud800"}'),
    "with a lone surrogate in its subject": Bad(
        400, "subject", raw=b'{"policy": "durable", "input": "x", "subject": "\\udfff"}'
    ),
    "for an unknown policy": Bad(400, "policy", _with(policy="no-such-policy")),
    "for no policy": Bad(400, "policy", {"input": "Hello."}),
    "with a negative cost ceiling": Bad(400, "constraints.max_cost_usd", _with(constraints={"max_cost_usd": -1})),
    "with a negative time": Bad(400, "constraints.max_latency_ms", _with(constraints={"max_latency_ms": -5})),
    "with an unknown field": Bad(400, "temperature", _with(temperature=0.5)),
    "with an unknown constraint": Bad(400, "constraints.max_cost", _with(constraints={"max_cost": 1})),
    "with a field twice": Bad(400, "input", raw=b'{"policy": "durable", "input": "a", "input": "b"}'),
    "with a number that is none": Bad(400, None, raw=b'{"policy": "durable", "input": "x", "context": {"a": NaN}}'),
    "empty": Bad(400, "input", _with(input="")),
    "with input and messages": Bad(400, None, _with(messages=[{"role": "user", "content": "x"}])),
}


def _refused(answer: httpx.Response, bad: Bad) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["type"] != "server_error") == (bad.status, True), answer.text
    assert error["message"]
    if bad.param is not None:
        assert error["param"] == bad.param, answer.text
        assert bad.param.split(".")[-1].lower() in error["message"].lower() or bad.param in ("Authorization", "body")


@pytest.mark.parametrize("what", REQUESTS)
async def test_a_bad_request_is_refused_and_leaves_nothing(live: Live, what: str) -> None:
    before = live.row_counts()
    _refused(await REQUESTS[what].send(live, "/v1/requests"), REQUESTS[what])
    await _nothing_new(live, before)


async def _nothing_new(live: Live, before: dict[str, int]) -> None:
    assert live.row_counts() == before
    client = await live.stack.client()
    with pytest.raises(RPCError) as absent:
        await client.get_workflow_handle(request_id(TENANT, KEY)).describe()
    assert absent.value.status is RPCStatusCode.NOT_FOUND


CHATS = {
    "without an API key": Bad(401, "Authorization", {"model": POLICY, "messages": []}, caller="nobody"),
    "in the role of a reviewer": Bad(403, "Authorization", {"model": POLICY, "messages": []}, caller="reviewer"),
    "with a temperature": Bad(
        400, "temperature", {"model": POLICY, "messages": [{"role": "user", "content": "x"}], "temperature": 0.5}
    ),
    "streamed": Bad(400, "stream", {"model": POLICY, "messages": [{"role": "user", "content": "x"}], "stream": True}),
    "for an unknown policy": Bad(400, "model", {"model": "gpt-9", "messages": [{"role": "user", "content": "x"}]}),
    "without messages": Bad(400, "messages", {"model": POLICY, "messages": []}),
    "with a NUL": Bad(
        400, "messages.0.content", {"model": POLICY, "messages": [{"role": "user", "content": "a\x00b"}]}
    ),
    "10 MB long": Bad(413, "body", raw=_TEN_MEGABYTES),
}


@pytest.mark.parametrize("what", CHATS)
async def test_a_bad_chat_is_refused_and_leaves_nothing(live: Live, what: str) -> None:
    before = live.row_counts()
    _refused(await CHATS[what].send(live, "/v1/chat/completions"), CHATS[what])
    await _nothing_new(live, before)


@pytest.fixture(scope="module")
async def review(live: Live) -> Json:
    """A review that outlives every bad decision on it."""
    return await live.held(await live.submit_risky(says("Untouched.")))


def _decision(review: Json, **changes: Any) -> Json:
    proposal = review["proposal"]
    body = {"decision_id": "bad", "verdict": "approve", "reason": "x", "review_version": proposal["review_version"]}
    return {**body, "result_sha256": proposal["result_sha256"], **changes}


async def test_bad_decisions_are_refused_and_leave_nothing(live: Live, review: Json) -> None:
    cases = [
        Bad(401, "Authorization", _decision(review), caller="nobody"),
        Bad(403, "Authorization", _decision(review), caller="service"),
        Bad(403, "Authorization", _decision(review), caller="auditor"),
        Bad(404, "id", _decision(review), caller="stranger"),
        Bad(400, "verdict", _decision(review, verdict="allow"), caller="reviewer"),
        Bad(400, "verdict", _decision(review, verdict=True), caller="reviewer"),
        Bad(400, "result_sha256", _decision(review, result_sha256="abc"), caller="reviewer"),
        Bad(400, "review_version", _decision(review, review_version=-1), caller="reviewer"),
        Bad(400, "decision_id", _decision(review, decision_id="two words"), caller="reviewer"),
        Bad(400, "reason", _decision(review, reason="a\x00b"), caller="reviewer"),
        Bad(400, "reviewer", _decision(review, reviewer="somebody-else"), caller="reviewer"),
        Bad(400, "output", _decision(review, verdict="edit", output="x" * 300_000), caller="reviewer"),
        Bad(400, None, _decision(review, verdict="edit"), caller="reviewer"),
        Bad(400, None, _decision(review, verdict="reject", reason=" "), caller="reviewer"),
        Bad(400, "body", raw=b"yes", caller="reviewer"),
        Bad(413, "body", raw=_TEN_MEGABYTES, caller="reviewer"),
    ]
    before = live.row_counts()
    for bad in cases:
        _refused(await bad.send(live, review["links"]["decisions"]), bad)
    assert live.row_counts() == before
    assert await live.judged(review["id"]) == []
    approved = await live.decide(review, "approve")
    assert (approved.status_code, approved.json()["status"]) == (200, "applied")


async def test_a_bad_cancellation_cancels_nothing(live: Live) -> None:
    held = await live.held(await live.submit_risky(says("Not cancelled.")))
    path = f"/v1/requests/{held['id']}/cancel"
    before = live.row_counts()
    for bad in (
        Bad(401, "Authorization", {"reason": "x"}, caller="nobody"),
        Bad(403, "Authorization", {"reason": "x"}, caller="reviewer"),
        Bad(404, "id", {"reason": "x"}, caller="stranger"),
        Bad(400, "reason", {}),
        Bad(400, "reason", {"reason": "a\x00b"}),
        Bad(400, "force", {"reason": "x", "force": True}),
    ):
        _refused(await bad.send(live, path), bad)
    assert live.row_counts() == before
    assert (await live.show(held["id"]))["status"] == "held"
