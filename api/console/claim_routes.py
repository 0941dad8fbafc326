"""Who works on a review: taking it, giving it back or to somebody else, and who has it open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from uuid import uuid4

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters.review_rows import ReviewView
from api import claims, review_detail
from api.bodies import field_error
from api.console.console_route import ConsoleRoute
from api.console.filters import Filters
from api.console.forms import read_form
from api.console.news import QUEUE
from api.console.places import READERS
from api.console.review_page import holder_of
from api.console.review_routes import review_page
from api.console.session import ConsoleSession, redirect, require_csrf, require_role, signed_in
from api.console.verdict_form import VerdictForm
from api.console.wording import sentence
from api.entitlement import is_reviewer
from api.errors import ApiError
from api.services import services_of
from domain.review import ReviewState

_Change = Callable[[ConsoleSession, Mapping[str, str]], Awaitable[object]]

router = APIRouter(prefix=QUEUE, include_in_schema=False, route_class=ConsoleRoute)


@router.post("/{id}/claim")
async def claim(request: Request, id: str) -> Response:
    """Take the review, or keep it longer."""
    return await _change(request, id, lambda session, _: claims.claim(services_of(request), session.principal, id))


@router.post("/{id}/release")
async def release(request: Request, id: str) -> Response:
    """Give the review back."""
    return await _change(request, id, lambda session, _: claims.release(services_of(request), session.principal, id))


@router.post("/{id}/reassign")
async def reassign(request: Request, id: str) -> Response:
    """Give the review to somebody else."""

    async def change(session: ConsoleSession, form: Mapping[str, str]) -> None:
        fields = {name: form.get(name, "") for name in ("to", "reason")}
        try:
            body = claims.ReassignBody.model_validate(fields)
        except ValidationError as error:
            raise field_error(error) from None
        await claims.reassign(services_of(request), session.principal, id, body.to, body.reason)

    return await _change(request, id, change)


async def _change(request: Request, review_id: str, change: _Change) -> Response:
    """Change a claim and show the review; where that cannot be, with the reason."""
    session = await signed_in(request)
    form = await read_form(request)
    require_csrf(request, form)
    filters = Filters.read(form.get("filters", ""))
    try:
        await change(session, form)
    except ApiError as error:
        if error.status not in (400, 409):
            raise
        empty = VerdictForm(decision_id=str(uuid4()), filters=filters.query())
        problem = sentence(error.detail.message)
        return await review_page(request, session, review_id, empty, problem=problem, status=error.status)
    return redirect(filters.address(f"{QUEUE}/{review_id}"))


@router.post("/{id}/look")
async def look(request: Request, id: str) -> Response:
    """An open page's sign of life; answered with who else looks, and what shows a page that it is out of date.

    **Correctness:** again is no change but of the time.
    """
    session = await signed_in(request)
    require_csrf(request, await read_form(request))
    require_role(session, *READERS)
    services, principal = services_of(request), session.principal
    review = await review_detail.find_review(services, principal.tenant, id)
    others: tuple[str, ...] = ()
    if review.state is ReviewState.PENDING and is_reviewer(principal):
        others = await services.claims.look(id, principal.tenant, principal.name, services.clock())
    told = {
        "holder": holder_of(review.claimed_by, principal.name),
        "others": others,
        "state": _state(review, services.clock()),
        "version": review.proposal.review_version,
        "changed": _changed(review, services.clock()),
    }
    return JSONResponse(told, headers={"Cache-Control": "no-store"})


def _state(review: ReviewView, now: datetime) -> ReviewState:
    """Where the review stands; a hold whose time is over has expired, also while nobody has recorded that yet."""
    over = review.state is ReviewState.PENDING and review.expires_at <= now
    return ReviewState.EXPIRED if over else review.state


def _changed(review: ReviewView, now: datetime) -> str:
    """What a page says that shows another version or another state."""
    match _state(review, now):
        case ReviewState.PENDING:
            return "The text has changed since you opened this page."
        case ReviewState.DECIDED:
            return f"{review.decided_by} has decided meanwhile."
        case ReviewState.EXPIRED:
            return "The hold has expired: nobody decided in time."
        case ended:
            return f"This review is {ended} now."
