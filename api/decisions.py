"""A reviewer's decision: who may give it is asked, it is bound and signed, and sent on its way."""

from __future__ import annotations

from adapters.decision_outbox import DecisionConflictError
from adapters.review_rows import ReviewView
from api.auth import check_role
from api.entitlement import DECIDERS, Entitlement, claimed_by_another, entitlement
from api.errors import ApiError
from api.orders import DecisionAnswer, answer, conflict, send
from api.review_detail import find_review
from api.services import Services
from domain.identity import Principal
from domain.review import DecisionEnvelope, DecisionStatus, ReviewDecision, ReviewState


async def take_decision(
    services: Services, principal: Principal, review_id: str, decision: ReviewDecision, wait_seconds: float
) -> DecisionAnswer:
    """Take in ``decision`` and tell what became of it. Raises ``ApiError`` 403, 404 or 409.

    A decision of somebody who is not entitled is stored as such and goes no further.

    **Correctness:** the same decision again is answered like the first time, also where its sender could not give it
    any more, or somebody else has claimed the review meanwhile.
    """
    check_role(principal, *DECIDERS)
    review = await find_review(services, principal.tenant, review_id)
    found = await entitlement(services, principal.tenant, principal.name, review, decision.on_behalf_of)
    envelope = _envelope(services, principal, review_id, decision, found.on_behalf_of)
    try:
        if found.objection is not None:
            return await _refuse(services, principal, envelope, found)
        await _check_claim(services, review, envelope)
        submitted = await send(services, services.decision_key.sign(envelope), wait_seconds)
    except DecisionConflictError as error:
        raise conflict(error) from None
    return await answer(services, principal, submitted)


def _envelope(
    services: Services, principal: Principal, review_id: str, decision: ReviewDecision, on_behalf_of: str | None
) -> DecisionEnvelope:
    return DecisionEnvelope(
        **dict(decision) | {"on_behalf_of": on_behalf_of},
        request_id=review_id,
        tenant=principal.tenant,
        reviewer=principal.name,
        decided_at=services.clock(),
    )


async def _refuse(
    services: Services, principal: Principal, envelope: DecisionEnvelope, found: Entitlement
) -> DecisionAnswer:
    """Store the decision as unauthorised, unsigned; or tell what became of it when its sender was still entitled."""
    refused = await services.outbox.refuse(envelope, found.objection or "")
    before = refused.status is not DecisionStatus.UNAUTHORISED
    return await answer(services, principal, refused, None if before else found.refusal())


async def _check_claim(services: Services, review: ReviewView, envelope: DecisionEnvelope) -> None:
    """Raises ``ApiError`` 409 where somebody else works on the review, unless the decision was taken in before."""
    claimed = claimed_by_another(review, envelope.reviewer)
    if claimed is None or review.state is not ReviewState.PENDING:
        return
    if await services.reader.decision(envelope.request_id, envelope.decision_id) is None:
        raise ApiError(409, "claimed", f"{claimed}; wait, or have it reassigned", param="id")
