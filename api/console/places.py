"""Who gets to see which page, and the pages that the head of every page leads to."""

from __future__ import annotations

from dataclasses import dataclass

from domain.identity import Principal, Role

REVIEWERS = (Role.REVIEWER, Role.SENIOR_REVIEWER)
READERS = (*REVIEWERS, Role.AUDITOR, Role.OPERATOR)
"""Who reads the queue and every review."""
LEADS = (Role.SENIOR_REVIEWER, Role.AUDITOR, Role.OPERATOR)
"""Who sees how reviewing goes."""
REQUEST_READERS = (*READERS, Role.SERVICE)
"""Who reads a request's page; services those of their own tenant, without what the policy keeps from requesters."""


@dataclass(frozen=True)
class Place:
    """A link in the head of a page."""

    href: str
    name: str


_PLACES = (
    (READERS, Place("/console/reviews", "Queue")),
    (LEADS, Place("/console/figures", "Figures")),
    (READERS, Place("/console/people", "Queues & delegations")),
    (REQUEST_READERS, Place("/console/requests", "Requests")),
)


def places(principal: Principal) -> tuple[Place, ...]:
    """The pages that ``principal`` may open, in the order of use."""
    return tuple(place for roles, place in _PLACES if not principal.roles.isdisjoint(roles))


def first_place(principal: Principal) -> str | None:
    """Where to go after signing in; None for somebody who may open no page."""
    found = places(principal)
    return found[0].href if found else None
