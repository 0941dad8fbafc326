"""Who decides over what: the members of queues, and reviewers who decide in somebody's place for a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api import queues
from api.bodies import field_error
from api.console.console_route import ConsoleRoute
from api.console.forms import read_form
from api.console.pages import render
from api.console.places import READERS, REVIEWERS
from api.console.session import ConsoleSession, redirect, require_csrf, require_role, signed_in
from api.console.wording import sentence
from api.errors import ApiError, bad_request
from api.services import services_of
from domain.identity import Role

PEOPLE = "/console/people"
_Change = Callable[[ConsoleSession, Mapping[str, str]], Awaitable[object]]

router = APIRouter(prefix=PEOPLE, include_in_schema=False, route_class=ConsoleRoute)


@router.get("")
async def show_people(request: Request) -> Response:
    """The page of queues and delegations."""
    session = await signed_in(request)
    require_role(session, *READERS)
    return await _page(request, session)


async def _page(
    request: Request,
    session: ConsoleSession,
    entered: Mapping[str, str] | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    services, principal = services_of(request), session.principal
    now = services.clock()
    delegations = (await queues.delegations(services, principal)).items
    context: dict[str, Any] = {
        "session": session,
        "queues": (await queues.queues(services, principal)).items,
        "current": [item for item in delegations if item.revoked_at is None and item.ends_at > now],
        "past": [item for item in delegations if item.revoked_at is not None or item.ends_at <= now][:50],
        "keeps_queues": Role.OPERATOR in principal.roles,
        "delegates": not principal.roles.isdisjoint((*REVIEWERS, Role.OPERATOR)),
        "entered": {"queue": "", "name": "", "delegate": "", "delegator": "", "last_day": "", **(entered or {})},
        "today": now.astimezone(UTC).date().isoformat(),
        "problem": problem,
    }
    return render(request, "people.html", context, status)


async def _changed(request: Request, change: _Change) -> Response:
    """Carry a change out and show the page; where that cannot be, with the reason and what was entered."""
    session = await signed_in(request)
    form = await read_form(request)
    require_csrf(request, form)
    require_role(session, *READERS)
    try:
        await change(session, form)
    except ApiError as error:
        if error.status not in (400, 404):
            raise
        return await _page(request, session, form, sentence(error.detail.message), error.status)
    return redirect(PEOPLE)


@router.post("/members")
async def add_member(request: Request) -> Response:
    """Put somebody into a queue."""
    return await _changed(
        request,
        lambda session, form: queues.add_member(
            services_of(request), session.principal, form.get("queue", "").strip(), form.get("name", "").strip()
        ),
    )


@router.post("/members/remove")
async def remove_member(request: Request) -> Response:
    """Take somebody out of a queue."""
    return await _changed(
        request,
        lambda session, form: queues.remove_member(
            services_of(request), session.principal, form.get("queue", ""), form.get("name", "")
        ),
    )


@router.post("/delegations")
async def delegate(request: Request) -> Response:
    """Let somebody decide in one's place until the end of a day."""

    async def change(session: ConsoleSession, form: Mapping[str, str]) -> None:
        services = services_of(request)
        await queues.delegate(services, session.principal, _delegation(form))

    return await _changed(request, change)


def _delegation(form: Mapping[str, str]) -> queues.DelegationBody:
    """What the form asks for. Raises ``ApiError`` 400."""
    fields = {
        "delegate": form.get("delegate", "").strip(),
        "delegator": form.get("delegator", "").strip() or None,
        "queue": form.get("queue", "").strip() or None,
        "ends_at": _end_of(form.get("last_day", "")),
    }
    try:
        return queues.DelegationBody.model_validate(fields, extra="forbid")
    except ValidationError as error:
        raise field_error(error) from None


def _end_of(last_day: str) -> datetime:
    """The moment at which a day is over, in UTC. Raises ``ApiError`` 400."""
    try:
        return datetime.combine(date.fromisoformat(last_day) + timedelta(days=1), time(), UTC)
    except (ValueError, OverflowError):
        raise bad_request("last day: write a date such as 2026-12-24", "last_day") from None


@router.post("/delegations/revoke")
async def revoke(request: Request) -> Response:
    """End a delegation now."""
    return await _changed(
        request, lambda session, form: queues.revoke(services_of(request), session.principal, form.get("id", ""))
    )
