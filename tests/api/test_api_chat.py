"""The OpenAI surface, through the official client over the application itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest

from api.app import create_app
from tests.api.conftest import Caller
from tests.api.fakes_api import World
from tests.examples import SAFE

HELLO: list[Any] = [{"role": "user", "content": "Where?"}]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[openai.AsyncOpenAI]:
    transport = httpx2.ASGITransport(app=create_app(world.services()))
    http = httpx2.AsyncClient(transport=transport)
    async with openai.AsyncOpenAI(
        api_key="sk-service", base_url="http://sluice.test/v1", http_client=http, max_retries=0
    ) as client:
        yield client


async def test_an_accepted_request_is_an_ordinary_completion(client: openai.AsyncOpenAI, world: World) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="plain", messages=HELLO, user="customer-7", metadata={"ticket": "9"}
    )
    completion = raw.parse()

    assert completion.choices[0].message.content == "Forty-two."
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "plain"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (20, 10)
    request = next(iter(world.inputs.values()))
    assert (request.body.subject, request.body.metadata) == ("customer-7", {"ticket": "9"})
    expected = {
        "x-sluice-request-id": completion.id,
        "x-sluice-state": "completed",
        "x-sluice-outcome": "accepted",
        "x-sluice-policy": "plain",
        "x-sluice-policy-version": "0123456789abcdef",
        "x-sluice-stages-attempted": "1",
        "x-sluice-cost": "0.000123",
        "x-sluice-baseline-cost": "0.00456",
        "x-litellm-call-id": completion.id,
        "x-litellm-model-id": "small",
        "x-litellm-response-cost": "0.000123",
    }
    assert {name: raw.headers.get(name) for name in expected} == expected


async def test_a_held_request_is_the_interim_text(client: openai.AsyncOpenAI, world: World) -> None:
    world.answer = "held"
    raw = await client.chat.completions.with_raw_response.create(model="plain", messages=HELLO)
    completion = raw.parse()

    assert raw.status_code == 200
    assert completion.choices[0].message.content == "A person is looking at it."
    assert completion.choices[0].finish_reason == "content_filter"
    assert raw.headers["x-sluice-state"] == "held"
    assert "Buy it all." not in raw.text


@pytest.mark.parametrize("outcome", ["refused", "rejected", "expired", "fell_back"])
async def test_a_refusal_is_the_safe_text(client: openai.AsyncOpenAI, world: World, outcome: str) -> None:
    world.answer = outcome
    completion = await client.chat.completions.create(model="plain", messages=HELLO)

    assert completion.choices[0].message.content == SAFE
    assert completion.choices[0].finish_reason == "content_filter"


async def test_a_failed_request_is_an_error_that_is_not_retried(world: World) -> None:
    world.answer = "failed"
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=create_app(world.services())))
    async with openai.AsyncOpenAI(api_key="sk-service", base_url="http://sluice.test/v1", http_client=http) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            await client.chat.completions.create(model="plain", messages=HELLO)

    assert raised.value.status_code == 502
    assert raised.value.code == "request_failed"
    assert world.starts == 1


async def test_extensions_travel_in_extra_body(client: openai.AsyncOpenAI, world: World) -> None:
    options = {"context": {"tier": 3}, "constraints": {"risk": "high"}, "wait_seconds": 1, "webhook": "crm"}
    await client.chat.completions.create(model="plain", messages=HELLO, extra_body={"sluice": options})

    body = next(iter(world.inputs.values())).body
    assert body.context == {"tier": 3}
    assert body.constraints.risk == "high"
    assert body.webhook == "crm"


async def test_a_conversation_goes_on_with_the_answer_sent_back(client: openai.AsyncOpenAI, world: World) -> None:
    first = await client.chat.completions.create(model="plain", messages=HELLO)
    parts = [{"type": "text", "text": "and"}, {"type": "text", "text": "when?"}]
    more: list[Any] = [
        {"role": "developer", "content": "be brief"},
        *HELLO,
        first.choices[0].message,
        {"role": "user", "content": parts},
    ]
    await client.chat.completions.create(model="plain", messages=more)

    sent = list(world.inputs.values())[1].body.conversation()
    assert [message.role for message in sent] == ["system", "user", "assistant", "user"]
    assert sent[-1].content == "and\nwhen?"


async def test_parameters_that_ask_for_nothing_are_taken(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(
        model="plain", messages=HELLO, n=1, stream=False, top_p=1, presence_penalty=0, response_format={"type": "text"}
    )
    assert completion.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"stream": True}, "stream", "unsupported"),
        ({"temperature": 0.2}, "temperature", "unsupported"),
        ({"max_tokens": 100}, "max_tokens", "unsupported"),
        ({"n": 2}, "n", "unsupported"),
        ({"n": True}, "n", "unsupported"),
        ({"seed": 7}, "seed", "unsupported"),
        ({"stop": ["x"]}, "stop", "unsupported"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported"),
        ({"made_up": 1}, "made_up", "unknown_field"),
        ({"model": "gpt-9"}, "model", "unknown_policy"),
        ({"model": "No Name"}, "model", "invalid_value"),
        ({"user": "x" * 201}, "user", "invalid_value"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_value"),
        ({"sluice": {"wait": 1}}, "sluice.wait", "unknown_field"),
        ({"sluice": {"constraints": {"max_cost": 1}}}, "sluice.constraints.max_cost", "unknown_field"),
        ({"sluice": {"constraints": {"max_cost_usd": -1}}}, "sluice.constraints.max_cost_usd", "invalid_value"),
        ({"sluice": {"context": {"a": [1]}}}, "sluice.context.a", "invalid_value"),
        ({"sluice": {"webhook": "nowhere"}}, "sluice.webhook", "invalid_value"),
        ({"sluice": {"webhook": "No Channel"}}, "sluice.webhook", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role", "invalid_value"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages.0.content",
            "invalid_value",
        ),
        ({"messages": [{"role": "user", "content": "x", "name": "bob"}]}, "messages.0.name", "unknown_field"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    caller: Caller, changes: dict[str, Any], param: str, code: str
) -> None:
    response = await caller.post("/v1/chat/completions", {"model": "plain", "messages": HELLO, **changes})

    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)
    assert not caller.world.inputs


async def test_the_same_idempotency_key_is_the_same_completion(caller: Caller) -> None:
    body = {"model": "plain", "messages": HELLO}
    first = await caller.post("/v1/chat/completions", body, idempotency_key="c1")
    second = await caller.post("/v1/chat/completions", body, idempotency_key="c1")
    other = await caller.post(
        "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": "!"}]}, idempotency_key="c1"
    )

    assert first.json() == second.json()
    assert other.status_code == 409
    assert caller.world.starts == 1


async def test_models_are_the_policies(client: openai.AsyncOpenAI) -> None:
    listed = await client.models.list()
    one = await client.models.retrieve("plain")

    assert [model.id for model in listed.data] == ["plain"]
    assert one.owned_by == "sluice"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("none")


async def test_errors_are_what_the_client_expects(client: openai.AsyncOpenAI, world: World) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model="plain", messages=HELLO, temperature=0.5)
    assert (bad.value.param, bad.value.code) == ("temperature", "unsupported")
    world.temporal_up = False
    with pytest.raises(openai.InternalServerError) as away:
        await client.chat.completions.create(model="plain", messages=HELLO)
    assert away.value.status_code == 503
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="sk-wrong").models.list()
