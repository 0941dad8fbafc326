"""One review: reading it, taking it, and deciding over it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.review_rows import ReviewView
from api import decisions, review_detail
from api.console.console_route import ConsoleRoute
from api.console.diff import changes, shortened
from api.console.filters import Filters
from api.console.news import QUEUE, News, aftermath, news_of
from api.console.pages import render
from api.console.places import READERS, REVIEWERS
from api.console.review_page import Shown, review_context
from api.console.session import ConsoleSession, redirect, require_csrf, require_role, signed_in
from api.console.verdict_form import FormError, VerdictForm, as_written, carried, decision_of, read_verdict
from api.console.wording import sentence
from api.entitlement import entitlement
from api.errors import ApiError, not_found
from api.review_views import ReviewAnswer
from api.services import Services, services_of
from domain.identity import Principal, Role
from domain.review import ReviewDecision, ReviewVerdict

_REASSIGNERS = (Role.SENIOR_REVIEWER, Role.OPERATOR)

router = APIRouter(prefix=QUEUE, include_in_schema=False, route_class=ConsoleRoute)


@router.get("/{id}")
async def show_review(request: Request, id: str) -> Response:
    """The page of one review."""
    session = await signed_in(request)
    require_role(session, *READERS)
    news = await news_of(services_of(request), session.principal, request.query_params)
    draft = news.draft if news is not None else ""
    return await review_page(request, session, id, VerdictForm(decision_id=str(uuid4()), output=draft), news=news)


async def review_page(
    request: Request,
    session: ConsoleSession,
    review_id: str,
    form: VerdictForm,
    *,
    news: News | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    """The page of one review with what its reader has entered so far, and with what they have to be told."""
    services, principal = services_of(request), session.principal
    review, row = await asyncio.gather(
        review_detail.review_detail(services, principal, review_id),
        services.reader.request(review_id, principal.tenant),
    )
    if row is None:
        raise not_found("review", review_id)
    filters = Filters.read(form.filters or request.url.query)
    form = form if form.output else replace(form, output=review.proposal.text)
    snapshot = services.policies.snapshot(row.policy)
    stands_in_for = await _stands_in_for(services, principal, review)
    shown = Shown(review, row, snapshot, principal, services.clock(), stands_in_for)
    context: dict[str, Any] = {
        **review_context(shown, form),
        "session": session,
        "here": f"{QUEUE}/{review_id}",
        "back": filters.address(QUEUE),
        "filters": filters.query(),
        "news": news,
        "problem": problem,
        "may_reassign": not principal.roles.isdisjoint(_REASSIGNERS),
    }
    return render(request, "review.html", context, status)


async def _stands_in_for(services: Services, principal: Principal, review: ReviewAnswer) -> tuple[str, ...]:
    """For whom ``principal`` may decide over a review that they may not decide over in their own name."""
    may, free = review.may_decide, review.claimed_by in (None, principal.name)
    if may.allowed or not may.delegators or not free:
        return ()
    stored = await review_detail.find_review(services, principal.tenant, review.id)
    found = [
        await entitlement(services, principal.tenant, principal.name, stored, delegator) for delegator in may.delegators
    ]
    return tuple(one.on_behalf_of for one in found if one.objection is None and one.on_behalf_of is not None)


@router.post("/{id}/decisions")
async def decide(request: Request, id: str) -> Response:
    """Decide, and go on to the next review.

    **Correctness:** the page mints the decision's id, so sending its form twice is one decision.
    """
    session = await signed_in(request)
    services = services_of(request)
    form = await read_verdict(request, services.limits.max_body_bytes)
    require_csrf(request, {"csrf": form.csrf})
    require_role(session, *REVIEWERS)
    review = await review_detail.find_review(services, session.principal.tenant, id)
    before = await _text_shown(services, session, review, form)
    try:
        decision = decision_of(form, before)
    except FormError as problem:
        return await review_page(request, session, id, form, problem=str(problem), status=400)
    if form.edit_on:
        return await review_page(request, session, id, form)
    if decision.verdict is ReviewVerdict.EDIT and not form.diff_shown:
        return _confirm_edit(request, session, id, form, before)
    return await _take(request, session, id, form, decision)


async def _text_shown(services: Services, session: ConsoleSession, review: ReviewView, form: VerdictForm) -> str:
    """The text that the page showed, which may have been replaced since."""
    if review.proposal.result_sha256 == form.result_sha256:
        return review.proposal.text
    versions = await services.reader.versions(review.request_id, session.principal.tenant)
    same = (version.text for version in versions if version.result_sha256 == form.result_sha256)
    return next(same, review.proposal.text)


def _confirm_edit(
    request: Request, session: ConsoleSession, review_id: str, form: VerdictForm, before: str
) -> Response:
    """The page on which a browser without our script shows what an edit changes, before it is sent."""
    context = {
        "session": session,
        "here": f"{QUEUE}/{review_id}",
        "form": form,
        "carried": carried(form),
        "changes": shortened(changes(before, as_written(form.output, before))),
    }
    return render(request, "confirm_edit.html", context)


async def _take(
    request: Request, session: ConsoleSession, review_id: str, form: VerdictForm, decision: ReviewDecision
) -> Response:
    services, principal = services_of(request), session.principal
    fresh = replace(form, decision_id=str(uuid4()))
    try:
        answer = await decisions.take_decision(
            services, principal, review_id, decision, services.limits.decision_wait_seconds
        )
    except ApiError as error:
        if error.status not in (403, 409):
            raise
        problem = sentence(error.detail.message)
        return await review_page(request, session, review_id, fresh, problem=problem, status=error.status)
    if answer.http_status == 403 and answer.error is not None:
        problem = sentence(answer.error.message)
        return await review_page(request, session, review_id, fresh, problem=problem, status=403)
    return redirect(await aftermath(services, principal, review_id, answer, Filters.read(form.filters)))
