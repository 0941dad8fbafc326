"""The OpenAI surface: a chat completion is a request whose policy is named in ``model``.

A client takes every 2xx body for a completion, so a held answer is one too: the policy's interim text with
``finish_reason`` ``content_filter``, and headers that say what it really is. A parameter that cannot be honoured is
refused and never ignored.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.auth import require
from api.bodies import read_json, read_query, request_body
from api.errors import ApiError, bad_request, not_found
from api.openapi import documented, error_answers
from api.services import Services, services_of
from api.submit import check_channel, idempotency_key, pinned, submit
from api.views import RequestAnswer, request_headers
from domain.identity import Role
from domain.payload import Text
from domain.request import RequestBody, Status
from domain.usage import Usage

router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"])

_LONGEST_WAIT_SECONDS = 120
_ROLES = {"developer": "system"}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "stream": (False,),
    "n": (1,),
    "top_p": (1, 1.0),
    "presence_penalty": (0, 0.0),
    "frequency_penalty": (0, 0.0),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "stop": ([],),
    "store": (False,),
    "tools": ([],),
    "tool_choice": ("none",),
    "functions": ([],),
    "function_call": ("none",),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    **dict.fromkeys(
        (
            "audio",
            "max_completion_tokens",
            "max_tokens",
            "moderation",
            "parallel_tool_calls",
            "prediction",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "reasoning_effort",
            "safety_identifier",
            "seed",
            "stream_options",
            "temperature",
            "verbosity",
            "web_search_options",
        ),
        (),
    ),
}
"""OpenAI's parameters that a policy decides instead of the caller, with the values that ask for nothing.

Null always asks for nothing.
"""
_SET_ELSEWHERE = {
    "stream": "a held answer cannot be streamed; leave it out, and follow /v1/requests/{id}/events for progress",
    "temperature": "the policy's stages set it; leave it out",
    "max_tokens": "the policy's stages set 'max_output_tokens'; leave it out",
    "max_completion_tokens": "the policy's stages set 'max_output_tokens'; leave it out",
    "n": "there is one answer to a request; leave it out",
}


def _text_of(content: Any) -> Any:
    """Text parts joined to one text; anything that is no text is left for the field to refuse."""
    if not isinstance(content, list):
        return content
    texts = []
    for index, part in enumerate(content):
        if not isinstance(part, dict) or part.get("type") != "text" or set(part) != {"type", "text"}:
            kind = str(part.get("type"))[:40] if isinstance(part, dict) else "no object"
            raise ValueError(f"part {index} ({kind}) is not a plain text part; only text can be sent")
        if not isinstance(part["text"], str):
            raise ValueError(f"part {index} has no text")
        texts.append(part["text"])
    return "\n".join(texts)


class ChatMessage(BaseModel):
    """One turn. What a client sends back of an earlier answer beside its text must be empty."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Text, BeforeValidator(_text_of, json_schema_input_type=str | list[dict[str, str]])]
    refusal: None = None
    annotations: Annotated[tuple[None, ...] | None, Field(max_length=0)] = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None


class SluiceOptions(BaseModel):
    """What the native API takes beyond OpenAI's; send it with ``extra_body={"sluice": {...}}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    context: dict[str, Any] = Field(default_factory=dict)
    constraints: dict[str, Any] = Field(default_factory=dict)
    webhook: str | None = None
    wait_seconds: float | None = Field(default=None, ge=0, le=_LONGEST_WAIT_SECONDS)


class ChatBody(BaseModel):
    """A chat completion as OpenAI's clients ask for it."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model: str = Field(max_length=64)
    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=200)
    user: str | None = None
    metadata: dict[str, Any] | None = None
    sluice: SluiceOptions = SluiceOptions()


class AnyChatBody(ChatBody):
    """The same with every parameter, before those that cannot be honoured are refused."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), extra="allow")


def _refuse_parameters(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name not in _NEUTRAL:
            raise bad_request(f"{name[:64]}: there is no such parameter; remove it", name[:64], "unknown_field")
        neutral = value is None or any(type(value) is type(known) and value == known for known in _NEUTRAL[name])
        if not neutral:
            remedy = _SET_ELSEWHERE.get(name, "a policy cannot honour it; leave it out")
            raise bad_request(f"{name}: {remedy}", name, "unsupported")


def _native(body: ChatBody) -> RequestBody:
    """The request behind a chat completion. Raises ``ApiError`` 400 with the names the caller used."""
    fields = {
        "policy": body.model,
        "messages": [
            {"role": _ROLES.get(message.role, message.role), "content": message.content} for message in body.messages
        ],
        "context": body.sluice.context,
        "constraints": body.sluice.constraints,
        "subject": body.user,
        "metadata": body.metadata or {},
        "webhook": body.sluice.webhook,
    }
    options = {name: f"sluice.{name}" for name in ("context", "constraints", "webhook")}
    return request_body(fields, {"policy": "model", "subject": "user", **options})


_EXAMPLE = {"model": "support-triage", "messages": [{"role": "user", "content": "My invoice was charged twice."}]}


@router.post(
    "/chat/completions",
    response_model=dict[str, Any],
    responses=error_answers(400, 403, 409, 413, 415, 502, 503),
    openapi_extra=documented(
        ChatBody, _EXAMPLE, headers={"Idempotency-Key": "The same key and body lead to the same request"}
    ),
)
async def complete(request: Request) -> Response:
    """A chat completion; `model` names the policy. Held past the wait, it is the policy's interim text."""
    principal = await require(request, Role.SERVICE)
    services = services_of(request)
    read_query(request)
    given = await read_json(request, AnyChatBody, services.limits.max_body_bytes, extra=None)
    _refuse_parameters(given.model_extra or {})
    body = _native(given)
    interim = pinned(services, body.policy, "model").policy.interim_output
    check_channel(services, body.webhook, "sluice.webhook")
    wait_seconds = given.sluice.wait_seconds
    if wait_seconds is None:
        wait_seconds = services.limits.chat_wait_seconds
    key = idempotency_key(request) or str(uuid.uuid4())
    answer = await submit(services, principal, key, body, wait_seconds)
    if answer.status in (Status.FAILED, Status.CANCELLED):
        raise _without_answer(answer)
    usage = await _usage(services, answer.id, principal.tenant) if answer.status.ended else None
    created_at = answer.created_at or services.clock()
    text = json.dumps(_completion(answer, body.policy, interim, created_at, usage), ensure_ascii=False)
    return Response(text, 200, request_headers(answer), "application/json")


def _without_answer(answer: RequestAnswer) -> ApiError:
    headers = {**request_headers(answer), "x-should-retry": "false"}
    if answer.status is Status.CANCELLED:
        return ApiError(409, "request_cancelled", f"request {answer.id} was cancelled", headers=headers)
    message = f"request {answer.id} failed and gave no answer; an operator finds the cause at {answer.links.self}"
    return ApiError(502, "request_failed", message, headers=headers)


async def _usage(services: Services, identifier: str, tenant: str) -> Usage | None:
    """The tokens of all attempts, whichever model they were made at; None if no model was called."""
    attempts = await services.reader.attempts(identifier, tenant)
    if not attempts:
        return None
    return Usage(
        input_tokens=sum(attempt.usage.input_tokens for attempt in attempts),
        output_tokens=sum(attempt.usage.output_tokens for attempt in attempts),
    )


def _completion(
    answer: RequestAnswer, model: str, interim: str, created_at: datetime, usage: Usage | None
) -> dict[str, Any]:
    released = answer.status is Status.COMPLETED
    content = (answer.output or "") if answer.status.ended else interim
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, "refusal": None},
        "logprobs": None,
        "finish_reason": "stop" if released else "content_filter",
    }
    completion: dict[str, Any] = {
        "id": answer.id,
        "object": "chat.completion",
        "created": int(created_at.timestamp()),
        "model": model,
        "choices": [choice],
        "sluice": answer.model_dump(mode="json", exclude={"output"}),
    }
    if usage is not None:
        completion["usage"] = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total,
        }
    return completion


def _model(services: Services, name: str) -> dict[str, Any]:
    snapshot = services.policies.snapshot(name)
    if snapshot is None:
        raise not_found("model", name)
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "sluice",
        "sluice": {"version": snapshot.version, "description": snapshot.policy.description},
    }


@router.get("/models", response_model=dict[str, Any], responses=error_answers(400, 403), openapi_extra=documented())
async def list_models(request: Request) -> Response:
    """The policies, as models."""
    await require(request, Role.SERVICE)
    read_query(request)
    services = services_of(request)
    found = {"object": "list", "data": [_model(services, name) for name in services.policies.names()]}
    return Response(json.dumps(found, ensure_ascii=False), media_type="application/json")


@router.get(
    "/models/{id}", response_model=dict[str, Any], responses=error_answers(400, 403, 404), openapi_extra=documented()
)
async def read_model(request: Request, id: str) -> Response:
    """One policy, as a model."""
    await require(request, Role.SERVICE)
    read_query(request)
    return Response(json.dumps(_model(services_of(request), id), ensure_ascii=False), media_type="application/json")
