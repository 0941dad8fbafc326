"""Claims on reviews: who works on one, so that nobody else decides over it meanwhile. They release themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from adapters.claims import ClaimedError, ClaimView, NotPendingError
from api.auth import check_role
from api.entitlement import DECIDERS, claimed_by_another, entitlement, moment, over
from api.errors import ApiError
from api.review_detail import find_review
from api.services import Services
from api.views import View, utc
from domain.envelope import MAX_REASON
from domain.identity import Principal, Role
from domain.payload import Text

REASSIGNERS = (Role.SENIOR_REVIEWER, Role.OPERATOR)
PersonName = Annotated[Text, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\s/](?:[^\r\n\t/]*[^\s/])?$")]
"""The name of a person, as their key or their identity provider gives it."""


def _said(reason: str) -> str:
    if not reason.strip():
        raise ValueError("is empty; say why")
    return reason


class ClaimBody(BaseModel):
    """Nothing; the key says who claims."""

    model_config = ConfigDict(frozen=True)


class ReassignBody(BaseModel):
    """Who is to work on the review instead, and why."""

    model_config = ConfigDict(frozen=True)

    to: PersonName
    reason: Annotated[Text, AfterValidator(_said)] = Field(max_length=MAX_REASON)


class ClaimAnswer(View):
    """Who has claimed the review and until when; both null where nobody has."""

    claimed_by: str | None
    claimed_until: datetime | None


async def claim(services: Services, principal: Principal, review_id: str) -> ClaimAnswer:
    """Claim a review for as long as its policy lets a claim last. Raises ``ApiError`` 403, 404 or 409.

    **Correctness:** again renews the claim.
    """
    check_role(principal, *DECIDERS)
    review = await find_review(services, principal.tenant, review_id)
    refusal = (await entitlement(services, principal.tenant, principal.name, review)).refusal()
    if refusal is not None:
        raise refusal
    now = services.clock()
    closed = over(review, now)
    if closed is not None:
        raise _not_pending(closed)
    try:
        found = await services.claims.claim(review_id, principal.tenant, principal.name, review.offer.lease, now)
    except ClaimedError as error:
        raise _claimed(f"{error.by!r} has claimed this review until {moment(error.until)}") from None
    except NotPendingError:
        raise _not_pending("this review awaits no decision any more") from None
    return _answer(found)


async def release(services: Services, principal: Principal, review_id: str) -> ClaimAnswer:
    """Give one's claim up. Raises ``ApiError`` 403, 404, or 409 where somebody else has it. Again is no change."""
    check_role(principal, *DECIDERS)
    review = await find_review(services, principal.tenant, review_id)
    if not await services.claims.release(review_id, principal.tenant, principal.name, services.clock()):
        claimed = claimed_by_another(review, principal.name)
        if claimed is not None:
            raise _claimed(f"{claimed}; only they can give it up, or it is reassigned")
    return ClaimAnswer(claimed_by=None, claimed_until=None)


async def reassign(services: Services, principal: Principal, review_id: str, to: str, reason: str) -> ClaimAnswer:
    """Give the claim to somebody who may decide, whoever has it. Raises ``ApiError`` 400, 403, 404 or 409."""
    check_role(principal, *REASSIGNERS)
    review = await find_review(services, principal.tenant, review_id)
    now = services.clock()
    closed = over(review, now)
    if closed is not None:
        raise _not_pending(closed)
    objection = (await entitlement(services, principal.tenant, to, review)).objection
    if objection is not None:
        raise ApiError(400, "not_entitled", f"to: {objection}", param="to")
    try:
        found = await services.claims.reassign(
            review_id, principal.tenant, to, principal.name, review.offer.lease, reason, now
        )
    except NotPendingError:
        raise _not_pending("this review awaits no decision any more") from None
    return _answer(found)


def _answer(found: ClaimView) -> ClaimAnswer:
    return ClaimAnswer(claimed_by=found.claimed_by, claimed_until=utc(found.claimed_until))


def _claimed(message: str) -> ApiError:
    return ApiError(409, "claimed", message, param="id")


def _not_pending(message: str) -> ApiError:
    return ApiError(409, "not_pending", message, param="id")
