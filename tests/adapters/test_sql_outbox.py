"""Submitted decisions: stored once, signalled until acknowledged, settled once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from adapters.database import Database
from adapters.decision_outbox import DecisionConflictError, DecisionOutbox
from adapters.ledger_reader import LedgerReader
from adapters.sql_ledger import SqlLedger
from domain.ledger import RecordKind, ReviewOpening
from domain.request import Outcome
from domain.review import DecisionStatus, ReviewVerdict
from tests.adapters.ledger_examples import admission, ending, judged, opening
from tests.examples import decision, request

NOW = timedelta(0)


@pytest.fixture
def outbox(database: Database) -> DecisionOutbox:
    return DecisionOutbox(database)


@pytest.fixture
async def held(database: Database) -> ReviewOpening:
    asked = request()
    ledger, review = SqlLedger(database), opening(asked)
    await ledger.admit(admission(asked))
    await ledger.open_review(review)
    return review


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


async def test_a_late_decision_is_settled_and_recorded_once(
    database: Database, outbox: DecisionOutbox, held: ReviewOpening
) -> None:
    ledger, reader = SqlLedger(database), LedgerReader(database)
    asked = request().model_copy(update={"request_id": held.request_id})
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
