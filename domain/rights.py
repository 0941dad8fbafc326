"""Who may decide over a held answer. The API asks before it signs a decision, a Workflow's Activity asks again."""

from __future__ import annotations

from datetime import datetime

from domain.identity import Role
from domain.payload import Payload


class WhoMayDecide(Payload):
    """What a review demands of the people who decide over it. ``barred`` may not, whatever else they are."""

    requester: str
    queue: str
    senior_only: bool = False
    barred: tuple[str, ...] = ()


class Person(Payload):
    """What the roster knows of one person at one moment. ``member``: of the queue asked about, or it is open to all."""

    name: str
    roles: frozenset[Role] = frozenset()
    member: bool = False

    @property
    def reviews(self) -> bool:
        """Whether the person is a reviewer of any kind."""
        return not self.roles.isdisjoint((Role.REVIEWER, Role.SENIOR_REVIEWER))

    @property
    def senior(self) -> bool:
        """Whether the person may decide what only seniors may."""
        return Role.SENIOR_REVIEWER in self.roles


class Standing(Payload):
    """A reviewer and, where they act for somebody else, that person and the delegation's end.

    ``delegated_until`` is None where no delegation of this queue was in force at that moment.
    """

    reviewer: Person
    on_behalf_of: Person | None = None
    delegated_until: datetime | None = None


def same_name(one: str, other: str) -> bool:
    """Whether two names stand for one person; an address in capitals is still the same address."""
    return one.casefold() == other.casefold()


def objection(who: WhoMayDecide, standing: Standing) -> str | None:
    """Why this person may not decide over this review; None if they may."""
    reviewer, principal = standing.reviewer, standing.on_behalf_of
    for person in (reviewer, principal):
        if person is not None and same_name(person.name, who.requester):
            return f"{person.name!r} made this request and may not decide over its answer; another reviewer has to"
        if person is not None and any(same_name(person.name, barred) for barred in who.barred):
            return f"{person.name!r} edited the policy that holds this answer and may not decide over it"
    if not reviewer.reviews:
        return f"{reviewer.name!r} does not hold the role reviewer (any more)"
    if principal is not None and standing.delegated_until is None:
        return (
            f"{principal.name!r} has not delegated queue {who.queue!r} to {reviewer.name!r}, or the time of it is over"
        )
    entitled = principal or reviewer
    if not entitled.reviews:
        return f"{entitled.name!r}, on whose behalf this was decided, does not hold the role reviewer (any more)"
    if not entitled.member:
        return f"{entitled.name!r} is not a member of queue {who.queue!r}"
    if who.senior_only and not entitled.senior:
        return f"this review is for senior reviewers, and {entitled.name!r} is none"
    return None
