"""The other ways in, and that all of them lead to one request: chat clients, Temporal itself, and many at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import openai
import pytest

from adapters.policy_files import load_catalog, load_policies
from adapters.temporal_requests import IdempotencyConflictError, start_request
from domain.identity import Role
from domain.request import CascadeInput, RequestBody, request_id
from standalone.credentials import TENANT
from tests.e2e.live import INTERIM, POLICY, Live, says, until


@pytest.fixture
async def chat(live: Live) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, as its users make it."""
    key = live.stack.issued.keys[Role.SERVICE]
    async with openai.AsyncOpenAI(base_url=f"{live.stack.url}/v1", api_key=key, max_retries=0) as client:
        yield client


async def test_the_openai_client_gets_an_ordinary_completion(chat: openai.AsyncOpenAI) -> None:
    assert POLICY in [model.id async for model in chat.models.list()]
    completion = await chat.chat.completions.create(
        model=POLICY, messages=[{"role": "user", "content": says("Plain chat.")}]
    )
    choice = completion.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Plain chat.", "stop")
    assert completion.usage is not None
    assert completion.usage.total_tokens > 0
    assert completion.id.startswith("req_")


async def test_the_openai_client_gets_the_interim_text_of_a_held_answer(live: Live, chat: openai.AsyncOpenAI) -> None:
    raw = await chat.chat.completions.with_raw_response.create(
        model=POLICY,
        messages=[{"role": "user", "content": says("Kept from chat.")}],
        extra_body={"sluice": {"constraints": {"risk": "high"}, "wait_seconds": 3}},
        extra_headers={"Idempotency-Key": "held-chat"},
    )
    completion = raw.parse()
    assert completion.choices[0].finish_reason == "content_filter"
    assert completion.choices[0].message.content == INTERIM
    assert "Kept from chat." not in raw.text
    assert raw.headers["x-sluice-state"] == "held"
    assert float(raw.headers["x-sluice-cost"]) > 0
    identifier = raw.headers["x-sluice-request-id"]
    await live.decide(await live.held(identifier), "approve")
    again = await chat.chat.completions.create(
        model=POLICY,
        messages=[{"role": "user", "content": says("Kept from chat.")}],
        extra_body={"sluice": {"constraints": {"risk": "high"}, "wait_seconds": 20}},
        extra_headers={"Idempotency-Key": "held-chat"},
    )
    assert (again.id, again.choices[0].message.content) == (identifier, "Kept from chat.")
    assert again.choices[0].finish_reason == "stop"


async def test_the_openai_client_raises_its_own_errors(chat: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as unknown:
        await chat.chat.completions.create(model="no-such-policy", messages=[{"role": "user", "content": "Hi"}])
    assert (unknown.value.param, unknown.value.code) == ("model", "unknown_policy")
    with pytest.raises(openai.AuthenticationError):
        await chat.with_options(api_key="sk-sluice-wrong").models.list()


async def _one_workflow(live: Live, identifier: str) -> None:
    client = await live.stack.client()

    async def counted() -> bool:
        return (await client.count_workflows(f"WorkflowId = '{identifier}'")).count == 1

    await until("Temporal lists exactly one Workflow of this id", counted)
    assert live.rows("SELECT count(*) FROM requests WHERE request_id = ?", identifier) == [(1,)]
    assert await live.calls(identifier) == {f"{identifier}/first/1": 1}


async def test_fifty_identical_posts_at_once_are_one_request(live: Live) -> None:
    answers = await asyncio.gather(*(live.post(says("Just one."), key="fifty-at-once") for _ in range(50)))
    assert {answer.status_code for answer in answers} <= {200, 202}
    identifiers = Counter(answer.json()["id"] for answer in answers)
    assert identifiers == {request_id(TENANT, "fifty-at-once"): 50}
    identifier = answers[0].json()["id"]
    assert (await live.ended(identifier))["output"] == "Just one."
    await _one_workflow(live, identifier)
    other = await live.post(says("Another one."), key="fifty-at-once")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert other.json()["error"]["param"] == "Idempotency-Key"


async def test_two_bodies_under_one_key_at_once_are_one_request_and_conflicts(live: Live) -> None:
    texts = [says("Heads."), says("Tails.")] * 10
    answers = await asyncio.gather(*(live.post(text, key="coin") for text in texts))
    codes = [answer.status_code for answer in answers]
    won = {text for text, code in zip(texts, codes, strict=True) if code != 409}
    assert len(won) == 1
    assert codes.count(409) == 10
    ended = await live.ended(request_id(TENANT, "coin"))
    assert says(ended["output"]) in won


def _direct(live: Live, key: str, text: str) -> CascadeInput:
    """What a service builds that starts the Workflow itself."""
    settings = live.stack.settings
    policy = load_policies(settings.policies, load_catalog(settings.catalog)).snapshot(POLICY)
    assert policy is not None
    return CascadeInput(
        request_id=request_id(TENANT, key),
        tenant=TENANT,
        requester="demo-service",
        submitted_at=datetime.now(UTC),
        body=RequestBody(policy=POLICY, input=text),
        policy=policy,
    )


async def test_started_through_temporal_and_through_http_it_is_one_request(live: Live) -> None:
    client, queue = await live.stack.client(), live.stack.settings.task_queue
    text = says("Either way.")
    assert await start_request(client, queue, _direct(live, "direct-first", text))
    assert not await start_request(client, queue, _direct(live, "direct-first", text))
    by_http = await live.post(text, key="direct-first", wait_seconds=20)
    assert (by_http.status_code, by_http.json()["output"]) == (200, "Either way.")
    assert by_http.json()["id"] == request_id(TENANT, "direct-first")
    await _one_workflow(live, by_http.json()["id"])
    assert (await live.post(says("Not this."), key="direct-first")).status_code == 409

    identifier = await live.submit(text, key="http-first")
    assert not await start_request(client, queue, _direct(live, "http-first", text))
    with pytest.raises(IdempotencyConflictError):
        await start_request(client, queue, _direct(live, "http-first", says("Not this.")))
    assert (await live.ended(identifier))["output"] == "Either way."
    await _one_workflow(live, identifier)


async def test_another_tenant_sees_nothing_of_a_request(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Ours alone.")))
    identifier = review["id"]
    for path in ("", "/events", "/record", "/history"):
        answer = await live.stranger.get(f"/v1/requests/{identifier}{path}")
        assert (answer.status_code, "Ours alone." in answer.text) == (404, False)
    assert (await live.stranger.get(f"/v1/reviews/{identifier}")).status_code == 404
    assert (await live.decide(review, "approve", by=live.stranger)).status_code == 404
    cancelled = await live.stranger.post(f"/v1/requests/{identifier}/cancel", json={"reason": "mine"})
    assert cancelled.status_code == 404
    assert (await live.show(identifier))["status"] == "held"
