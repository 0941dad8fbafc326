"""An operator's override of a request, at any moment of its life."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.decision_outbox import DecisionConflictError
from api.auth import check_role, require
from api.bodies import read_json, read_query
from api.errors import ApiError
from api.openapi import documented, error_answers
from api.orders import DECIDED, WAIT, DecisionAnswer, answer, conflict, send, wait_for
from api.services import Services, services_of
from api.submit import find
from domain.identity import Principal, Role
from domain.override import OverrideEnvelope, OverrideOrder

router = APIRouter(prefix="/v1/requests", tags=["requests"])


async def take_override(
    services: Services, principal: Principal, request_id: str, order: OverrideOrder, wait_seconds: float
) -> DecisionAnswer:
    """Take in ``order`` and tell what became of it. Raises ``ApiError`` 403, 404, 409, or 503 before the admission.

    **Correctness:** the same order again is answered like the first time.
    """
    check_role(principal, Role.OPERATOR)
    known = await find(services, request_id, principal.tenant)
    if known.row is None:
        message = "this request is being admitted; send the same order again in a moment"
        raise ApiError(503, "not_admitted", message, param="id", headers={"Retry-After": "1"})
    envelope = services.decision_key.sign(
        OverrideEnvelope(
            **dict(order),
            request_id=request_id,
            tenant=principal.tenant,
            operator=principal.name,
            decided_at=services.clock(),
        )
    )
    try:
        submitted = await send(services, envelope, wait_seconds)
    except DecisionConflictError as error:
        raise conflict(error) from None
    return await answer(services, principal, submitted)


@router.post(
    "/{id}/overrides",
    response_model=DecisionAnswer,
    responses={**error_answers(400, 403, 404, 413, 415, 503), **DECIDED},
    openapi_extra=documented(
        OverrideOrder,
        {"decision_id": "7c1f-stop", "action": "force_safe_output", "reason": "the customer's lawyer has asked for it"},
        query=WAIT,
    ),
)
async def submit_override(request: Request, id: str) -> Response:
    """Override where a request goes: have a named stage asked, a person look at its answer, or the safe output sent.

    200 if it was applied, 409 if it had no effect, 202 if that is still open. The same ``decision_id`` with the same
    content may be sent as often as needed and is answered like the first time.
    """
    principal = await require(request, Role.OPERATOR)
    services = services_of(request)
    wait_seconds = wait_for(services, read_query(request, *WAIT))
    order = await read_json(request, OverrideOrder, services.limits.max_body_bytes)
    return (await take_override(services, principal, id, order, wait_seconds)).response()
