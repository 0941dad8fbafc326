"""The ledger in SQL: every method once, twice, in the wrong order, and against what is stored."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from adapters.database import Database
from adapters.decision_outbox import DecisionOutbox
from adapters.ledger_reader import LedgerReader
from adapters.sql_ledger import SqlLedger
from adapters.tables import ReleaseRow, table
from domain.errors import LedgerConflictError
from domain.ledger import RecordKind
from domain.request import CascadeInput, Outcome, RequestBody, Status
from domain.review import DecisionStatus, ReviewState, ReviewVerdict
from domain.risk import RiskTier
from domain.stage import Spent
from tests.adapters.ledger_examples import (
    START,
    admission,
    ending,
    judged,
    judgement,
    opening,
    record,
    records,
)
from tests.examples import decision, request


@pytest.fixture
def ledger(database: Database) -> SqlLedger:
    return SqlLedger(database)


@pytest.fixture
def reader(database: Database) -> LedgerReader:
    return LedgerReader(database)


@pytest.fixture
async def admitted(ledger: SqlLedger) -> CascadeInput:
    asked = request(subject="parcel 7", context={"country": "DE", "weight": 1.5})
    await ledger.admit(admission(asked))
    return asked


async def test_admission_shows_a_running_request_to_its_tenant_only(
    admitted: CascadeInput, reader: LedgerReader
) -> None:
    view = await reader.request(admitted.request_id, "acme")
    assert view is not None
    assert (view.status, view.outcome, view.risk, view.output) == (Status.RUNNING, None, None, None)
    assert view.created_at == admitted.submitted_at
    assert view.body == admitted.body
    assert view.body_sha256 == admitted.body.sha256()
    assert view.cost_usd == 0
    assert await reader.request(admitted.request_id, "other") is None


async def test_admission_again_changes_nothing_and_another_run_is_a_conflict(
    admitted: CascadeInput, ledger: SqlLedger
) -> None:
    await ledger.admit(admission(admitted))
    with pytest.raises(LedgerConflictError, match="another run"):
        await ledger.admit(admission(admitted, run_id="run-2"))
    other = admitted.model_copy(update={"body": RequestBody(policy="plain", input="something else")})
    with pytest.raises(LedgerConflictError):
        await ledger.admit(admission(other))


async def test_a_held_request_tells_what_it_has_cost_so_far(
    admitted: CascadeInput, ledger: SqlLedger, reader: LedgerReader
) -> None:
    spent = Spent(cost_usd=Decimal("0.00003"), attempts=2, tokens=60)
    held = opening(admitted, spent=spent, baseline_cost_usd=Decimal("0.0003"), stages_attempted=2)
    await ledger.open_review(held)
    view = await reader.request(admitted.request_id, admitted.tenant)
    assert view is not None
    assert (view.status, view.cost_usd, view.baseline_cost_usd) == (Status.HELD, spent.cost_usd, held.baseline_cost_usd)
    assert (view.stages_attempted, view.tokens) == (2, 60)


async def test_an_end_without_a_hold(admitted: CascadeInput, ledger: SqlLedger, reader: LedgerReader) -> None:
    end = ending(admitted, appended=records(admitted.request_id, 1, 8), output="a\x00b 'quoted' ü")
    await ledger.end(end)
    await ledger.end(end)
    view = await reader.request(admitted.request_id, "acme")
    assert view is not None
    assert (view.status, view.outcome) == (Status.COMPLETED, Outcome.ACCEPTED)
    assert (view.risk, view.ended_at, view.tokens) == (RiskTier.LOW, end.ended_at, 30)
    assert view.output == "a\x00b 'quoted' ü"
    assert view.cost_usd == Decimal("0.000000000000000000001")
    assert view.baseline_cost_usd == Decimal("12345678901234567890.5")
    assert await reader.records(admitted.request_id, "acme") == list(end.records)
    assert await reader.records(admitted.request_id, "other") == []
    assert await reader.review(admitted.request_id, "acme", START) is None


async def test_a_second_different_end_is_a_conflict_and_stores_nothing(
    admitted: CascadeInput, ledger: SqlLedger, reader: LedgerReader
) -> None:
    await ledger.end(ending(admitted))
    with pytest.raises(LedgerConflictError, match="another result"):
        await ledger.end(ending(admitted, output="another answer", appended=records(admitted.request_id, 6, 7)))
    view = await reader.request(admitted.request_id, "acme")
    assert view is not None
    assert view.output == "the answer"
    assert [entry.sequence for entry in await reader.records(admitted.request_id, "acme")] == [4, 5]


async def test_one_release_however_many_ends_come_at_once(
    admitted: CascadeInput, database_url: str, database: Database, reader: LedgerReader
) -> None:
    second = Database(database_url)
    try:
        ledgers = [SqlLedger(database), SqlLedger(second)]
        answers = await asyncio.gather(
            *(ledgers[number % 2].end(ending(admitted, output=f"answer {number}")) for number in range(20)),
            return_exceptions=True,
        )
    finally:
        await second.close()
    winners = [number for number, answer in enumerate(answers) if answer is None]
    assert len(winners) == 1
    assert all(isinstance(answer, LedgerConflictError) for answer in answers if answer is not None)
    view = await reader.request(admitted.request_id, "acme")
    assert view is not None
    assert view.output == f"answer {winners[0]}"
    count = select(func.count()).select_from(table(ReleaseRow))
    assert await database.read(lambda connection: connection.execute(count).scalar_one()) == 1


async def test_many_processes_append_at_once(database: Database, database_url: str, reader: LedgerReader) -> None:
    second = Database(database_url)
    ledgers = [SqlLedger(database), SqlLedger(second)]

    async def live(number: int) -> CascadeInput:
        asked, ledger, other = request(), ledgers[number % 2], ledgers[(number + 1) % 2]
        await ledger.admit(admission(asked))
        await asyncio.gather(ledger.open_review(opening(asked)), other.open_review(opening(asked)))
        await asyncio.gather(ledger.end(ending(asked)), other.end(ending(asked)))
        return asked

    try:
        lives = await asyncio.gather(*(live(number) for number in range(30)))
    finally:
        await second.close()
    for asked in lives:
        found = await reader.records(asked.request_id, "acme")
        assert [entry.sequence for entry in found] == [1, 2, 3, 4, 5]


async def test_nothing_is_committed_for_a_request_that_was_never_admitted(
    ledger: SqlLedger, reader: LedgerReader
) -> None:
    unknown = request()
    for commit in (
        ledger.open_review(opening(unknown)),
        ledger.judge(judgement(unknown.request_id, records(unknown.request_id, 1, 1))),
        ledger.end(ending(unknown)),
    ):
        with pytest.raises(LedgerConflictError, match="never admitted"):
            await commit
    assert await reader.records(unknown.request_id, "acme") == []


async def test_a_record_is_never_replaced(admitted: CascadeInput, ledger: SqlLedger, reader: LedgerReader) -> None:
    request_id = admitted.request_id
    await ledger.open_review(opening(admitted))
    changed = (record(request_id, 3, rationale="something else"), record(request_id, 4))
    with pytest.raises(LedgerConflictError, match="record 3"):
        await ledger.judge(judgement(request_id, changed))
    with pytest.raises(LedgerConflictError, match="same sequence"):
        await ledger.judge(judgement(request_id, (record(request_id, 4), record(request_id, 4, rationale="twice"))))
    with pytest.raises(LedgerConflictError, match="another request"):
        await ledger.judge(judgement(request_id, (record("req_other", 4),)))
    assert [entry.sequence for entry in await reader.records(request_id, "acme")] == [1, 2, 3]


async def test_a_hold_and_its_approval(
    admitted: CascadeInput, database: Database, ledger: SqlLedger, reader: LedgerReader
) -> None:
    review = opening(admitted)
    await ledger.open_review(review)
    held = await reader.request(admitted.request_id, "acme")
    assert held is not None
    assert held.status is Status.HELD
    shown = await reader.review(admitted.request_id, "acme", START)
    assert shown is not None
    assert shown.state is ReviewState.PENDING
    assert shown.proposal == review.proposal
    assert shown.messages == admitted.body.conversation()
    assert (shown.expires_at, shown.opened_at) == (review.expires_at, review.opened_at)

    approval = decision(review, ReviewVerdict.APPROVE)
    await DecisionOutbox(database).submit(approval)
    end = ending(admitted, Outcome.APPROVED, decisions=[judged(approval, DecisionStatus.APPLIED)])
    await ledger.end(end)
    await ledger.open_review(review)  # an old attempt, late
    after = await reader.review(admitted.request_id, "acme", START)
    assert after is not None
    assert (after.state, after.decided_by, after.decided_verdict) == (
        ReviewState.DECIDED,
        "rita",
        ReviewVerdict.APPROVE,
    )
    assert after.closed_at == end.ended_at
    settled = await reader.decision(admitted.request_id, approval.decision_id)
    assert settled is not None
    assert (settled.status, settled.because, settled.settled_at) == (DecisionStatus.APPLIED, "said so", end.ended_at)
    released = await reader.request(admitted.request_id, "acme")
    assert released is not None
    assert released.status is Status.COMPLETED


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.EXPIRED, ReviewState.EXPIRED),
        (Outcome.CANCELLED, ReviewState.CANCELLED),
        (Outcome.FAILED, ReviewState.CANCELLED),
    ],
)
async def test_a_hold_that_nobody_decided(
    outcome: Outcome, state: ReviewState, admitted: CascadeInput, ledger: SqlLedger, reader: LedgerReader
) -> None:
    await ledger.open_review(opening(admitted))
    await ledger.end(ending(admitted, outcome))
    review = await reader.review(admitted.request_id, "acme", START)
    assert review is not None
    assert (review.state, review.decided_by) == (state, None)


async def test_a_hold_cannot_be_opened_after_the_end(
    admitted: CascadeInput, ledger: SqlLedger, reader: LedgerReader
) -> None:
    await ledger.end(ending(admitted))
    with pytest.raises(LedgerConflictError, match="has ended"):
        await ledger.open_review(opening(admitted))
    assert await reader.review(admitted.request_id, "acme", START) is None
    assert [entry.sequence for entry in await reader.records(admitted.request_id, "acme")] == [4, 5]


async def test_escalation_by_a_reviewer_and_a_second_hold(
    admitted: CascadeInput, ledger: SqlLedger, reader: LedgerReader
) -> None:
    request_id = admitted.request_id
    first = opening(admitted)
    await ledger.open_review(first)
    escalate = judged(decision(first, ReviewVerdict.ESCALATE), DecisionStatus.APPLIED)
    sent_on = judgement(request_id, records(request_id, 4, 4), [escalate], Status.RUNNING)
    await ledger.judge(sent_on)
    closed = await reader.review(request_id, "acme", START)
    assert closed is not None
    assert (closed.state, closed.decided_verdict) == (ReviewState.DECIDED, ReviewVerdict.ESCALATE)
    second = opening(admitted, 2, records(request_id, 5, 6))
    await ledger.open_review(second)
    await ledger.judge(sent_on)  # old attempts, late
    await ledger.open_review(first)
    held, review = await reader.request(request_id, "acme"), await reader.review(request_id, "acme", START)
    assert held is not None
    assert review is not None
    assert held.status is Status.HELD
    assert (review.state, review.proposal, review.decided_by) == (ReviewState.PENDING, second.proposal, None)


async def test_reminders_are_counted_once(admitted: CascadeInput, ledger: SqlLedger, reader: LedgerReader) -> None:
    await ledger.open_review(opening(admitted))
    for sequence in (4, 5):
        reminder = judgement(admitted.request_id, [record(admitted.request_id, sequence, RecordKind.REMINDED)])
        await ledger.judge(reminder)
        await ledger.judge(reminder)
    review = await reader.review(admitted.request_id, "acme", START)
    assert review is not None
    assert review.reminders == 2


async def test_decisions_judged_after_the_end_are_recorded_and_change_nothing_else(
    admitted: CascadeInput, database: Database, ledger: SqlLedger, reader: LedgerReader
) -> None:
    review = opening(admitted)
    await ledger.open_review(review)
    late = decision(review, ReviewVerdict.REJECT)
    await DecisionOutbox(database).submit(late)
    await ledger.end(ending(admitted, Outcome.EXPIRED))
    request_id = admitted.request_id
    await ledger.judge(
        judgement(request_id, records(request_id, 6, 6), [judged(late, DecisionStatus.LATE)], Status.REFUSED)
    )
    view, settled = await reader.request(request_id, "acme"), await reader.decision(request_id, late.decision_id)
    assert view is not None
    assert settled is not None
    assert (view.status, settled.status) == (Status.REFUSED, DecisionStatus.LATE)
    await ledger.judge(judgement(request_id, records(request_id, 7, 7), status=Status.RUNNING))
    ended = await reader.request(request_id, "acme")
    assert ended is not None
    assert ended.status is Status.REFUSED


async def test_neither_a_duplicate_nor_a_forgery_settles_a_genuine_decision(
    admitted: CascadeInput, database: Database, ledger: SqlLedger, reader: LedgerReader
) -> None:
    review, request_id = opening(admitted), admitted.request_id
    await ledger.open_review(review)
    genuine = decision(review, ReviewVerdict.APPROVE)
    await DecisionOutbox(database).submit(genuine)
    forged = genuine.model_copy(update={"signature": "forged"})

    async def status() -> DecisionStatus:
        found = await reader.decision(request_id, genuine.decision_id)
        assert found is not None
        return found.status

    early = [
        judged(forged, DecisionStatus.UNAUTHORISED),
        judged(genuine, DecisionStatus.DUPLICATE),
        judged(None, DecisionStatus.MALFORMED),
        judged(decision(review, ReviewVerdict.REJECT), DecisionStatus.STALE),  # never submitted to the API
    ]
    await ledger.judge(judgement(request_id, records(request_id, 4, 4), early))
    assert await status() is DecisionStatus.PENDING
    await ledger.judge(
        judgement(request_id, records(request_id, 5, 5), [judged(genuine, DecisionStatus.APPLIED)], Status.RUNNING)
    )
    await ledger.judge(judgement(request_id, records(request_id, 6, 6), [judged(genuine, DecisionStatus.STALE)]))
    assert await status() is DecisionStatus.APPLIED
    assert len(await reader.decisions(request_id, "acme")) == 1
