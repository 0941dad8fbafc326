"""One request as the service that made it, auditors and operators see it; and operators' orders on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger_reader import RequestView
from api.bodies import field_error
from api.console.console_route import ConsoleRoute
from api.console.course import bars_of
from api.console.facts import facts_of
from api.console.forms import read_form
from api.console.pages import render
from api.console.places import READERS, REQUEST_READERS
from api.console.session import ConsoleSession, redirect, require_csrf, require_role, signed_in
from api.console.wording import sentence
from api.errors import ApiError, bad_request, checked_id
from api.overrides import take_override
from api.services import Services, services_of
from api.timeline import timeline
from domain.identity import Principal, Role
from domain.override import OverrideAction, OverrideEnvelope, OverrideOrder
from domain.request import Status
from domain.review import DecisionStatus

REQUESTS = "/console/requests"
_ACTIONS = {
    OverrideAction.FORCE_MODEL: ("Ask a stage", "This stage is asked next, whatever routing and checks said."),
    OverrideAction.FORCE_REVIEW: ("Hold for review", "Nothing leaves before a person has decided."),
    OverrideAction.FORCE_SAFE_OUTPUT: ("Send the safe output", "The request ends now, with the policy's safe output."),
}

router = APIRouter(prefix=REQUESTS, include_in_schema=False, route_class=ConsoleRoute)


@dataclass(frozen=True)
class OrderForm:
    """What an operator has entered."""

    decision_id: str
    action: str = ""
    stage: str = ""
    reason: str = ""

    @property
    def order(self) -> OverrideOrder:
        """The order it stands for. Raises ``ApiError`` 400."""
        if self.action not in list(OverrideAction):
            raise bad_request("choose what shall happen", "action")
        forces_model = self.action == OverrideAction.FORCE_MODEL
        try:
            return OverrideOrder.model_validate(
                {
                    "decision_id": self.decision_id,
                    "action": self.action,
                    "stage": self.stage or None if forces_model else None,
                    "reason": self.reason,
                },
                extra="forbid",
            )
        except ValidationError as error:
            raise field_error(error) from None


@router.get("")
async def find_request(request: Request) -> Response:
    """Leads to a request by its id."""
    session = await signed_in(request)
    require_role(session, *REQUEST_READERS)
    asked = request.query_params.get("id", "").strip()
    if asked:
        return redirect(f"{REQUESTS}/{checked_id('request', asked)}")
    return render(request, "find_request.html", {"session": session})


@router.get("/{id}")
async def show_request(request: Request, id: str) -> Response:
    """The page of one request."""
    session = await signed_in(request)
    require_role(session, *REQUEST_READERS)
    return await _page(request, session, id, OrderForm(decision_id=str(uuid4())))


async def _page(
    request: Request,
    session: ConsoleSession,
    request_id: str,
    form: OrderForm,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    services, principal = services_of(request), session.principal
    course, row = await asyncio.gather(
        timeline(services, principal, request_id), services.reader.request(request_id, principal.tenant)
    )
    assert row is not None  # the timeline has found it
    held = course.status is Status.HELD
    context: dict[str, Any] = {
        "session": session,
        "here": f"{REQUESTS}/{request_id}",
        "row": row,
        "course": course,
        "bars": bars_of(course.entries, services.clock(), held=held),
        "facts": facts_of(row.body),
        "reviewed": held and not principal.roles.isdisjoint(READERS),
        "news": await _became(services, principal, request_id, request.query_params.get("order", "")),
        "problem": problem,
        "actions": _actions(principal, row),
        "stages": _stages(services, row),
        "form": form,
    }
    return render(request, "request.html", context, status)


def _actions(principal: Principal, row: RequestView) -> tuple[tuple[OverrideAction, str, str], ...]:
    """What an operator can order as the request stands: action, name and effect."""
    if Role.OPERATOR not in principal.roles or row.status.ended:
        return ()
    useless = OverrideAction.FORCE_REVIEW if row.status is Status.HELD else None
    return tuple((action, *said) for action, said in _ACTIONS.items() if action is not useless)


def _stages(services: Services, row: RequestView) -> tuple[str, ...]:
    """The stages of the policy as this process knows it; the request may be pinned to an older version."""
    snapshot = services.policies.snapshot(row.policy)
    return () if snapshot is None else tuple(stage.name for stage in snapshot.policy.stages)


async def _became(services: Services, principal: Principal, request_id: str, decision_id: str) -> str | None:
    """What became of an order of this person, in a sentence."""
    if not decision_id or "\x00" in decision_id:
        return None
    found = await services.reader.decision(request_id, decision_id)
    if found is None or not isinstance(found.envelope, OverrideEnvelope) or found.envelope.operator != principal.name:
        return None
    name = _ACTIONS[found.envelope.action][0]
    match found.status:
        case DecisionStatus.APPLIED:
            return f"{name}: done."
        case DecisionStatus.PENDING:
            return f"{name}: stored, and done as soon as the request takes it in."
        case _:
            return f"{name}: this had no effect ({found.status}). {sentence(found.because)}"


@router.post("/{id}/overrides")
async def override(request: Request, id: str) -> Response:
    """Order that a request goes another way, after a page that says what this does.

    **Correctness:** the page mints the order's id, so sending its form twice is one order.
    """
    session = await signed_in(request)
    fields = await read_form(request)
    require_csrf(request, fields)
    require_role(session, Role.OPERATOR)
    services, principal = services_of(request), session.principal
    form = OrderForm(**{name: fields.get(name, "") for name in ("decision_id", "action", "stage", "reason")})
    try:
        order = form.order
        if fields.get("confirmed") != "yes":
            said = _ACTIONS[order.action]
            context = {"session": session, "here": f"{REQUESTS}/{id}", "form": form, "order": order, "said": said}
            return render(request, "confirm_order.html", context)
        answer = await take_override(services, principal, id, order, services.limits.decision_wait_seconds)
    except ApiError as error:
        if error.status not in (400, 409):
            raise
        anew = OrderForm(str(uuid4()), form.action, form.stage, form.reason)
        return await _page(request, session, id, anew, sentence(error.detail.message), error.status)
    return redirect(f"{REQUESTS}/{id}?order={answer.decision_id}")
