"""Figures: what waits, how fast and how people decide, whether they agree, and who approves without looking."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.claims import Claims
from adapters.database import Database
from adapters.decision_outbox import DecisionOutbox
from adapters.review_figures import (
    HASTY_SHOWN,
    Figures,
    HastyApproval,
    PolicyFigures,
    QueuePending,
    QuorumFigures,
    ReviewerFigures,
    ReviewFigures,
)
from adapters.sql_ledger import SqlLedger
from adapters.tables import DecisionRow, table
from domain.hold import ReviewVerdict
from domain.ledger import ReviewOpening
from domain.override import OverrideAction
from domain.request import Outcome, Status
from domain.review import DecisionStatus, JudgedDecision, Proposal
from tests.adapters.ledger_examples import (
    START,
    ending,
    held_request,
    hold,
    judged,
    judgement,
    opening,
    order,
    overridden,
    record,
    records,
)
from tests.adapters.statements import plan_of
from tests.examples import decision

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
HASTY = 5 * SECOND
_decisions = table(DecisionRow)


class Shift:
    """People who review, each decision given so long after the text was opened."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ledger = SqlLedger(database)

    async def figures(self, tenant: str = "acme", since: datetime = START, now: datetime = START + HOUR) -> Figures:
        return await ReviewFigures(self._database).figures(tenant, since, now, HASTY)

    async def decide(
        self,
        review: ReviewOpening,
        verdict: ReviewVerdict,
        after: timedelta,
        status: DecisionStatus = DecisionStatus.APPLIED,
        **changes: Any,
    ) -> JudgedDecision:
        """A decision in the outbox, as if it had been submitted then."""
        envelope = decision(review, verdict, **changes)
        await DecisionOutbox(self._database).submit(envelope)
        submitted = (
            _decisions.update()
            .where(_decisions.c.decision_id == envelope.decision_id)
            .values(submitted_at=review.opened_at + after)
        )
        await self._database.write(lambda connection: connection.execute(submitted).rowcount)
        return judged(envelope, status)

    async def end(self, review: ReviewOpening, outcome: Outcome, *decisions: JudgedDecision, first: int = 4) -> None:
        appended = [record(review.request_id, first)]
        await self._ledger.end(ending(held_request(review), outcome, appended, decisions))

    async def go_on(
        self, review: ReviewOpening, *decisions: JudgedDecision, status: Status = Status.HELD, **changes: Any
    ) -> None:
        await self._ledger.judge(
            judgement(review.request_id, records(review.request_id, 4, 4), decisions, status, **changes)
        )

    async def approve(self, reviewer: str, after: timedelta, looked: timedelta | None = None) -> ReviewOpening:
        """A review that ``reviewer`` approved; ``looked`` is when they opened its page, None if never."""
        review = await hold(self._database)
        if looked is not None:
            await Claims(self._database).look(review.request_id, "acme", reviewer, review.opened_at + looked)
        approval = await self.decide(review, ReviewVerdict.APPROVE, after, reviewer=reviewer)
        await self.end(review, Outcome.APPROVED, approval)
        return review


@pytest.fixture
def shift(database: Database) -> Shift:
    return Shift(database)


async def test_a_tenant_without_reviews_has_figures_too(database: Database, shift: Shift) -> None:
    await hold(database, tenant="other")
    figures = await shift.figures()
    assert [band.count for band in figures.pending_by_age] == [0, 0, 0, 0, 0]
    assert (figures.time_to_decision.median_seconds, figures.time_to_decision.n) == (None, 0)
    assert figures.agreement == QuorumFigures(reviews=0, agreed=0, rate=None)
    assert (figures.pending_by_queue, figures.per_policy, figures.per_reviewer, figures.hasty) == ((), (), (), ())


async def test_what_waits_by_age_and_by_queue(database: Database, shift: Shift) -> None:
    now = START + 100 * HOUR
    for queue, hours in (("a", 0), ("a", 1), ("b", 3.99), ("b", 4), ("a", 24), ("a", 71), ("b", 72), ("b", 100)):
        opened = now - hours * HOUR
        await hold(database, queue=queue, opened_at=opened, expires_at=opened + 24 * HOUR)
    closed = await hold(database, queue="c")
    await shift.end(closed, Outcome.EXPIRED)
    figures = await shift.figures(now=now)
    assert [(band.at_least / HOUR, band.count, band.overdue) for band in figures.pending_by_age] == [
        (0, 1, 0),
        (1, 2, 0),
        (4, 1, 0),
        (24, 2, 2),
        (72, 2, 2),
    ]
    assert figures.pending_by_queue == (
        QueuePending(queue="a", count=4, overdue=2),
        QueuePending(queue="b", count=4, overdue=2),
    )


async def test_time_to_decision_counts_what_took_effect_in_the_period(database: Database, shift: Shift) -> None:
    for seconds in range(10, 110, 10):
        await shift.approve("rita", seconds * SECOND)
    review = await hold(database)
    await shift.go_on(review, await shift.decide(review, ReviewVerdict.APPROVE, HOUR, DecisionStatus.COUNTED))
    stale = await shift.decide(review, ReviewVerdict.REJECT, HOUR, DecisionStatus.STALE)
    await shift.end(review, Outcome.EXPIRED, stale, first=5)
    await DecisionOutbox(database).refuse(decision(review, ReviewVerdict.APPROVE, reviewer="shop"), "made it")
    times = (await shift.figures()).time_to_decision
    assert (times.median_seconds, times.p90_seconds, times.n) == (55, 90, 10)
    assert (await shift.figures(since=START + HOUR)).time_to_decision.n == 0
    assert (await shift.figures(tenant="other")).time_to_decision.n == 0


async def test_each_policy_tells_what_became_of_what_it_held(database: Database, shift: Shift) -> None:
    async def one(verdict: ReviewVerdict, outcome: Outcome | None, policy: str = "plain", **changes: Any) -> None:
        review = await hold(database, policy=policy)
        decided = await shift.decide(review, verdict, HOUR, **changes)
        if outcome is None:
            await shift.go_on(review, decided, status=Status.RUNNING)
        else:
            await shift.end(review, outcome, decided)

    await one(ReviewVerdict.APPROVE, Outcome.APPROVED)
    await one(ReviewVerdict.APPROVE, Outcome.APPROVED)
    await one(ReviewVerdict.EDIT, Outcome.EDITED, output="better")
    await one(ReviewVerdict.REJECT, Outcome.REJECTED)
    await one(ReviewVerdict.ESCALATE, None)
    await one(ReviewVerdict.REVISE, None, instruction="shorter")
    own_text = await hold(database, proposal=Proposal.of("a reviewer's", 1, 0, edited=True))
    await shift.end(own_text, Outcome.EDITED, await shift.decide(own_text, ReviewVerdict.APPROVE, HOUR))
    await shift.end(await hold(database), Outcome.EXPIRED)
    forced = await hold(database)
    orders = [order(forced, OverrideAction.FORCE_MODEL), order(forced, OverrideAction.FORCE_REVIEW)]
    for each in orders:
        await DecisionOutbox(database).submit(each)
    judged_orders = (overridden(orders[0]), overridden(orders[1], DecisionStatus.INAPPLICABLE))
    await shift.go_on(forced, status=Status.RUNNING, overrides=judged_orders)
    figures = await shift.figures()
    assert figures.per_policy == (
        PolicyFigures(
            policy="plain",
            decided=7,
            approved=2,
            edited=2,
            rejected=1,
            escalated=1,
            revised=1,
            expired=1,
            overridden=1,
            changed_rate=3 / 5,
        ),
    )


async def test_what_only_expired_has_no_rate(database: Database, shift: Shift) -> None:
    await shift.end(await hold(database), Outcome.EXPIRED)
    assert (await shift.figures()).per_policy == (PolicyFigures(policy="plain", expired=1),)
    assert (await shift.figures(since=START + HOUR)).per_policy == ()


async def test_two_agree_when_all_approve_the_same_text(database: Database, shift: Shift) -> None:
    for verdict, outcome in ((ReviewVerdict.APPROVE, Outcome.APPROVED), (ReviewVerdict.REJECT, Outcome.REJECTED)):
        review = await hold(database)
        first = await shift.decide(review, ReviewVerdict.APPROVE, HOUR, DecisionStatus.COUNTED)
        await shift.go_on(review, first, approvals=1)
        last = await shift.decide(review, verdict, HOUR, reviewer="rolf")
        await shift.end(review, outcome, last, first=5)
    await shift.approve("rita", HOUR)  # alone with it
    escalated = await hold(database)
    first = await shift.decide(escalated, ReviewVerdict.APPROVE, HOUR, DecisionStatus.COUNTED)
    up = await shift.decide(escalated, ReviewVerdict.ESCALATE, HOUR, reviewer="rolf")
    await shift.go_on(escalated, first, up, status=Status.RUNNING)
    assert (await shift.figures()).agreement == QuorumFigures(reviews=2, agreed=1, rate=0.5)


async def test_an_edit_disagrees_with_the_text_before_and_approves_its_own(database: Database, shift: Shift) -> None:
    review = await hold(database)
    first = await shift.decide(review, ReviewVerdict.APPROVE, HOUR, DecisionStatus.COUNTED, reviewer="nora")
    edit = await shift.decide(review, ReviewVerdict.EDIT, HOUR, DecisionStatus.COUNTED, output="better")
    second = opening(
        held_request(review), 2, records(review.request_id, 4, 5), text="better", decisions=(first, edit), approvals=1
    )
    await SqlLedger(database).open_review(second)
    last = await shift.decide(second, ReviewVerdict.APPROVE, HOUR, reviewer="rolf")
    await shift.end(second, Outcome.EDITED, last, first=6)
    assert (await shift.figures()).agreement == QuorumFigures(reviews=2, agreed=1, rate=0.5)


async def test_each_reviewer_tells_how_long_they_looked(database: Database, shift: Shift) -> None:
    await shift.approve("rita", 100 * SECOND, looked=40 * SECOND)
    await shift.approve("rita", 100 * SECOND)
    review = await hold(database)
    rejected = await shift.decide(review, ReviewVerdict.REJECT, 80 * SECOND)
    await shift.end(review, Outcome.REJECTED, rejected)
    await shift.approve("nora", 2 * SECOND)
    assert (await shift.figures()).per_reviewer == (
        ReviewerFigures(reviewer="nora", decided=1, approvals=1, median_seconds=2, hasty=1),
        ReviewerFigures(reviewer="rita", decided=3, approvals=2, median_seconds=80, hasty=0),
    )


async def test_hasty_is_an_approval_right_after_the_text_was_seen(database: Database, shift: Shift) -> None:
    quick = await shift.approve("rita", 100 * SECOND, looked=96 * SECOND)
    await shift.approve("rita", 100 * SECOND, looked=95 * SECOND)  # just long enough
    unseen = await shift.approve("nora", 4 * SECOND)
    looked_afterwards = await shift.approve("nora", 3 * SECOND, looked=50 * SECOND)
    rejected = await hold(database)
    await shift.end(rejected, Outcome.REJECTED, await shift.decide(rejected, ReviewVerdict.REJECT, SECOND))
    figures = await shift.figures()
    assert figures.hasty == (
        HastyApproval(request_id=quick.request_id, reviewer="rita", seconds=4, decided_at=START + 100 * SECOND),
        HastyApproval(request_id=unseen.request_id, reviewer="nora", seconds=4, decided_at=START + 4 * SECOND),
        HastyApproval(
            request_id=looked_afterwards.request_id, reviewer="nora", seconds=3, decided_at=START + 3 * SECOND
        ),
    )


async def test_a_look_at_an_earlier_version_is_none_at_this_one(database: Database, shift: Shift) -> None:
    review, claims = await hold(database), Claims(database)
    await claims.look(review.request_id, "acme", "rita", START)
    second = opening(held_request(review), 2, records(review.request_id, 4, 5), opened_at=START + HOUR)
    await SqlLedger(database).open_review(second)
    await claims.look(review.request_id, "acme", "rita", START + 2 * HOUR)
    approval = await shift.decide(second, ReviewVerdict.APPROVE, HOUR + 2 * SECOND)
    await shift.end(second, Outcome.APPROVED, approval, first=6)
    (hasty,) = (await shift.figures()).hasty
    assert hasty.seconds == 2


async def test_a_counted_approval_can_be_hasty_too(database: Database, shift: Shift) -> None:
    review = await hold(database)
    first = await shift.decide(review, ReviewVerdict.APPROVE, SECOND, DecisionStatus.COUNTED)
    await shift.go_on(review, first, approvals=1)
    assert [approval.reviewer for approval in (await shift.figures()).hasty] == ["rita"]


async def test_of_many_hasty_approvals_the_newest_are_named_and_all_are_counted(shift: Shift) -> None:
    for number in range(HASTY_SHOWN + 2):
        await shift.approve("rita", number * timedelta(milliseconds=1))
    figures = await shift.figures()
    assert len(figures.hasty) == HASTY_SHOWN
    assert figures.hasty[0].decided_at == START + (HASTY_SHOWN + 1) * timedelta(milliseconds=1)
    assert figures.per_reviewer[0].hasty == HASTY_SHOWN + 2


async def test_figures_read_what_is_pending_and_what_the_period_has(sqlite_database: Database) -> None:
    """Not every request, decision or open review there ever was."""
    shift = Shift(sqlite_database)
    steps = [step for plan in await plan_of(sqlite_database, shift.figures) for step in plan]
    assert not [step for step in steps if step.startswith("SCAN") and not step.startswith("SCAN (")], steps
    of_period = [step for step in steps if step.startswith("SEARCH decisions")]
    assert [step for step in of_period if "settled_at>?" in step] == of_period
    assert len(of_period) == 3
