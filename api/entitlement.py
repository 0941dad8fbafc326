"""Who may decide over a review, asked before anything is signed. The worker asks the same of the same roster again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.review_rows import ReviewView
from api.errors import ApiError
from api.services import Services
from domain.identity import Principal, Role
from domain.review import ReviewState
from domain.rights import Standing, WhoMayDecide, objection, same_name

DECIDERS = (Role.REVIEWER, Role.SENIOR_REVIEWER)


@dataclass(frozen=True)
class Entitlement:
    """Whether somebody may decide: ``objection`` says why not, ``on_behalf_of`` for whom they would."""

    objection: str | None
    on_behalf_of: str | None
    own_request: bool
    """The objection is that they, or whom they act for, made the request."""

    def refusal(self) -> ApiError | None:
        """403 where there is an objection."""
        if self.objection is None:
            return None
        code = "separation_of_duties" if self.own_request else "not_entitled"
        return ApiError(403, code, self.objection, param="Authorization")


def is_reviewer(principal: Principal) -> bool:
    """Whether somebody is a reviewer of any kind."""
    return not principal.roles.isdisjoint(DECIDERS)


async def entitlement(
    services: Services, tenant: str, name: str, review: ReviewView, on_behalf_of: str | None = None
) -> Entitlement:
    """Whether ``name`` may decide over ``review``.

    Who is no member of its queue and does not say for whom they act, acts for the person who has delegated the queue
    to them, if that is exactly one.
    """
    now, roster = services.clock(), services.roster
    who = WhoMayDecide(
        requester=review.requester, queue=review.queue, senior_only=review.senior_only, barred=review.barred
    )
    standing = await roster.standing(tenant, name, on_behalf_of, review.queue, now)
    delegators: tuple[str, ...] = ()
    if on_behalf_of is None and not standing.reviewer.member:
        delegators = await roster.delegators(tenant, name, review.queue, now)
        if len(delegators) == 1:
            on_behalf_of = delegators[0]
            standing = await roster.standing(tenant, name, on_behalf_of, review.queue, now)
    because = objection(who, standing)
    if because is not None and len(delegators) > 1:
        because = f"{because}; name in 'on_behalf_of' for whom this is: {', '.join(sorted(delegators))}"
    return Entitlement(because, on_behalf_of, own_request=_own_request(who, standing))


def _own_request(who: WhoMayDecide, standing: Standing) -> bool:
    people = (standing.reviewer, standing.on_behalf_of)
    return any(person is not None and same_name(who.requester, person.name) for person in people)


def claimed_by_another(review: ReviewView, name: str) -> str | None:
    """Who else has claimed the review and until when, in words; None if nobody has."""
    if review.claimed_by is None or review.claimed_by == name or review.claimed_until is None:
        return None
    return f"{review.claimed_by!r} has claimed this review until {moment(review.claimed_until)}"


def over(review: ReviewView, now: datetime) -> str | None:
    """Why nobody can decide over the review any more; None if it awaits a decision."""
    if review.state is not ReviewState.PENDING:
        return f"this review is {review.state}"
    return f"the hold expired at {moment(review.expires_at)}" if review.expires_at <= now else None


def moment(at: datetime) -> str:
    """A point in time as messages give it: to the second, in UTC."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
