"""Who may decide: a table of every kind of person against every kind of review."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from domain.identity import Role
from domain.rights import Person, Standing, WhoMayDecide, objection

NAMES = st.sampled_from(["rita", "otto", "shop", "paula"])
ROLES = st.frozensets(st.sampled_from(Role))
PEOPLE = st.builds(Person, name=NAMES, roles=ROLES, member=st.booleans())
REVIEWS = st.builds(
    WhoMayDecide,
    requester=NAMES,
    queue=st.just("legal"),
    senior_only=st.booleans(),
    barred=st.lists(NAMES, max_size=1).map(tuple),
)
STANDINGS = st.builds(
    Standing,
    reviewer=PEOPLE,
    on_behalf_of=st.none() | PEOPLE,
    delegated_until=st.none() | st.just(datetime(2026, 12, 1, tzinfo=UTC)),
)


@given(REVIEWS, STANDINGS)
def test_only_an_entitled_person_who_is_not_involved_may_decide(who: WhoMayDecide, standing: Standing) -> None:
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
    assert (told is None) == may
    if told is not None:
        assert any(repr(person.name) in told for person in people)


def test_capitals_do_not_make_another_person() -> None:
    person = Person(name="Rita@Example.com", roles=frozenset({Role.REVIEWER}), member=True)
    for who in (
        WhoMayDecide(requester="rita@example.com", queue="legal"),
        WhoMayDecide(requester="shop", queue="legal", barred=("rita@example.com",)),
    ):
        assert objection(who, Standing(reviewer=person)) is not None
    assert objection(WhoMayDecide(requester="shop", queue="legal"), Standing(reviewer=person)) is None
