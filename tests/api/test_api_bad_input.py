"""Bad input at every edge: a 4xx in the envelope that names the field, and nothing stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from api.chat import ChatBody
from api.claims import ReassignBody
from api.policies import ExplainBody
from api.queues import DelegationBody
from api.requests import SubmitBody
from domain.override import OverrideOrder
from domain.review import ReviewDecision
from tests.api.conftest import Caller
from tests.api.fakes_api import World

OK = {"policy": "plain", "input": "x"}


async def send(caller: Caller, raw: bytes, path: str = "/v1/requests", **headers: str) -> httpx.Response:
    sent = {
        "Authorization": "Bearer sk-service",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
        **headers,
    }
    return await caller.http.post(path, content=raw, headers=sent)


def refused(response: httpx.Response, status: int, param: str | None) -> str:
    error = response.json()["error"]
    assert response.status_code == status, response.text
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param, response.text
    return str(error["message"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x"}, "policy"),
        ({"policy": "plain"}, "body"),
        ({"policy": "plain", "input": "x", "messages": [{"role": "user", "content": "y"}]}, "body"),
        ({"policy": "plain", "input": ""}, "input"),
        ({"policy": "plain", "input": 7}, "input"),
        ({"policy": "PLAIN!", "input": "x"}, "policy"),
        ({"policy": "none", "input": "x"}, "policy"),
        ({**OK, "inptu": "x"}, "inptu"),
        ({**OK, "input": "a\x00b"}, "input"),
        ({**OK, "context": {"a": "\x00"}}, "context.a"),
        ({**OK, "context": {"a": None}}, "context.a"),
        ({**OK, "context": {"a": [1]}}, "context.a"),
        ({**OK, "context": {"no spaces": 1}}, "context.no spaces.[key]"),
        ({**OK, "constraints": {"max_cost_usd": -1}}, "constraints.max_cost_usd"),
        ({**OK, "constraints": {"max_latency_ms": -5}}, "constraints.max_latency_ms"),
        ({**OK, "constraints": {"max_latency_ms": 0}}, "constraints.max_latency_ms"),
        ({**OK, "constraints": {"min_quality": 1.5}}, "constraints.min_quality"),
        ({**OK, "constraints": {"risk": "extreme"}}, "constraints.risk"),
        ({**OK, "constraints": {"max_cost": 1}}, "constraints.max_cost"),
        ({**OK, "constraints": {"max_hold": 60}}, "constraints.max_hold"),
        ({**OK, "constraints": {"max_hold": "soon"}}, "constraints.max_hold"),
        ({**OK, "constraints": {"max_hold": "0s"}}, "constraints.max_hold"),
        ({**OK, "constraints": {"max_hold": "367d"}}, "constraints.max_hold"),
        ({**OK, "webhook": "https://example.com"}, "webhook"),
        ({**OK, "webhook": "nowhere"}, "webhook"),
        ({**OK, "webhook": 7}, "webhook"),
        ({**OK, "metadata": {"a": 1}}, "metadata.a"),
        ({**OK, "wait_seconds": -1}, "wait_seconds"),
        ({**OK, "wait_seconds": 61}, "wait_seconds"),
        ({**OK, "subject": "x" * 201}, "subject"),
        ({"policy": "plain", "messages": []}, "messages"),
        ({"policy": "plain", "messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"policy": "plain", "messages": [{"role": "user", "content": "x", "name": "y"}]}, "messages.0.name"),
        ([], "body"),
        (None, "body"),
    ],
)
async def test_a_wrong_field_is_named(caller: Caller, body: Any, param: str) -> None:
    message = refused(await send(caller, json.dumps(body).encode()), 400, param)

    assert param in message or param == "body"
    assert not caller.world.inputs


@pytest.mark.parametrize(
    ("raw", "param", "words"),
    [
        (b"", "body", "no JSON"),
        (b"{", "body", "no JSON"),
        (b"\xff\xfe", "body", "no JSON"),
        (b'{"policy": "plain", "input": "\\ud800"}', "input", "lone surrogate"),
        (b'{"policy": "plain", "messages": [{"role": "user", "content": "\\udfff"}]}', "messages.0.content", "lone"),
        (b'{"policy": "plain", "input": "x", "context": {"a": NaN}}', "context.a", "finite"),
        (b'{"policy": "plain", "input": "x", "context": {"a": 1e999}}', "context.a", "finite"),
        (b'{"policy": "plain", "input": "x", "constraints": {"max_cost_usd": NaN}}', "constraints.max_cost_usd", ""),
        (b'{"policy": "plain", "input": "x", "input": "y"}', "input", "twice"),
        (b'{"policy": "plain", "input": "x", "context": {"a": 1, "a": 2}}', "a", "twice"),
        (b'{"policy": "plain", "input": ' + b"[" * 300 + b"]" * 300 + b"}", "input", "nested"),
        (b'{"policy": "plain", "context": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", "context", "nested"),
        (b"[" * 100_000, "body", "nested"),
        (b'{"policy": "plain", "input": "x", "context": {"a": ' + b"9" * 5000 + b"}}", "body", "number out of range"),
    ],
)
async def test_what_is_no_clean_json_is_refused(caller: Caller, raw: bytes, param: str, words: str) -> None:
    message = refused(await send(caller, raw), 400, param)

    assert words in message
    assert not caller.world.inputs


async def test_a_missing_key_header_is_named(caller: Caller) -> None:
    response = await caller.post("/v1/requests", OK)

    assert "Idempotency-Key" in refused(response, 400, "Idempotency-Key")
    assert not caller.world.inputs


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "\u00fc", "a\tb"])
async def test_an_unusable_key_header_is_named(caller: Caller, key: str) -> None:
    headers = [(b"Authorization", b"Bearer sk-service"), (b"Idempotency-Key", key.encode("latin-1"))]
    refused(await caller.http.post("/v1/requests", json=OK, headers=headers), 400, "Idempotency-Key")


async def test_the_unknown_policy_is_answered_with_the_known_ones(caller: Caller) -> None:
    message = refused(await caller.start(policy="nope"), 400, "policy")
    assert "plain" in message


async def test_a_webhook_that_there_is_and_a_hold_of_ones_own_are_taken(caller: Caller) -> None:
    body = {**OK, "webhook": "crm", "constraints": {"max_hold": "2h"}}
    assert (await send(caller, json.dumps(body).encode())).status_code == 202
    (taken,) = caller.world.inputs.values()
    assert (taken.body.webhook, taken.body.constraints.max_hold) == ("crm", timedelta(hours=2))


@pytest.mark.parametrize("path", ["/v1/requests", "/v1/chat/completions", "/v1/policies/validate"])
async def test_ten_megabytes_are_refused_declared_or_in_chunks(caller: Caller, path: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield b" " * 65536

    key = {"Authorization": "Bearer sk-admin"} if "policies" in path else {}
    declared = await send(caller, b" " * 10_000_000, path, **key)
    assert "bytes" in refused(declared, 413, "body")
    headers = {"Authorization": "Bearer sk-service", "Content-Type": "application/json", **key}
    request = caller.http.build_request("POST", path, content=endless(), headers=headers)
    refused(await caller.http.send(request), 413, "body")


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
async def test_only_json_is_read(caller: Caller, kind: str) -> None:
    headers = {"Authorization": "Bearer sk-service", "Idempotency-Key": "k", "Content-Type": kind}
    refused(await caller.http.post("/v1/requests", content=b"{}", headers=headers), 415, "Content-Type")


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/requests/req_x?wiat=3", "wiat"),
        ("/v1/requests/req_x?wait=3&wait=4", "wait"),
        ("/v1/requests/req_x?wait=-1", "wait"),
        ("/v1/requests/req_x?wait=61", "wait"),
        ("/v1/requests/req_x?wait=nan", "wait"),
        ("/v1/requests/req_x?wait=", "wait"),
        ("/v1/requests/req_x?progress=maybe", "progress"),
        ("/v1/requests/req_x/events?wait=1", "wait"),
        ("/v1/requests/req_x/timeline?wait=1", "wait"),
        ("/v1/models?x=1", "x"),
    ],
)
async def test_query_parameters_are_checked(caller: Caller, path: str, param: str) -> None:
    refused(await caller.get(path), 400, param)


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/requests/req_x/history?run=0", "run"),
        ("/v1/requests/req_x/history?run=1.5", "run"),
        ("/v1/requests/req_x/history?run=-1", "run"),
        ("/v1/requests/req_x/history?run=", "run"),
        ("/v1/requests/req_x/history?runs=1", "runs"),
        ("/v1/requests/req_x/record?run=1", "run"),
        ("/v1/reviews?risk=extreme", "risk"),
        ("/v1/reviews?policy=No%20Policy", "policy"),
        ("/v1/reviews?q=", "q"),
        ("/v1/reviews?q=%00", "q"),
        ("/v1/reviews?q=" + "x" * 201, "q"),
        ("/v1/reviews?claimed_by=", "claimed_by"),
        ("/v1/reviews?claimed_by=a%0Ab", "claimed_by"),
        ("/v1/reviews?claimed_by=me&claimed_by=none", "claimed_by"),
        ("/v1/reviews?text=x", "text"),
        ("/v1/reviews/req_x?x=1", "x"),
        ("/v1/reviews/figures?days=0", "days"),
        ("/v1/reviews/figures?days=367", "days"),
        ("/v1/reviews/figures?days=1.5", "days"),
        ("/v1/reviews/figures?since=1", "since"),
        ("/v1/queues?x=1", "x"),
        ("/v1/delegations?who=rita", "who"),
        ("/v1/delegations?person=", "person"),
    ],
)
async def test_query_parameters_of_people_are_checked(caller: Caller, path: str, param: str) -> None:
    refused(await caller.get(path, key="sk-auditor"), 400, param)


@pytest.mark.parametrize(
    ("path", "key", "param"),
    [
        ("/v1/reviews/req_x/decisions?wait_seconds=31", "sk-reviewer", "wait_seconds"),
        ("/v1/reviews/req_x/decisions?wait=1", "sk-reviewer", "wait"),
        ("/v1/reviews/req_x/claim?x=1", "sk-reviewer", "x"),
        ("/v1/reviews/req_x/reassign?x=1", "sk-senior", "x"),
        ("/v1/requests/req_x/overrides?wait_seconds=-1", "sk-operator", "wait_seconds"),
        ("/v1/delegations?x=1", "sk-reviewer", "x"),
    ],
)
async def test_query_parameters_of_orders_are_checked(caller: Caller, path: str, key: str, param: str) -> None:
    refused(await caller.post(path, {}, key=key), 400, param)
    if path.endswith("claim?x=1"):
        refused(await caller.delete(path, key), 400, param)


@pytest.mark.parametrize(
    ("path", "key", "body", "param"),
    [
        ("claim", "sk-reviewer", {"name": "otto"}, "name"),
        ("claim", "sk-reviewer", [], "body"),
        ("reassign", "sk-senior", {"reason": "r"}, "to"),
        ("reassign", "sk-senior", {"to": "otto"}, "reason"),
        ("reassign", "sk-senior", {"to": "", "reason": "r"}, "to"),
        ("reassign", "sk-senior", {"to": " otto", "reason": "r"}, "to"),
        ("reassign", "sk-senior", {"to": "a/b", "reason": "r"}, "to"),
        ("reassign", "sk-senior", {"to": "x" * 201, "reason": "r"}, "to"),
        ("reassign", "sk-senior", {"to": "otto", "reason": " "}, "reason"),
        ("reassign", "sk-senior", {"to": "otto", "reason": "a\x00"}, "reason"),
        ("reassign", "sk-senior", {"to": "otto", "reason": "x" * 4001}, "reason"),
        ("reassign", "sk-senior", {"to": "otto", "reason": "r", "lease": "1h"}, "lease"),
    ],
)
async def test_a_wrong_claim_names_its_field(caller: Caller, path: str, key: str, body: Any, param: str) -> None:
    identifier = await caller.held()
    refused(await caller.post(f"/v1/reviews/{identifier}/{path}", body, key=key), 400, param)
    assert caller.world.reviews[identifier].claimed_by is None


@pytest.mark.parametrize("identifier", ["%00", "a%20b", "x" * 200, "%F0%9F%98%80", "..%2f..", "%ff", "req_none"])
async def test_an_impossible_id_is_404(caller: Caller, identifier: str) -> None:
    for path in ("", "/record", "/history", "/timeline", "/events"):
        assert (await caller.get(f"/v1/requests/{identifier}{path}", key="sk-auditor")).status_code == 404
    review = f"/v1/reviews/{identifier}"
    assert (await caller.get(review, key="sk-auditor")).status_code == 404
    assert (await caller.delete(f"{review}/claim", "sk-reviewer")).status_code == 404
    assert (await caller.post(f"{review}/claim", {}, key="sk-reviewer")).status_code == 404
    assert (await caller.post(f"{review}/reassign", {"to": "a", "reason": "b"}, key="sk-senior")).status_code == 404
    order = {"decision_id": "o", "action": "force_review", "reason": "r"}
    assert (await caller.post(f"/v1/requests/{identifier}/overrides", order, key="sk-operator")).status_code == 404


async def test_unknown_addresses_and_methods_use_the_envelope(caller: Caller) -> None:
    refused(await caller.get("/v1/nothing"), 404, None)
    refused(await caller.get("/v1/requests/"), 404, None)
    refused(await caller.http.delete("/v1/requests"), 405, None)


async def test_an_unexpected_error_says_nothing_of_the_request(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_name: str) -> None:
        raise KeyError("the input was: top secret")

    monkeypatch.setattr(caller.http._transport.app.state.services.policies, "snapshot", broken)  # type: ignore[attr-defined]
    response = await caller.start(input="top secret")

    message = refused(response, 500, None)
    logged = capsys.readouterr()
    assert "top secret" not in message + logged.out + logged.err
    assert "unexpected_error" in logged.out + logged.err
    assert "KeyError" in logged.out + logged.err


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MODELS = (SubmitBody, ChatBody, ReviewDecision, ExplainBody, OverrideOrder, ReassignBody, DelegationBody)
FIELDS = {field for model in MODELS for field in model.model_fields}
BODIES = st.dictionaries(
    st.sampled_from(sorted(FIELDS)) | st.text(max_size=5), JSON | st.sampled_from(["plain", "good"])
)
PATHS = {
    "/v1/requests": "sk-service",
    "/v1/chat/completions": "sk-service",
    "/v1/requests/req_x/cancel": "sk-service",
    "/v1/reviews/req_x/decisions": "sk-reviewer",
    "/v1/reviews/req_x/claim": "sk-reviewer",
    "/v1/reviews/req_x/reassign": "sk-senior",
    "/v1/requests/req_x/overrides": "sk-operator",
    "/v1/delegations": "sk-reviewer",
    "/v1/policies/validate": "sk-admin",
    "/v1/policies/explain": "sk-admin",
}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(sorted(PATHS)), body=BODIES | JSON, junk=st.binary(max_size=40), whole=st.booleans())
async def test_whatever_is_sent_is_answered_in_the_envelope(path: str, body: Any, junk: bytes, whole: bool) -> None:
    raw = json.dumps(body).encode() if whole else json.dumps(body).encode()[: len(junk)] + junk
    transport = httpx.ASGITransport(app=create_app(World().services(chat_wait_seconds=0)))
    headers = {
        "Authorization": f"Bearer {PATHS[path]}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
    }
    async with httpx.AsyncClient(transport=transport, base_url="http://sluice.test") as http:
        response = await http.post(path, content=raw, headers=headers)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["error"]["message"]


@pytest.mark.parametrize("value", [{"input": "x"}, {"policy": "plain"}, {}])
async def test_a_field_error_never_repeats_the_content(caller: Caller, value: dict[str, str]) -> None:
    body = {**value, "context": {"secret": ["hunter2"]}}
    response = await send(caller, json.dumps(body).encode())

    assert response.status_code == 400
    assert "hunter2" not in response.text
