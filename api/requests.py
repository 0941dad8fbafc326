"""Requests: start, read, follow, cancel; and for auditors the record and the history."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from temporalio.service import RPCError, RPCStatusCode

from adapters.history_events import ProgressEvent
from adapters.temporal_requests import NoSuchRunError
from api.auth import require
from api.blindness import sight
from api.bodies import number_from, read_json, read_query
from api.entitlement import is_reviewer
from api.errors import ApiError, bad_request, checked_id, not_found
from api.openapi import documented, error_answers
from api.record_views import AttemptView, RecordAnswer, decision_view, recorded_request
from api.review_views import review_summary
from api.services import Services, services_of
from api.submit import find, follow, idempotency_key, plain_body, submit
from api.views import RequestAnswer, RequestWithProgress, request_headers
from domain.identity import Principal, Role
from domain.payload import Text
from domain.request import RequestBody, Status

MAX_WAIT_SECONDS = 60
_POLL_AFTER_SECONDS = 1
_PREFERENCE = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:$|[,;])", re.IGNORECASE)
_EVENT_ID = re.compile(r"\d{1,9}")
_SIGNALLED = "review.signalled"
_RUN = re.compile(r"[1-9]\d{0,5}")
READERS = (Role.SERVICE, Role.AUDITOR, Role.OPERATOR)

router = APIRouter(prefix="/v1/requests", tags=["requests"])


class SubmitBody(RequestBody):
    """A request, and how many seconds to wait for its end."""

    wait_seconds: float | None = Field(default=None, ge=0, le=MAX_WAIT_SECONDS)


class CancelBody(BaseModel):
    """Why a request is cancelled; goes into its record."""

    model_config = ConfigDict(frozen=True)

    reason: Text = Field(min_length=1, max_length=1000)


_EXAMPLE = {
    "policy": "support-triage",
    "input": "My invoice of May was charged twice.",
    "context": {"channel": "email"},
    "constraints": {"max_latency_ms": 20000},
    "subject": "customer-4711",
    "wait_seconds": 10,
}


@router.post(
    "",
    response_model=RequestAnswer,
    responses={
        **error_answers(400, 403, 409, 413, 415, 503),
        202: {"model": RequestAnswer, "description": "Not ended yet; `Location` says where to ask"},
    },
    openapi_extra=documented(
        SubmitBody,
        _EXAMPLE,
        headers={
            "Idempotency-Key": "Required. The same key and body lead to the same request, another body is refused",
            "Prefer": "`wait=N` does what `wait_seconds` does",
        },
    ),
)
async def start_request(request: Request) -> Response:
    """Start a request. 200 once it has ended within the wait, else 202."""
    principal = await require(request, Role.SERVICE)
    services = services_of(request)
    read_query(request)
    body = await read_json(request, SubmitBody, services.limits.max_body_bytes)
    key = idempotency_key(request)
    if key is None:
        message = "Idempotency-Key: this header is missing; send a new UUID for every new request"
        raise bad_request(message, "Idempotency-Key", "missing_header")
    preferred = _preferred_wait(request) if body.wait_seconds is None else None
    answer = await submit(services, principal, key, plain_body(body), body.wait_seconds or preferred or 0)
    return _answer(answer, {} if preferred is None else {"Preference-Applied": f"wait={preferred}"}, poll=True)


def _preferred_wait(request: Request) -> int | None:
    """The wait a ``Prefer`` header asks for (RFC 7240); what cannot be read there is ignored, as that RFC demands."""
    match = _PREFERENCE.search(request.headers.get("prefer", ""))
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else None


def _answer(answer: RequestAnswer, headers: dict[str, str] | None = None, *, poll: bool = False) -> Response:
    """``answer`` as JSON. With ``poll``, an open request is 202 and says where and when to ask again."""
    open_headers = {}
    if not answer.status.ended:
        open_headers = {"Location": answer.links.self, "Retry-After": str(_POLL_AFTER_SECONDS)}
    return Response(
        answer.model_dump_json(),
        202 if poll and open_headers else 200,
        {**request_headers(answer), **open_headers, **(headers or {})},
        "application/json",
    )


@router.get(
    "/{id}",
    response_model=RequestWithProgress,
    responses=error_answers(400, 403, 404, 503),
    openapi_extra=documented(
        query={
            "wait": f"Seconds from 0 to {MAX_WAIT_SECONDS} to wait for the end",
            "progress": "`true` to ask the running Workflow what it is doing",
        }
    ),
)
async def read_request(request: Request, id: str) -> Response:
    """Where a request stands. The output is there once it has ended."""
    principal = await require(request, *READERS)
    services = services_of(request)
    query = read_query(request, "wait", "progress")
    wait_seconds = number_from(query, "wait", 0, 0, MAX_WAIT_SECONDS)
    progress = query.get("progress", "false")
    if progress not in ("true", "false"):
        raise bad_request("progress: must be true or false", "progress")
    answer = await follow(services, await find(services, id, principal.tenant), wait_seconds)
    if progress == "true":
        return _answer(await _with_progress(services, answer))
    return _answer(answer)


async def _with_progress(services: Services, answer: RequestAnswer) -> RequestWithProgress:
    progress = None if answer.status.ended else await services.requests.progress(answer.id)
    told = None
    if progress is not None:
        told = {**progress.model_dump(mode="json"), "cost_usd": float(progress.cost_usd)}
    return RequestWithProgress(**dict(answer), progress=told)


@router.post(
    "/{id}/cancel",
    response_model=RequestAnswer,
    responses={
        **error_answers(400, 403, 404, 409, 413, 415, 503),
        202: {"model": RequestAnswer, "description": "Cancellation is under way"},
    },
    openapi_extra=documented(CancelBody, {"reason": "the customer has withdrawn the ticket"}),
)
async def cancel_request(request: Request, id: str) -> Response:
    """Cancel a request. Cancelling a cancelled one changes nothing; one that ended otherwise is 409."""
    principal = await require(request, Role.SERVICE, Role.OPERATOR)
    services = services_of(request)
    read_query(request)
    body = await read_json(request, CancelBody, services.limits.max_body_bytes)
    known = await find(services, id, principal.tenant)
    if known.row is None or not known.row.status.ended:
        await services.requests.cancel(id, f"{principal.name}: {body.reason}")
    answer = await follow(services, known, services.limits.cancel_seconds)
    if answer.status.ended and answer.status is not Status.CANCELLED:
        raise ApiError(409, "already_ended", f"the request has already ended as {answer.status}", param="id")
    return _answer(answer, poll=True)


@router.get(
    "/{id}/record",
    response_model=RecordAnswer,
    responses=error_answers(400, 403, 404),
    openapi_extra=documented(),
)
async def read_record(request: Request, id: str) -> Response:
    """The joined decision record: the request, every decision record, attempt and human order, and the review.

    An auditor who is a reviewer too sees no other reviewer's decision in an incomplete quorum before their own.
    """
    principal = await require(request, Role.AUDITOR)
    services, tenant = services_of(request), principal.tenant
    read_query(request)
    row = await services.reader.request(checked_id("request", id), tenant)
    if row is None:
        raise not_found("recorded request", id)
    records, attempts, decisions, review = await asyncio.gather(
        services.reader.records(id, tenant),
        services.reader.attempts(id, tenant),
        services.reader.decisions(id, tenant),
        services.reader.review(id, tenant, services.clock()),
    )
    seen = sight(principal, review, records)
    answer = RecordAnswer(
        request=recorded_request(row),
        records=seen.records,
        attempts=tuple(AttemptView.model_construct(**dict(attempt)) for attempt in attempts),
        decisions=tuple(decision_view(decision) for decision in seen.orders(decisions, principal.name)),
        review=None if review is None else review_summary(review, hide_approvals=seen.blind),
    )
    return Response(answer.model_dump_json(), 200, request_headers(answer.request), "application/json")


@router.get(
    "/{id}/history",
    response_model=dict[str, Any],
    responses=error_answers(400, 403, 404, 503),
    openapi_extra=documented(
        query={"run": "Which run, from 1; the newest if absent. `x-sluice-history-runs` says how many there are"}
    ),
)
async def read_history(request: Request, id: str) -> Response:
    """The Temporal event history of a run, as Temporal writes it; it can be replayed from this.

    A request that is held for long continues in a new run. Runs that Temporal keeps no longer do not count.
    """
    principal = await require(request, Role.AUDITOR)
    services = services_of(request)
    run = _run(read_query(request, "run").get("run"))
    known = await find(services, id, principal.tenant)
    await _see_all(services, principal, id)
    try:
        history, runs = await services.requests.history(id, run)
    except RPCError as error:
        raise _history_error(error, id) from None
    except NoSuchRunError as error:
        message = f"run: there are {error.runs} runs of this request; leave it out for the newest"
        raise ApiError(404, "no_such_run", message, param="run") from None
    text = json.dumps(history, ensure_ascii=False)
    headers = {**request_headers(known.answer()), "x-sluice-history-runs": str(runs)}
    return Response(text, 200, headers, "application/json")


def _run(written: str | None) -> int | None:
    if written is not None and not _RUN.fullmatch(written):
        raise bad_request("run: must be a whole number from 1", "run")
    return None if written is None else int(written)


async def _see_all(services: Services, principal: Principal, id: str) -> None:
    """Raises ``ApiError`` 403 where something has to be hidden, which in a raw history nothing can be."""
    review = await services.reader.review(id, principal.tenant, services.clock())
    if review is not None and sight(principal, review, await services.reader.records(id, principal.tenant)).blind:
        message = "reviewers do not see each other's decisions before all have decided; decide first, or ask afterwards"
        raise ApiError(403, "blind_review", message, param="Authorization")


def _history_error(error: RPCError, id: str) -> Exception:
    if error.status is not RPCStatusCode.NOT_FOUND:
        return error
    message = f"Temporal no longer keeps the history of {id!r}; its decision record is kept: /v1/requests/{id}/record"
    return ApiError(404, "history_expired", message, param="id")


@router.get(
    "/{id}/events",
    response_class=StreamingResponse,
    responses={
        **error_answers(400, 403, 404, 503),
        200: {"content": {"text/event-stream": {}}, "description": "Server-sent events until the request has ended"},
    },
    openapi_extra=documented(headers={"Last-Event-ID": "Resume after this event"}),
)
async def stream_events(request: Request, id: str) -> Response:
    """Progress as server-sent events, from the start, or from behind ``Last-Event-ID``, until the end."""
    principal = await require(request, *READERS)
    services = services_of(request)
    read_query(request)
    known = await find(services, id, principal.tenant)
    last = request.headers.get("last-event-id", "")
    after = int(last) if _EVENT_ID.fullmatch(last) else 0
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "x-sluice-request-id": known.request_id}
    events = services.requests.events(id)
    try:
        # Taken before the answer begins, so that a Workflow without a history is an error and no empty stream.
        first = await anext(events, None)
    except RPCError as error:
        raise _history_error(error, id) from None
    # That somebody has decided is not for those who decide without knowing it.
    hidden = _SIGNALLED if is_reviewer(principal) else None
    stream = _event_stream(first, events, after, hidden, services.limits.keep_alive_seconds)
    return StreamingResponse(stream, 200, headers, "text/event-stream")


async def _event_stream(
    first: ProgressEvent | None,
    events: AsyncIterator[ProgressEvent],
    after: int,
    hidden: str | None,
    keep_alive: float,
) -> AsyncIterator[bytes]:
    """Every event behind ``after`` in the wire format, and a comment where nothing happened for a while.

    When Temporal goes away the stream breaks off instead of ending, so that its reader knows to resume.
    """
    following: asyncio.Task[ProgressEvent | None] | None = None
    try:
        yield b"retry: 1000\n\n"
        if first is not None and first.id > after:
            yield _wire(first)
        while first is not None:
            following = following or asyncio.ensure_future(anext(events, None))
            done, _ = await asyncio.wait({following}, timeout=keep_alive)
            if not done:
                yield b": nothing new\n\n"
                continue
            event, following = following.result(), None
            if event is None:
                return
            if event.id > after and event.name != hidden:
                yield _wire(event)
    finally:
        if following is not None:
            following.cancel()


def _wire(event: ProgressEvent) -> bytes:
    told = {
        key: float(value) if key.endswith("cost_usd") and value is not None else value
        for key, value in event.data.items()
    }
    data = json.dumps({"at": event.at.isoformat().replace("+00:00", "Z"), "data": told}, ensure_ascii=False)
    return f"id: {event.id}\nevent: {event.name}\ndata: {data}\n\n".encode()
