"""Commits around a review: its versions, what counts towards a quorum, where it moves, and how it closes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from adapters.claims import Claims
from adapters.database import Database
from adapters.decision_outbox import DecisionOutbox
from adapters.ledger_reader import LedgerReader, ReviewView
from adapters.sql_ledger import SqlLedger
from domain.errors import LedgerConflictError
from domain.hold import ReviewVerdict, Rung, RungAction
from domain.ladder import Moment
from domain.ledger import RecordKind, ReviewMove, ReviewOpening
from domain.override import OverrideAction
from domain.request import Outcome, Status
from domain.review import DecisionStatus, Proposal, ReviewOffer, ReviewState
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
from tests.examples import decision

OFFER = ReviewOffer(approvals_needed=2, senior_queues=("board",), revisions_left=1, safe_output="we will call you")
LEASE = timedelta(minutes=15)


@pytest.fixture
def ledger(database: Database) -> SqlLedger:
    return SqlLedger(database)


@pytest.fixture
async def review(database: Database) -> ReviewOpening:
    """A review that needs two approvals and that rita has claimed."""
    review = await hold(database, offer=OFFER, barred=("eddy",))
    await Claims(database).claim(review.request_id, "acme", "rita", LEASE, START)
    return review


async def read(database: Database, review: ReviewOpening) -> ReviewView:
    view = await LedgerReader(database).review(review.request_id, review.tenant, START)
    assert view is not None
    return view


async def status_of(database: Database, review: ReviewOpening, decision_id: str) -> DecisionStatus:
    found = await LedgerReader(database).decision(review.request_id, decision_id)
    assert found is not None
    return found.status


async def test_a_review_shows_what_was_offered_and_who_is_barred(database: Database) -> None:
    rung = Rung(after=timedelta(hours=1), do=RungAction.REASSIGN, queue="late")
    moments = (Moment(at=START + rung.after, rung=rung),)
    offer = OFFER.model_copy(update={"moments": moments, "overrule": ("terms",), "lease": timedelta(minutes=5)})
    review = await hold(database, offer=offer, senior_only=True, barred=("eddy", "e\x00d"), approvals=1)
    view = await read(database, review)
    assert view.offer == offer
    assert (view.senior_only, view.barred) == (True, ("eddy", "e\x00d"))
    assert (view.approvals, view.approvals_needed) == (1, 2)
    assert (view.claimed_by, view.claimed_until) == (None, None)


async def test_a_counted_approval_leaves_the_review_pending_and_frees_it(
    database: Database, ledger: SqlLedger, review: ReviewOpening
) -> None:
    first = decision(review, ReviewVerdict.APPROVE)
    await DecisionOutbox(database).submit(first)
    assert (await read(database, review)).claimed_by == "rita"
    of = review.request_id
    await ledger.judge(judgement(of, records(of, 4, 4), [judged(first, DecisionStatus.COUNTED)], approvals=1))
    view = await read(database, review)
    assert (view.state, view.approvals, view.claimed_by) == (ReviewState.PENDING, 1, None)
    assert await status_of(database, review, first.decision_id) is DecisionStatus.COUNTED
    second = decision(review, ReviewVerdict.APPROVE, reviewer="rolf")
    await ledger.end(
        ending(
            held_request(review),
            Outcome.APPROVED,
            records(of, 5, 6),
            [judged(first, DecisionStatus.DUPLICATE), judged(second, DecisionStatus.APPLIED)],
        )
    )
    closed = await read(database, review)
    assert (closed.state, closed.decided_by) == (ReviewState.DECIDED, "rolf")
    assert await status_of(database, review, first.decision_id) is DecisionStatus.COUNTED


async def test_what_has_no_effect_changes_neither_claim_nor_approvals(
    database: Database, ledger: SqlLedger, review: ReviewOpening
) -> None:
    of, stale = review.request_id, decision(review, ReviewVerdict.APPROVE, result_sha256="0" * 64)
    await ledger.judge(judgement(of, records(of, 4, 4), [judged(stale, DecisionStatus.STALE)]))
    await ledger.judge(judgement(of, [record(of, 5, RecordKind.REMINDED)]))
    view = await read(database, review)
    assert (view.claimed_by, view.approvals, view.reminders) == ("rita", 0, 1)
    assert view.claimed_until == START + LEASE


async def test_an_edit_under_a_quorum_opens_the_next_version_and_is_settled_with_it(
    database: Database, ledger: SqlLedger, review: ReviewOpening
) -> None:
    of = review.request_id
    edit = decision(review, ReviewVerdict.EDIT, output="better")
    await DecisionOutbox(database).submit(edit)
    later = START + timedelta(minutes=3)
    proposal = Proposal.of("better", 2, 0, edited=True)
    second = opening(
        held_request(review),
        2,
        records(of, 4, 5),
        proposal=proposal,
        offer=OFFER,
        approvals=1,
        opened_at=later,
        decisions=(judged(edit, DecisionStatus.COUNTED),),
    )
    await ledger.open_review(second)
    await ledger.open_review(second)
    await ledger.open_review(review)  # an old attempt, late
    view = await read(database, review)
    assert (view.proposal, view.approvals, view.claimed_by) == (proposal, 1, None)
    assert await status_of(database, review, edit.decision_id) is DecisionStatus.COUNTED
    shown = await LedgerReader(database).versions(of, "acme")
    assert [(one.review_version, one.text, one.edited, one.opened_at) for one in shown] == [
        (1, "proposal 1\x00", False, START),
        (2, "better", True, later),
    ]
    assert [one.result_sha256 for one in shown] == [review.proposal.result_sha256, proposal.result_sha256]
    assert await LedgerReader(database).versions(of, "other") == []


async def test_a_version_never_shows_two_texts(database: Database, ledger: SqlLedger, review: ReviewOpening) -> None:
    other = opening(held_request(review), 1, records(review.request_id, 4, 5), text="something else")
    with pytest.raises(LedgerConflictError, match="another text"):
        await ledger.open_review(other)
    assert (await read(database, review)).proposal == review.proposal
    assert len(await LedgerReader(database).records(review.request_id, "acme")) == 3


async def test_a_rung_moves_the_review_and_takes_the_claim(
    database: Database, ledger: SqlLedger, review: ReviewOpening
) -> None:
    of = review.request_id
    moved = judgement(of, [record(of, 4, RecordKind.REASSIGNED)], moved=ReviewMove(queue="night", senior_only=False))
    await ledger.judge(moved)
    view = await read(database, review)
    assert (view.queue, view.senior_only, view.claimed_by) == ("night", False, None)
    await Claims(database).claim(of, "acme", "nora", LEASE, START)
    await ledger.judge(moved)  # an old attempt, late
    assert (await read(database, review)).claimed_by == "nora"


async def test_escalation_to_seniors_is_applied_and_the_review_goes_on(
    database: Database, ledger: SqlLedger, review: ReviewOpening
) -> None:
    of = review.request_id
    raised = decision(review, ReviewVerdict.ESCALATE, queue="board", decision_id="up")
    await DecisionOutbox(database).submit(raised)
    await ledger.judge(
        judgement(
            of,
            records(of, 4, 4),
            [judged(raised, DecisionStatus.APPLIED)],
            moved=ReviewMove(queue="board", senior_only=True),
            approvals=0,
        )
    )
    view = await read(database, review)
    assert (view.state, view.queue, view.senior_only) == (ReviewState.PENDING, "board", True)
    assert (view.decided_by, view.claimed_by, view.closed_at) == (None, None, None)
    assert await status_of(database, review, "up") is DecisionStatus.APPLIED


@pytest.mark.parametrize(
    ("outcome", "state", "by"),
    [
        (Outcome.REJECTED, ReviewState.DECIDED, ("sue", ReviewVerdict.REJECT)),
        (Outcome.EXPIRED, ReviewState.EXPIRED, (None, None)),
        (Outcome.CANCELLED, ReviewState.CANCELLED, (None, None)),
    ],
)
async def test_an_escalation_in_the_last_batch_does_not_pass_for_the_decision(
    outcome: Outcome,
    state: ReviewState,
    by: tuple[Any, Any],
    database: Database,
    ledger: SqlLedger,
    review: ReviewOpening,
) -> None:
    raised = judged(decision(review, ReviewVerdict.ESCALATE, queue="board"), DecisionStatus.APPLIED)
    last = judged(decision(review, ReviewVerdict.REJECT, reviewer="sue"), DecisionStatus.APPLIED)
    decisions = [raised, last] if outcome is Outcome.REJECTED else [raised]
    await ledger.end(ending(held_request(review), outcome, decisions=decisions))
    view = await read(database, review)
    assert (view.state, (view.decided_by, view.decided_verdict)) == (state, by)
    assert view.claimed_by is None


async def test_an_operator_has_another_model_asked_and_the_answer_comes_to_review_again(
    database: Database, ledger: SqlLedger, review: ReviewOpening
) -> None:
    of, force = review.request_id, order(review, OverrideAction.FORCE_MODEL, decision_id="force")
    await DecisionOutbox(database).submit(force)
    forced = judgement(of, records(of, 4, 4), status=Status.RUNNING, overrides=(overridden(force),))
    await ledger.judge(forced)
    closed, running = await read(database, review), await LedgerReader(database).request(of, "acme")
    assert (closed.state, closed.decided_by, closed.decided_verdict) == (ReviewState.OVERRIDDEN, "olga", None)
    assert closed.claimed_by is None
    assert running is not None
    assert running.status is Status.RUNNING
    assert await status_of(database, review, "force") is DecisionStatus.APPLIED
    await ledger.open_review(opening(held_request(review), 2, records(of, 5, 6)))
    await ledger.judge(forced)  # an old attempt, late
    again = await read(database, review)
    assert (again.state, again.proposal.review_version, again.decided_by) == (ReviewState.PENDING, 2, None)


async def test_an_operator_ends_a_held_request(database: Database, ledger: SqlLedger, review: ReviewOpening) -> None:
    late = decision(review, ReviewVerdict.APPROVE)
    force = order(review, OverrideAction.FORCE_SAFE_OUTPUT, decision_id="force")
    for one in (late, force):
        await DecisionOutbox(database).submit(one)
    await ledger.end(
        ending(
            held_request(review),
            Outcome.OVERRIDDEN,
            decisions=[judged(late, DecisionStatus.SUPERSEDED)],
            overrides=[overridden(None, DecisionStatus.MALFORMED), overridden(force)],
        )
    )
    view = await read(database, review)
    assert (view.state, view.decided_by) == (ReviewState.OVERRIDDEN, "olga")
    assert await status_of(database, review, "force") is DecisionStatus.APPLIED
    assert await status_of(database, review, late.decision_id) is DecisionStatus.SUPERSEDED


async def test_an_order_without_effect_leaves_a_held_review_as_it_is(
    database: Database, ledger: SqlLedger, review: ReviewOpening
) -> None:
    of, force = review.request_id, order(review, OverrideAction.FORCE_REVIEW, decision_id="force")
    await DecisionOutbox(database).submit(force)
    judged_order = overridden(force, DecisionStatus.INAPPLICABLE)
    await ledger.judge(judgement(of, records(of, 4, 4), overrides=(judged_order,)))
    view = await read(database, review)
    assert (view.state, view.claimed_by) == (ReviewState.PENDING, "rita")
    assert await status_of(database, review, "force") is DecisionStatus.INAPPLICABLE


async def test_an_order_on_a_running_request_opens_and_closes_no_review(
    database: Database, ledger: SqlLedger, review: ReviewOpening
) -> None:
    of, escalate = review.request_id, judged(decision(review, ReviewVerdict.ESCALATE), DecisionStatus.APPLIED)
    await ledger.judge(judgement(of, records(of, 4, 4), [escalate], Status.RUNNING))
    insist = overridden(order(review, OverrideAction.FORCE_REVIEW))
    await ledger.judge(judgement(of, records(of, 5, 5), status=Status.RUNNING, overrides=(insist,)))
    view = await read(database, review)
    assert (view.state, view.decided_by) == (ReviewState.DECIDED, "rita")


async def test_a_forged_order_settles_no_genuine_one(
    database: Database, ledger: SqlLedger, review: ReviewOpening
) -> None:
    of, genuine = review.request_id, order(review, OverrideAction.FORCE_REVIEW, decision_id="force")
    await DecisionOutbox(database).submit(genuine)
    forged = genuine.model_copy(update={"signature": "forged"})
    judged_orders = (
        overridden(forged, DecisionStatus.UNAUTHORISED),
        overridden(genuine, DecisionStatus.DUPLICATE),
    )
    await ledger.judge(judgement(of, records(of, 4, 4), overrides=judged_orders))
    assert await status_of(database, review, "force") is DecisionStatus.PENDING


async def test_a_payload_of_an_old_history_changes_nothing_it_does_not_name(
    database: Database, ledger: SqlLedger, review: ReviewOpening
) -> None:
    of = review.request_id
    new = judgement(of, records(of, 4, 4))
    old = type(new).model_validate_json(new.model_dump_json(exclude={"overrides", "moved", "approvals"}))
    await ledger.judge(old)
    view = await read(database, review)
    assert (view.queue, view.approvals, view.claimed_by) == ("default", 0, "rita")
    opened = opening(held_request(review), 2, records(of, 5, 5))
    new_fields = {"offer", "senior_only", "barred", "approvals", "decisions"}
    await ledger.open_review(type(opened).model_validate_json(opened.model_dump_json(exclude=new_fields)))
    again = await read(database, review)
    assert (again.offer, again.approvals_needed, again.senior_only, again.barred) == (ReviewOffer(), 1, False, ())
