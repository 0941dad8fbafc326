"""Submitted decisions: stored once, signalled until acknowledged, settled once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from adapters.database import Database
from adapters.decision_outbox import DecisionConflictError, DecisionOutbox
from adapters.decision_rows import OrderKind
from adapters.ledger_reader import LedgerReader
from adapters.sql_ledger import SqlLedger
from adapters.tables import DecisionRow, table
from domain.ledger import RecordKind, ReviewOpening
from domain.override import OverrideAction
from domain.request import Outcome
from domain.review import DecisionStatus, ReviewVerdict
from tests.adapters.ledger_examples import ending, held_request, hold, judged, order
from tests.adapters.statements import plan_of
from tests.examples import decision

NOW = timedelta(0)


@pytest.fixture
def outbox(database: Database) -> DecisionOutbox:
    return DecisionOutbox(database)


@pytest.fixture
async def held(database: Database) -> ReviewOpening:
    return await hold(database)


async def test_a_decision_is_new_once(outbox: DecisionOutbox, held: ReviewOpening) -> None:
    envelope = decision(held, ReviewVerdict.EDIT, output="better", decision_id="d-1")
    answers = await asyncio.gather(*(outbox.submit(envelope) for _ in range(50)))
    assert sum(created for _, created in answers) == 1
    assert {stored.envelope for stored, _ in answers} == {envelope}
    assert {stored.status for stored, _ in answers} == {DecisionStatus.PENDING}


async def test_a_decision_submitted_again_comes_back_as_first_stored(
    outbox: DecisionOutbox, held: ReviewOpening
) -> None:
    envelope = decision(held, ReviewVerdict.APPROVE)
    await outbox.submit(envelope)
    later = envelope.model_copy(update={"decided_at": held.opened_at + timedelta(hours=1), "signature": "newer"})
    assert (await outbox.submit(later))[0].envelope == envelope


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": ReviewVerdict.REJECT},
        {"reason": "another"},
        {"result_sha256": "0" * 64},
        {"review_version": 2},
        {"verdict": ReviewVerdict.EDIT, "output": "text"},
        {"reviewer": "rolf"},
        {"on_behalf_of": "rolf"},
        {"verdict": ReviewVerdict.ESCALATE, "queue": "board"},
        {"verdict": ReviewVerdict.REVISE, "instruction": "shorter"},
        {"verdict": ReviewVerdict.EDIT, "overrule": ("terms",)},
    ],
)
async def test_an_id_used_for_another_decision_is_a_conflict(
    change: dict[str, object], outbox: DecisionOutbox, held: ReviewOpening
) -> None:
    envelope = decision(held, ReviewVerdict.APPROVE)
    await outbox.submit(envelope)
    with pytest.raises(DecisionConflictError, match="decision_id"):
        await outbox.submit(envelope.model_copy(update=change))


async def test_unsent_decisions_are_given_out_until_they_are_sent(outbox: DecisionOutbox, held: ReviewOpening) -> None:
    first, second = decision(held, ReviewVerdict.APPROVE), decision(held, ReviewVerdict.REJECT)
    await outbox.submit(first)
    await outbox.submit(second)
    assert await outbox.unsent(timedelta(hours=1), 10) == []
    assert await outbox.unsent(NOW, 10) == [first, second]
    assert await outbox.unsent(NOW, 1) == [first]
    await outbox.mark_sent(first.request_id, first.decision_id)
    await outbox.mark_sent(first.request_id, first.decision_id)
    assert await outbox.unsent(NOW, 10) == [second]


async def test_an_order_is_kept_and_given_out_like_a_decision(outbox: DecisionOutbox, held: ReviewOpening) -> None:
    decided = decision(held, ReviewVerdict.APPROVE, on_behalf_of="rolf")
    ordered = order(held, OverrideAction.FORCE_MODEL)
    for one in (decided, ordered):
        stored, created = await outbox.submit(one)
        assert created
        assert stored.envelope == one
        assert (await outbox.submit(one))[0] == stored
    assert await outbox.unsent(NOW, 10) == [decided, ordered]


async def test_the_record_tells_orders_from_decisions(
    database: Database, outbox: DecisionOutbox, held: ReviewOpening
) -> None:
    await outbox.submit(decision(held, ReviewVerdict.APPROVE, on_behalf_of="rolf"))
    await outbox.submit(order(held, OverrideAction.FORCE_REVIEW))
    found = await LedgerReader(database).decisions(held.request_id, "acme")
    assert [one.kind for one in found] == [OrderKind.DECISION, OrderKind.OVERRIDE]
    rows = await database.read(lambda connection: connection.execute(table(DecisionRow).select()).all())
    assert {(row.kind, row.reviewer, row.on_behalf_of) for row in rows} == {
        ("decision", "rita", "rolf"),
        ("override", "olga", None),
    }


async def test_one_id_stands_for_a_decision_or_for_an_order(outbox: DecisionOutbox, held: ReviewOpening) -> None:
    await outbox.submit(order(held, OverrideAction.FORCE_REVIEW, decision_id="d-1"))
    for other in (
        decision(held, ReviewVerdict.APPROVE, decision_id="d-1"),
        order(held, OverrideAction.FORCE_SAFE_OUTPUT, decision_id="d-1"),
    ):
        with pytest.raises(DecisionConflictError, match="decision_id"):
            await outbox.submit(other)
        with pytest.raises(DecisionConflictError, match="decision_id"):
            await outbox.refuse(other, "may not")


async def test_what_somebody_may_not_decide_is_settled_at_once_and_never_sent(
    database: Database, outbox: DecisionOutbox, held: ReviewOpening
) -> None:
    refused = decision(held, ReviewVerdict.APPROVE, reviewer="shop")
    first = await outbox.refuse(refused, "made this request")
    assert (first.status, first.because) == (DecisionStatus.UNAUTHORISED, "made this request")
    assert first.settled_at is not None
    assert await outbox.refuse(refused, "another reason") == first
    assert await outbox.submit(refused) == (first, False)
    assert await outbox.unsent(NOW, 10) == []
    assert await LedgerReader(database).decisions(held.request_id, "acme") == [first]


async def test_refusing_takes_back_nothing_that_was_let_through(outbox: DecisionOutbox, held: ReviewOpening) -> None:
    envelope = decision(held, ReviewVerdict.APPROVE)
    await outbox.submit(envelope)
    assert (await outbox.refuse(envelope, "no reviewer any more")).status is DecisionStatus.PENDING
    assert await outbox.unsent(NOW, 10) == [envelope]


async def test_a_late_decision_is_settled_and_recorded_once(
    database: Database, outbox: DecisionOutbox, held: ReviewOpening
) -> None:
    ledger, reader = SqlLedger(database), LedgerReader(database)
    asked = held_request(held)
    in_time, late = decision(held, ReviewVerdict.APPROVE), decision(held, ReviewVerdict.REJECT)
    await outbox.submit(in_time)
    await outbox.submit(late)
    await ledger.end(ending(asked, Outcome.APPROVED, decisions=[judged(in_time, DecisionStatus.APPLIED)]))
    unknown = decision(held, ReviewVerdict.REJECT)
    await asyncio.gather(*(outbox.settle_late(one, "it had ended") for one in (late, unknown, in_time) * 3))
    found = await reader.records(held.request_id, "acme")
    assert [record.sequence for record in found] == [1, 2, 3, 4, 5, 6, 7]
    assert {record.data.get("decision_id") for record in found[5:]} == {late.decision_id, unknown.decision_id}
    assert {(record.kind, record.actor) for record in found[5:]} == {(RecordKind.DECISION_JUDGED, "reviewer:rita")}
    statuses = {one.envelope.decision_id: one.status for one in await reader.decisions(held.request_id, "acme")}
    assert statuses == {
        in_time.decision_id: DecisionStatus.APPLIED,
        late.decision_id: DecisionStatus.LATE,
        unknown.decision_id: DecisionStatus.LATE,
    }
    assert await reader.decisions(held.request_id, "other") == []
    assert await outbox.unsent(NOW, 10) == []


async def test_a_late_order_is_recorded_as_the_operators(
    database: Database, outbox: DecisionOutbox, held: ReviewOpening
) -> None:
    ordered = order(held, OverrideAction.FORCE_MODEL)
    await outbox.submit(ordered)
    await SqlLedger(database).end(ending(held_request(held), Outcome.EXPIRED))
    for _ in range(2):
        await outbox.settle_late(ordered, "it had ended")
    last = (await LedgerReader(database).records(held.request_id, "acme"))[5:]
    assert [(record.kind, record.actor) for record in last] == [(RecordKind.OVERRIDE_JUDGED, "operator:olga")]
    assert last[0].data == {
        "status": "late",
        "decision_id": ordered.decision_id,
        "action": "force_model",
        "stage": "large",
        "reason": ordered.reason,
        "decided_at": ordered.model_dump(mode="json")["decided_at"],
    }


async def test_finding_what_is_unsent_reads_only_what_is_pending(sqlite_database: Database) -> None:
    """However many decisions were judged before their Signal was marked as sent."""
    outbox = DecisionOutbox(sqlite_database)
    plans = await plan_of(sqlite_database, lambda: outbox.unsent(NOW, 10))
    assert [step for plan in plans for step in plan] == [
        "SEARCH decisions USING INDEX ix_decisions_submitted_at (submitted_at<?)"
    ]
