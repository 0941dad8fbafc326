"""Reviews: the queue, one review, and the endpoint through which people decide."""

from __future__ import annotations

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger_reader import CursorError
from api.auth import require
from api.bodies import number_from, read_json, read_query
from api.decisions import DecisionAnswer, decide
from api.errors import bad_request, checked_id, not_found
from api.openapi import documented, error_answers
from api.services import services_of
from api.views import ReviewAnswer, ReviewList, review_answer, review_summary
from domain.identity import Role
from domain.review import ReviewDecision, ReviewState

MAX_WAIT_SECONDS = 30
_LONGEST_PAGE = 200
_STATES = tuple(state.value for state in ReviewState)
_QUEUE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
READERS = (Role.REVIEWER, Role.AUDITOR, Role.OPERATOR)

router = APIRouter(prefix="/v1/reviews", tags=["reviews"])


@router.get(
    "",
    response_model=ReviewList,
    responses=error_answers(400, 403),
    openapi_extra=documented(
        query={
            "state": f"One of {', '.join(_STATES)}; all of them if absent",
            "limit": f"1 to {_LONGEST_PAGE}; 50 if absent",
            "cursor": "`next_cursor` of the page before",
            "queue": "Only this queue",
        }
    ),
)
async def list_reviews(request: Request) -> Response:
    """The review queue, page by page."""
    principal = await require(request, *READERS)
    query = read_query(request, "state", "limit", "cursor", "queue")
    state = query.get("state")
    if state is not None and state not in _STATES:
        raise bad_request(f"state: must be one of {', '.join(_STATES)}", "state")
    limit = number_from(query, "limit", 50, 1, _LONGEST_PAGE)
    if limit != int(limit):
        raise bad_request("limit: must be a whole number", "limit")
    cursor, queue = query.get("cursor"), query.get("queue")
    if queue is not None and not _QUEUE.fullmatch(queue):
        raise bad_request("queue: is not the name of a queue; see 'hold.queue' in the policies", "queue")
    reader = services_of(request).reader
    try:
        page = await reader.reviews(
            principal.tenant, ReviewState(state) if state is not None else None, int(limit), cursor, queue
        )
    except CursorError as error:
        raise bad_request(str(error), "cursor") from None
    answer = ReviewList(items=tuple(review_summary(item) for item in page.items), next_cursor=page.next_cursor)
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get("/{id}", response_model=ReviewAnswer, responses=error_answers(400, 403, 404), openapi_extra=documented())
async def read_review(request: Request, id: str) -> Response:
    """One review: the request, the answer that is held, why, every check and every record so far."""
    principal = await require(request, *READERS)
    read_query(request)
    reader = services_of(request).reader
    review = await reader.review(checked_id("review", id), principal.tenant)
    if review is None:
        raise not_found("review", id)
    answer = review_answer(review, await reader.records(id, principal.tenant))
    return Response(answer.model_dump_json(), 200, {"x-sluice-request-id": id}, "application/json")


@router.post(
    "/{id}/decisions",
    response_model=DecisionAnswer,
    responses={
        **error_answers(400, 403, 404, 413, 415),
        202: {"model": DecisionAnswer, "description": "Stored; what becomes of it is not known yet"},
        409: {"model": DecisionAnswer, "description": "It had no effect; `status` and `because` say why"},
    },
    openapi_extra=documented(
        ReviewDecision,
        {
            "decision_id": "5b0c3f1e-approve",
            "verdict": "approve",
            "reason": "checked against the contract",
            "result_sha256": "0" * 64,
            "review_version": 1,
        },
        query={"wait_seconds": f"Seconds from 0 to {MAX_WAIT_SECONDS} to wait for what becomes of it; 10 if absent"},
    ),
)
async def submit_decision(request: Request, id: str) -> Response:
    """Decide over a held answer: 200 if the decision was applied, 409 if it had no effect, 202 if that is still open.

    The same ``decision_id`` with the same content may be sent as often as needed and is answered like the first time.
    """
    principal = await require(request, Role.REVIEWER)
    services = services_of(request)
    query = read_query(request, "wait_seconds")
    wait_seconds = number_from(query, "wait_seconds", services.limits.decision_wait_seconds, 0, MAX_WAIT_SECONDS)
    decision = await read_json(request, ReviewDecision, services.limits.max_body_bytes)
    return await decide(services, principal, id, decision, wait_seconds)
