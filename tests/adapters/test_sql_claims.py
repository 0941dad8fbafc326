"""Claims: whatever two people and the clock do, one person at most works on a review; and who looks is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.claims import ClaimedError, Claims, ClaimView, NotPendingError, ReviewEventKind
from adapters.database import Database
from adapters.ledger_reader import LedgerReader, ReviewQuery
from adapters.sql_ledger import SqlLedger
from domain.ledger import ReviewMove, ReviewOpening
from domain.request import Outcome
from domain.review import DecisionStatus, ReviewVerdict
from tests.adapters.ledger_examples import (
    START,
    ending,
    held_request,
    hold,
    judged,
    judgement,
    opening,
    records,
)
from tests.examples import decision

LEASE = timedelta(minutes=15)
PEOPLE = ("nora", "rita")


@pytest.fixture
def claims(database: Database) -> Claims:
    return Claims(database)


@dataclass
class Desk:
    """What a claim means, in a few lines: one holder at most, until the lease is over."""

    holder: str | None = None
    until: datetime = START
    pending: bool = True
    events: list[str] = field(default_factory=list)

    def live(self, now: datetime) -> str | None:
        return self.holder if self.pending and now < self.until else None

    def claim(self, name: str, lease: timedelta, now: datetime) -> ClaimView | str:
        if not self.pending:
            return "not pending"
        if self.live(now) not in (None, name):
            return f"claimed by {self.live(now)}"
        if self.live(now) is None:
            self.events.append(f"{name} claimed")
        self.holder, self.until = name, now + lease
        return ClaimView(claimed_by=name, claimed_until=self.until)

    def release(self, name: str, now: datetime) -> bool:
        if self.live(now) != name:
            return False
        self.holder = None
        self.events.append(f"{name} released")
        return True

    def reassign(self, to: str, lease: timedelta, now: datetime) -> ClaimView | str:
        if not self.pending:
            return "not pending"
        self.holder, self.until = to, now + lease
        self.events.append("olga reassigned")
        return ClaimView(claimed_by=to, claimed_until=self.until)


MINUTES = st.sampled_from([-20, -1, 0, 1, 7, 15, 20])
LEASES = st.sampled_from([timedelta(minutes=1), LEASE])
STEPS = st.one_of(
    st.tuples(st.just("claim"), st.sampled_from(PEOPLE), LEASES),
    st.tuples(st.just("release"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("reassign"), st.sampled_from(PEOPLE), LEASES),
    st.tuples(st.just("wait"), MINUTES),
    st.tuples(st.sampled_from(["count", "turn away", "move", "reopen"])),
    st.tuples(st.just("end")),
)


class Room:
    """One review in the database, and the same steps done to it as to a ``Desk``."""

    def __init__(self, database: Database, review: ReviewOpening) -> None:
        self.claims, self.ledger, self.reader = Claims(database), SqlLedger(database), LedgerReader(database)
        self.review, self.desk, self.now = review, Desk(), START
        self.sequence, self.version = 3, 1

    async def step(self, step: tuple[Any, ...]) -> None:
        verb, *rest = step
        of = self.review.request_id
        match verb:
            case "claim":
                said = await _said(self.claims.claim(of, "acme", rest[0], rest[1], self.now))
                assert said == self.desk.claim(rest[0], rest[1], self.now)
            case "release":
                released = await self.claims.release(of, "acme", rest[0], self.now)
                assert released == self.desk.release(rest[0], self.now)
            case "reassign":
                order = self.claims.reassign(of, "acme", rest[0], "olga", rest[1], "ill", self.now)
                assert await _said(order) == self.desk.reassign(rest[0], rest[1], self.now)
            case "wait":
                self.now += timedelta(minutes=rest[0])
            case _ if self.desk.pending:
                await self.commit(verb)

    async def commit(self, verb: str) -> None:
        """Something that the ledger does to the review."""
        of, first = self.review.request_id, self.sequence + 1
        self.sequence += 1
        appended = records(of, first, first)
        approval = decision(self.review, ReviewVerdict.APPROVE)
        match verb:
            case "count":
                counted = [judged(approval, DecisionStatus.COUNTED)]
                await self.ledger.judge(judgement(of, appended, counted, approvals=1))
            case "turn away":
                await self.ledger.judge(judgement(of, appended, [judged(approval, DecisionStatus.STALE)]))
                return
            case "move":
                moved = ReviewMove(queue="night", senior_only=False)
                await self.ledger.judge(judgement(of, appended, moved=moved))
            case "reopen":
                self.version += 1
                await self.ledger.open_review(opening(held_request(self.review), self.version, appended))
            case "end":
                await self.ledger.end(ending(held_request(self.review), Outcome.EXPIRED, appended))
                self.desk.pending = False
        self.desk.holder = None

    async def check(self) -> None:
        """Everybody is told of the same one holder, or of none."""
        view = await self.reader.review(self.review.request_id, "acme", self.now)
        assert view is not None
        assert view.claimed_by == self.desk.live(self.now)
        for name in (*PEOPLE, ""):
            query = ReviewQuery(now=self.now, claimed_by=name, text=self.review.request_id)
            listed = (await self.reader.reviews("acme", query, 10, None)).items
            assert len(listed) == ((view.claimed_by or "") == name)


async def _said(asked: Any) -> ClaimView | str:
    try:
        said = await asked
    except ClaimedError as error:
        return f"claimed by {error.by}"
    except NotPendingError:
        return "not pending"
    assert isinstance(said, ClaimView)
    return said


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=12))
@example(steps=[("claim", "rita", LEASE), ("wait", 15), ("claim", "nora", LEASE)])  # at the very end of the lease
async def test_there_are_never_two_holders(steps: list[tuple[Any, ...]], database: Database) -> None:
    room = Room(database, await hold(database))
    for step in steps:
        await room.step(step)
        await room.check()
    events = await room.claims.events(room.review.request_id, "acme")
    assert sorted(f"{event.actor} {event.kind}" for event in events) == sorted(room.desk.events)


async def test_of_many_who_claim_at_once_one_gets_it(database: Database, database_url: str, claims: Claims) -> None:
    of, second = (await hold(database)).request_id, Database(database_url)
    desks = (claims, Claims(second))
    try:
        said = await asyncio.gather(
            *(_said(desks[number % 2].claim(of, "acme", f"p{number}", LEASE, START)) for number in range(20))
        )
    finally:
        await second.close()
    (winner,) = [one for one in said if isinstance(one, ClaimView)]
    assert {one for one in said if isinstance(one, str)} == {f"claimed by {winner.claimed_by}"}
    assert len(await claims.events(of, "acme")) == 1


async def test_a_claim_and_the_decision_that_frees_it_do_not_cross(database: Database, claims: Claims) -> None:
    """Both change the same row, each in its own transaction."""
    review, ledger = await hold(database), SqlLedger(database)
    of = review.request_id
    counted = [judged(decision(review, ReviewVerdict.APPROVE), DecisionStatus.COUNTED)]
    await asyncio.gather(
        ledger.judge(judgement(of, records(of, 4, 4), counted, approvals=1)),
        *(_said(claims.claim(of, "acme", name, LEASE, START)) for name in PEOPLE),
    )
    view = await LedgerReader(database).review(of, "acme", START)
    assert view is not None
    assert view.approvals == 1
    assert view.claimed_by in (None, *PEOPLE)


async def test_a_refusal_names_who_has_it_and_until_when(database: Database, claims: Claims) -> None:
    of = (await hold(database)).request_id
    await claims.claim(of, "acme", "rita", LEASE, START)
    with pytest.raises(ClaimedError, match="'rita' has claimed") as caught:
        await claims.claim(of, "acme", "nora", LEASE, START)
    assert (caught.value.by, caught.value.until) == ("rita", START + LEASE)


async def test_another_tenants_review_cannot_be_claimed_released_or_looked_at(
    database: Database, claims: Claims
) -> None:
    of = (await hold(database)).request_id
    await claims.claim(of, "acme", "rita", LEASE, START)
    with pytest.raises(NotPendingError):
        await claims.claim(of, "other", "rita", LEASE, START)
    with pytest.raises(NotPendingError):
        await claims.reassign(of, "other", "nora", "olga", LEASE, "ill", START)
    assert not await claims.release(of, "other", "rita", START)
    assert await claims.look(of, "other", "nora", START) == ()
    assert await claims.look(of, "acme", "rita", START) == ()  # nora was not let in
    assert await claims.events(of, "other") == []
    assert {event.actor for event in await claims.events(of, "acme")} == {"rita"}


async def test_events_tell_what_happened_in_order(database: Database, claims: Claims) -> None:
    of, minute = (await hold(database)).request_id, timedelta(minutes=1)
    await claims.look(of, "acme", "rita", START)
    await claims.claim(of, "acme", "rita", LEASE, START + minute)
    await claims.claim(of, "acme", "rita", LEASE, START + 2 * minute)  # renewed, not claimed again
    await claims.reassign(of, "acme", "nora", "sue", LEASE, "rita is \x00 ill", START + 3 * minute)
    await claims.release(of, "acme", "nora", START + 4 * minute)
    events = await claims.events(of, "acme")
    assert [(event.at - START, event.actor, event.kind) for event in events] == [
        (0 * minute, "rita", ReviewEventKind.OPENED_PAGE),
        (1 * minute, "rita", ReviewEventKind.CLAIMED),
        (3 * minute, "sue", ReviewEventKind.REASSIGNED),
        (4 * minute, "nora", ReviewEventKind.RELEASED),
    ]
    assert events[2].data == {
        "review_version": 1,
        "to": "nora",
        "from": "rita",
        "reason": "rita is \x00 ill",
        "until": (START + 3 * minute + LEASE).isoformat(),
    }


async def test_who_looks_is_told_for_half_a_minute(database: Database, claims: Claims) -> None:
    of, second = (await hold(database)).request_id, timedelta(seconds=1)
    assert await claims.look(of, "acme", "rita", START) == ()
    assert await claims.look(of, "acme", "nora", START + 10 * second) == ("rita",)
    assert await claims.look(of, "acme", "audrey", START + 29 * second) == ("nora", "rita")
    assert await claims.look(of, "acme", "nora", START + 30 * second) == ("audrey",)
    assert await claims.look(of, "acme", "rita", START + 31 * second) == ("audrey", "nora")


async def test_the_first_look_at_each_version_is_recorded_once(database: Database, claims: Claims) -> None:
    review = await hold(database)
    of = review.request_id
    await asyncio.gather(*(claims.look(of, "acme", name, START) for name in PEOPLE * 5))
    await SqlLedger(database).open_review(opening(held_request(review), 2, records(of, 4, 5)))
    for _ in range(2):
        await claims.look(of, "acme", "rita", START + LEASE)
    events = await claims.events(of, "acme")
    assert sorted((event.actor, event.data["review_version"]) for event in events) == [
        ("nora", 1),
        ("rita", 1),
        ("rita", 2),
    ]
    assert {event.kind for event in events} == {ReviewEventKind.OPENED_PAGE}
