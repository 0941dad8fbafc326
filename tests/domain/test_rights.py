"""Who may decide: a table of every kind of person against every kind of review."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from domain.identity import Role
from domain.rights import Person, Standing, WhoMayDecide, objection

REVIEWS = tuple(
    WhoMayDecide(requester="shop", queue="legal", senior_only=senior_only, barred=barred)
    for senior_only, barred in product((False, True), ((), ("paula",)))
)
ROLES: tuple[set[Role], ...] = (
    set(),
    {Role.AUDITOR},
    {Role.REVIEWER},
    {Role.SENIOR_REVIEWER},
    {Role.REVIEWER, Role.SENIOR_REVIEWER},
)
PEOPLE = tuple(
    Person(name=name, roles=frozenset(roles), member=member)
    for name, roles, member in product(("rita", "shop", "paula"), ROLES, (False, True))
)
STANDINGS = tuple(
    Standing(reviewer=reviewer, on_behalf_of=principal, delegated_until=until)
    for reviewer, principal, until in product(PEOPLE, (None, *PEOPLE), (None, datetime(2026, 12, 1, tzinfo=UTC)))
)


@pytest.mark.parametrize("who", REVIEWS, ids=str)
def test_only_an_entitled_person_who_is_not_involved_may_decide(who: WhoMayDecide) -> None:
    """Every kind of person, in their own name and in that of every other kind."""
    for standing in STANDINGS:
        people = [person for person in (standing.reviewer, standing.on_behalf_of) if person is not None]
        entitled = people[-1]
        may = (
            all(person.name != who.requester and person.name not in who.barred for person in people)
            and all(person.roles & {Role.REVIEWER, Role.SENIOR_REVIEWER} for person in people)
            and (standing.on_behalf_of is None or standing.delegated_until is not None)
            and entitled.member
            and (Role.SENIOR_REVIEWER in entitled.roles or not who.senior_only)
        )
        told = objection(who, standing)
        assert (told is None) == may, standing
        assert told is None or any(repr(person.name) in told for person in people)


def test_capitals_do_not_make_another_person() -> None:
    person = Person(name="Rita@Example.com", roles=frozenset({Role.REVIEWER}), member=True)
    for who in (
        WhoMayDecide(requester="rita@example.com", queue="legal"),
        WhoMayDecide(requester="shop", queue="legal", barred=("rita@example.com",)),
    ):
        assert objection(who, Standing(reviewer=person)) is not None
    assert objection(WhoMayDecide(requester="shop", queue="legal"), Standing(reviewer=person)) is None
