"""A reviewer's decision on its way: bound, signed, stored, signalled, and answered with what became of it.

**Correctness:** a decision is stored before it is signalled. If the Signal or this process fails in between, the
outbox sends it later under the same ``decision_id``, and the Workflow takes a second copy for what it is.
"""

from __future__ import annotations

import asyncio
import time

import structlog
from starlette.responses import Response

from adapters.decision_outbox import DecisionConflictError, SubmittedDecision
from adapters.ledger_reader import ReviewView
from api.errors import ApiError, ErrorDetail, checked_id, error_detail, is_outage, not_found
from api.services import Services
from api.views import View
from domain.identity import Principal
from domain.request import Outcome, Status
from domain.review import DecisionEnvelope, DecisionStatus, ReviewDecision, ReviewState, ReviewVerdict

_FIRST_LOOK_SECONDS = 0.03
"""A judgement takes about this long; looking earlier only takes time from the processes that make it."""
_SECOND_LOOK_SECONDS = 0.01
_LATER_LOOK_SECONDS = 0.05
_USUAL_SECONDS = 0.5
"""What takes longer than this is marked as sent, or the outbox would send it again."""
_ENDED = "the request had already ended when it arrived"
_SETTLED = {DecisionStatus.APPLIED: 200, DecisionStatus.PENDING: 202}


class DecidedReview(View):
    """Where the review stands now."""

    id: str
    state: ReviewState
    review_version: int
    decided_by: str | None
    decided_verdict: ReviewVerdict | None


class DecidedRequest(View):
    """Where the request stands now."""

    id: str
    status: Status
    outcome: Outcome | None


class DecisionAnswer(View):
    """What became of a decision. ``error`` is there where it had no effect."""

    decision_id: str
    status: DecisionStatus
    because: str | None
    review: DecidedReview
    request: DecidedRequest
    error: ErrorDetail | None = None


async def decide(
    services: Services, principal: Principal, review_id: str, decision: ReviewDecision, wait_seconds: float
) -> Response:
    """Take in ``decision`` and answer with what became of it. Raises ``ApiError`` 403, 404 or 409."""
    review = await services.reader.review(checked_id("review", review_id), principal.tenant)
    if review is None:
        raise not_found("review", review_id)
    _separate_duties(principal, review)
    envelope = services.decision_key.sign(
        DecisionEnvelope(
            **dict(decision),
            request_id=review_id,
            tenant=principal.tenant,
            reviewer=principal.name,
            decided_at=services.clock(),
        )
    )
    try:
        submitted, created = await services.outbox.submit(envelope)
    except DecisionConflictError:
        message = "this decision_id was used before with another content; use a new decision_id for a new decision"
        raise ApiError(409, "decision_conflict", message, param="decision_id") from None
    delivered = await _signal(services, envelope) if created else True
    if submitted.status is DecisionStatus.PENDING and delivered:
        submitted = await _await_judgement(services, submitted, min(wait_seconds, _USUAL_SECONDS))
        if submitted.status is DecisionStatus.PENDING:
            # A judged decision needs no mark, so none is written where a reviewer waits for the usual, quick judgement.
            await services.outbox.mark_sent(envelope.request_id, envelope.decision_id)
            submitted = await _await_judgement(services, submitted, wait_seconds - _USUAL_SECONDS)
    return await _answer(services, principal.tenant, submitted)


def _separate_duties(principal: Principal, review: ReviewView) -> None:
    if review.requester == principal.name:
        message = f"{principal.name!r} made this request and may not decide over its answer; another reviewer has to"
        raise ApiError(403, "separation_of_duties", message, param="Authorization")


async def deliver(services: Services, envelope: DecisionEnvelope) -> bool:
    """Signal a stored decision and note that it was sent. False if Temporal is away; it is then sent later."""
    delivered = await _signal(services, envelope)
    if delivered:
        await services.outbox.mark_sent(envelope.request_id, envelope.decision_id)
    return delivered


async def _signal(services: Services, envelope: DecisionEnvelope) -> bool:
    """Signal a stored decision. False if Temporal is away; the outbox then sends it later.

    **Correctness:** may run any number of times for one decision: the Workflow judges each ``decision_id`` once, and
    a decision that was judged already keeps its judgement when it turns out that the request has ended.
    """
    try:
        async with asyncio.timeout(services.limits.start_seconds):
            delivered = await services.requests.signal_decision(envelope)
    except Exception as error:
        if not is_outage(error):
            raise
        structlog.get_logger("api").warning("signal_failed", error=type(error).__name__, request_id=envelope.request_id)
        return False
    if not delivered:
        await services.outbox.settle_late(envelope, _ENDED)
    return True


async def _await_judgement(services: Services, submitted: SubmittedDecision, wait_seconds: float) -> SubmittedDecision:
    """The decision once it is judged, or as it is after ``wait_seconds``."""
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


async def _answer(services: Services, tenant: str, submitted: SubmittedDecision) -> Response:
    envelope = submitted.envelope
    review = await services.reader.review(envelope.request_id, tenant)
    request = await services.reader.request(envelope.request_id, tenant)
    if review is None or request is None:
        raise not_found("review", envelope.request_id)
    code = _SETTLED.get(submitted.status, 409)
    error = None
    if code == 409:
        error = error_detail(409, f"decision_{submitted.status}", f"not applied: {submitted.because}", "decision_id")
    answer = DecisionAnswer(
        decision_id=envelope.decision_id,
        status=submitted.status,
        because=submitted.because,
        review=DecidedReview(
            id=review.request_id,
            state=review.state,
            review_version=review.proposal.review_version,
            decided_by=review.decided_by,
            decided_verdict=review.decided_verdict,
        ),
        request=DecidedRequest(id=request.request_id, status=request.status, outcome=request.outcome),
        error=error,
    )
    headers = {"x-sluice-request-id": request.request_id, "x-sluice-state": request.status.value}
    return Response(
        answer.model_dump_json(exclude=None if error is not None else {"error"}), code, headers, "application/json"
    )
