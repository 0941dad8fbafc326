"""A person's order on its way, a decision or an override: stored, signalled, and answered with what became of it.

**Correctness:** an order is stored before it is signalled. If the Signal or this process fails in between, the outbox
sends it later under the same ``decision_id``, and the Workflow takes a second copy for what it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.responses import Response

from adapters.decision_outbox import DecisionConflictError, SubmittedDecision
from adapters.decision_rows import Order
from adapters.ledger_reader import RequestView
from adapters.review_rows import ReviewView
from api.blindness import incomplete
from api.bodies import number_from
from api.entitlement import is_reviewer
from api.errors import ApiError, ErrorDetail, error_detail, is_outage, not_found
from api.services import Services
from api.views import View
from domain.identity import Principal
from domain.request import Outcome, Status
from domain.review import DecisionStatus, ReviewState, ReviewVerdict

_FIRST_LOOK_SECONDS = 0.03
"""A judgement takes about this long; looking earlier only takes time from the processes that make it."""
_SECOND_LOOK_SECONDS = 0.01
_LATER_LOOK_SECONDS = 0.05
_USUAL_SECONDS = 0.5
"""What takes longer than this is marked as sent, or the outbox would send it again."""
_ENDED = "the request had already ended when it arrived"
MAX_WAIT_SECONDS = 30
WAIT = {"wait_seconds": f"Seconds from 0 to {MAX_WAIT_SECONDS} to wait for what becomes of it; 10 if absent"}
_IN_EFFECT = (DecisionStatus.APPLIED, DecisionStatus.COUNTED)


class DecidedReview(View):
    """Where the review stands now."""

    id: str
    state: ReviewState
    review_version: int
    approvals_needed: int
    approvals: int | None
    """How many have approved this version; null where that is hidden from who asks."""
    decided_by: str | None
    decided_verdict: ReviewVerdict | None


class DecidedRequest(View):
    """Where the request stands now."""

    id: str
    status: Status
    outcome: Outcome | None


class DecisionAnswer(View):
    """What became of a decision or an override. ``error`` is there where it had no effect."""

    decision_id: str
    status: DecisionStatus
    because: str | None
    review: DecidedReview | None
    """None for an override of a request that was never held."""
    request: DecidedRequest
    error: ErrorDetail | None = None

    @property
    def http_status(self) -> int:
        """200 where it had an effect or counts, 202 while that is open, 403 where it was not let through, else 409."""
        if self.error is None:
            return 202 if self.status is DecisionStatus.PENDING else 200
        return 403 if self.error.type == "permission_error" else 409

    def response(self) -> Response:
        """The answer over HTTP."""
        headers = {"x-sluice-request-id": self.request.id, "x-sluice-state": self.request.status.value}
        text = self.model_dump_json(exclude={"error"} if self.error is None else None)
        return Response(text, self.http_status, headers, "application/json")


DECIDED: dict[int | str, dict[str, Any]] = {
    202: {"model": DecisionAnswer, "description": "Stored; what becomes of it is not known yet"},
    409: {"model": DecisionAnswer, "description": "It had no effect; `status` and `because` say why"},
}
"""What a route answers to an order beside 200 and what is wrong with the call."""


def wait_for(services: Services, query: Mapping[str, str]) -> float:
    """How many seconds the caller waits for a judgement. Raises ``ApiError`` 400."""
    return number_from(query, "wait_seconds", services.limits.decision_wait_seconds, 0, MAX_WAIT_SECONDS)


async def send(services: Services, envelope: Order, wait_seconds: float) -> SubmittedDecision:
    """Store and signal a signed order, and wait for what becomes of it. Raises ``DecisionConflictError``."""
    submitted, created = await services.outbox.submit(envelope)
    delivered = await _signal(services, envelope) if created else True
    if submitted.status is DecisionStatus.PENDING and delivered:
        submitted = await _await_judgement(services, submitted, min(wait_seconds, _USUAL_SECONDS))
        if submitted.status is DecisionStatus.PENDING:
            # A judged order needs no mark, so none is written where a person waits for the usual, quick judgement.
            await services.outbox.mark_sent(envelope.request_id, envelope.decision_id)
            submitted = await _await_judgement(services, submitted, wait_seconds - _USUAL_SECONDS)
    return submitted


def conflict(error: DecisionConflictError) -> ApiError:
    """409 for an id that stands for another order."""
    message = "this decision_id was used before with another content; use a new decision_id for a new decision"
    found = ApiError(409, "decision_conflict", message, param="decision_id")
    found.__cause__ = error
    return found


async def deliver(services: Services, envelope: Order) -> bool:
    """Signal a stored order and note that it was sent. False if Temporal is away; it is then sent later."""
    delivered = await _signal(services, envelope)
    if delivered:
        await services.outbox.mark_sent(envelope.request_id, envelope.decision_id)
    return delivered


async def _signal(services: Services, envelope: Order) -> bool:
    """Signal a stored order. False if Temporal is away; the outbox then sends it later.

    **Correctness:** may run any number of times for one order: the Workflow judges each ``decision_id`` once, and one
    that was judged already keeps its judgement when it turns out that the request has ended.
    """
    try:
        async with asyncio.timeout(services.limits.start_seconds):
            delivered = await services.requests.signal(envelope)
    except Exception as error:
        if not is_outage(error):
            raise
        structlog.get_logger("api").warning("signal_failed", error=type(error).__name__, request_id=envelope.request_id)
        return False
    if not delivered:
        await services.outbox.settle_late(envelope, _ENDED)
    return True


async def _await_judgement(services: Services, submitted: SubmittedDecision, wait_seconds: float) -> SubmittedDecision:
    """The order once it is judged, or as it is after ``wait_seconds``."""
    envelope = submitted.envelope
    deadline = time.monotonic() + wait_seconds
    await asyncio.sleep(min(_FIRST_LOOK_SECONDS, max(wait_seconds, 0)))
    pause = _SECOND_LOOK_SECONDS
    while True:
        found = await services.reader.decision(envelope.request_id, envelope.decision_id)
        submitted = found or submitted
        if submitted.status is not DecisionStatus.PENDING or time.monotonic() >= deadline:
            return submitted
        await asyncio.sleep(min(pause, max(deadline - time.monotonic(), 0)))
        pause = min(pause * 1.5, _LATER_LOOK_SECONDS)


async def answer(
    services: Services, principal: Principal, submitted: SubmittedDecision, refusal: ApiError | None = None
) -> DecisionAnswer:
    """What ``principal`` is told of an order. ``refusal`` says why it was not even let through."""
    envelope = submitted.envelope
    request = await services.reader.request(envelope.request_id, principal.tenant)
    if request is None:
        raise not_found("request", envelope.request_id)
    review = await services.reader.review(envelope.request_id, principal.tenant, services.clock())
    error = None if refusal is None else refusal.detail
    if error is None and submitted.status not in (*_IN_EFFECT, DecisionStatus.PENDING):
        error = error_detail(409, f"decision_{submitted.status}", f"not applied: {submitted.because}", "decision_id")
    return DecisionAnswer(
        decision_id=envelope.decision_id,
        status=submitted.status,
        because=submitted.because,
        review=None if review is None else _decided_review(principal, submitted, review),
        request=_decided_request(request),
        error=error,
    )


def _decided_review(principal: Principal, submitted: SubmittedDecision, review: ReviewView) -> DecidedReview:
    blind = (
        is_reviewer(principal)
        and incomplete(review.state, review.approvals_needed)
        and submitted.status not in _IN_EFFECT
    )
    return DecidedReview(
        id=review.request_id,
        state=review.state,
        review_version=review.proposal.review_version,
        approvals_needed=review.approvals_needed,
        approvals=None if blind else review.approvals,
        decided_by=review.decided_by,
        decided_verdict=review.decided_verdict,
    )


def _decided_request(request: RequestView) -> DecidedRequest:
    return DecidedRequest(id=request.request_id, status=request.status, outcome=request.outcome)
