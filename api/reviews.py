"""Reviews: the queue, one review, claims, figures, and the endpoint through which people decide."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from adapters.review_rows import ReviewQuery
from api import claims, figures
from api.auth import require
from api.bodies import number_from, read_json, read_query
from api.claims import ClaimAnswer, ClaimBody, ReassignBody
from api.decisions import take_decision
from api.entitlement import DECIDERS
from api.errors import bad_request
from api.figures import FiguresAnswer
from api.openapi import documented, error_answers
from api.orders import DECIDED, WAIT, DecisionAnswer, wait_for
from api.review_detail import READERS, review_detail
from api.review_queue import LONGEST_PAGE, list_page
from api.review_views import ReviewAnswer, ReviewList
from api.services import Services, services_of
from domain.identity import Principal
from domain.review import ReviewDecision, ReviewState
from domain.risk import RiskTier

_STATES = tuple(state.value for state in ReviewState)
_RISKS = tuple(risk.value for risk in RiskTier)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")

router = APIRouter(prefix="/v1/reviews", tags=["reviews"])

_FILTERS = {
    "state": f"One of {', '.join(_STATES)}; all of them if absent",
    "queue": "Only this queue",
    "policy": "Only what this policy held",
    "risk": f"Only this tier, one of {', '.join(_RISKS)}",
    "claimed_by": "`me`, `none`, or the name of who has claimed it",
    "q": "Part of the request's id or subject, in capitals or not",
    "limit": f"1 to {LONGEST_PAGE}; 50 if absent",
    "cursor": "`next_cursor` of the page before",
}


def _json(answer: BaseModel, headers: Mapping[str, str] | None = None) -> Response:
    return Response(answer.model_dump_json(), 200, headers, "application/json")


@router.get("", response_model=ReviewList, responses=error_answers(400, 403), openapi_extra=documented(query=_FILTERS))
async def list_reviews(request: Request) -> Response:
    """The review queue, page by page, what expires first at the beginning."""
    principal = await require(request, *READERS)
    services = services_of(request)
    query = read_query(request, *_FILTERS)
    limit = whole_number(query, "limit", 50, 1, LONGEST_PAGE)
    asked = review_query(services, principal, query)
    return _json(await list_page(services, principal, asked, limit, query.get("cursor")))


def review_query(services: Services, principal: Principal, query: Mapping[str, str]) -> ReviewQuery:
    """The filters in a query string. Raises ``ApiError`` 400."""
    state, risk, text, claimed_by = (query.get(name) for name in ("state", "risk", "q", "claimed_by"))
    if state is not None and state not in _STATES:
        raise bad_request(f"state: must be one of {', '.join(_STATES)}", "state")
    if risk is not None and risk not in _RISKS:
        raise bad_request(f"risk: must be one of {', '.join(_RISKS)}", "risk")
    for name, where in (("queue", "'hold.queue' in the policies"), ("policy", "/v1/policies")):
        if name in query and not _NAME.fullmatch(query[name]):
            raise bad_request(f"{name}: is not the name of a {name}; see {where}", name)
    for name, value in (("q", text), ("claimed_by", claimed_by)):
        if value is not None and not _PRINTABLE.fullmatch(value):
            raise bad_request(f"{name}: must be 1 to 200 printable characters", name)
    return ReviewQuery(
        now=services.clock(),
        state=None if state is None else ReviewState(state),
        queue=query.get("queue"),
        policy=query.get("policy"),
        risk=None if risk is None else RiskTier(risk),
        claimed_by={"me": principal.name, "none": ""}.get(claimed_by or "", claimed_by),
        text=text,
    )


def whole_number(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """The query parameter ``name`` as a whole number from ``low`` to ``high``. Raises ``ApiError`` 400."""
    number = number_from(query, name, default, low, high)
    if number != int(number):
        raise bad_request(f"{name}: must be a whole number", name)
    return int(number)


@router.get(
    "/figures",
    response_model=FiguresAnswer,
    responses=error_answers(400, 403),
    openapi_extra=documented(query={"days": f"1 to {figures.MOST_DAYS}; {figures.USUAL_DAYS} if absent"}),
)
async def read_figures(request: Request) -> Response:
    """How reviewing goes: what waits, how fast and how alike people decide, and who approves without looking."""
    principal = await require(request, *figures.READERS)
    days = whole_number(read_query(request, "days"), "days", figures.USUAL_DAYS, 1, figures.MOST_DAYS)
    return _json(await figures.figures(services_of(request), principal, days))


@router.get("/{id}", response_model=ReviewAnswer, responses=error_answers(400, 403, 404), openapi_extra=documented())
async def read_review(request: Request, id: str) -> Response:
    """One review: the request, the answer that is held, why, what can be decided, every check and record so far.

    Under an incomplete quorum a reviewer is shown no other reviewer's decision before their own.
    """
    principal = await require(request, *READERS)
    read_query(request)
    return _json(await review_detail(services_of(request), principal, id), {"x-sluice-request-id": id})


@router.post(
    "/{id}/decisions",
    response_model=DecisionAnswer,
    responses={
        **error_answers(400, 404, 413, 415),
        403: {"model": DecisionAnswer, "description": "The key may not decide over this; that is recorded"},
        **DECIDED,
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
        query=WAIT,
    ),
)
async def submit_decision(request: Request, id: str) -> Response:
    """Decide over a held answer: 200 if the decision was applied or counts towards its quorum, 409 if it had no effect,
    202 if that is still open.

    The same ``decision_id`` with the same content may be sent as often as needed and is answered like the first time.
    """
    principal = await require(request, *DECIDERS)
    services = services_of(request)
    wait_seconds = wait_for(services, read_query(request, *WAIT))
    decision = await read_json(request, ReviewDecision, services.limits.max_body_bytes)
    return (await take_decision(services, principal, id, decision, wait_seconds)).response()


@router.post(
    "/{id}/claim",
    response_model=ClaimAnswer,
    responses=error_answers(400, 403, 404, 409, 413, 415),
    openapi_extra=documented(ClaimBody, {}),
)
async def claim_review(request: Request, id: str) -> Response:
    """Claim a review, so that nobody else decides over it until the claim is over; again renews the claim."""
    principal = await require(request, *DECIDERS)
    services = services_of(request)
    read_query(request)
    await read_json(request, ClaimBody, services.limits.max_body_bytes)
    return _json(await claims.claim(services, principal, id))


@router.delete(
    "/{id}/claim",
    response_model=ClaimAnswer,
    responses=error_answers(400, 403, 404, 409),
    openapi_extra=documented(),
)
async def release_review(request: Request, id: str) -> Response:
    """Give one's claim up. Again is no change."""
    principal = await require(request, *DECIDERS)
    read_query(request)
    return _json(await claims.release(services_of(request), principal, id))


@router.post(
    "/{id}/reassign",
    response_model=ClaimAnswer,
    responses=error_answers(400, 403, 404, 409, 413, 415),
    openapi_extra=documented(ReassignBody, {"to": "otto", "reason": "rita is ill"}),
)
async def reassign_review(request: Request, id: str) -> Response:
    """Give the claim to somebody who may decide, whoever has it."""
    principal = await require(request, *claims.REASSIGNERS)
    services = services_of(request)
    read_query(request)
    body = await read_json(request, ReassignBody, services.limits.max_body_bytes)
    return _json(await claims.reassign(services, principal, id, body.to, body.reason))
