"""Activities run at least once: whatever earlier commits are repeated, whenever, the ledger reads the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.database import Database
from adapters.decision_outbox import DecisionOutbox, SubmittedDecision
from adapters.ledger_reader import LedgerReader
from adapters.sql_ledger import SqlLedger
from domain.ledger import RecordKind, ReviewMove
from domain.override import OverrideAction
from domain.request import CascadeInput, Outcome, Status
from domain.review import DecisionStatus, ReviewVerdict
from tests.adapters.ledger_examples import (
    START,
    admission,
    ending,
    judged,
    judgement,
    opening,
    order,
    overridden,
    record,
    records,
)
from tests.examples import decision, request

Commit = Callable[[], Awaitable[Any]]


def life(database: Database, asked: CascadeInput) -> list[Commit]:
    """A request that is held, reminded of, sent on, held again, moved, edited, overridden, held again and approved.

    With decisions that fail, one of somebody who may not decide, and orders without effect.
    """
    ledger, outbox, of = SqlLedger(database), DecisionOutbox(database), asked.request_id
    first, second = opening(asked), opening(asked, 2, records(of, 7, 8))
    stale = decision(first, ReviewVerdict.APPROVE, result_sha256="0" * 64, decision_id="stale")
    send_on = decision(first, ReviewVerdict.ESCALATE, decision_id="on")
    escalated = [judged(stale, DecisionStatus.STALE), judged(send_on, DecisionStatus.APPLIED)]
    edit = decision(second, ReviewVerdict.EDIT, output="better", decision_id="edit")
    counted = (judged(edit, DecisionStatus.COUNTED),)
    third = opening(asked, 3, records(of, 10, 11), text="better", decisions=counted, approvals=1)
    refused = decision(third, ReviewVerdict.APPROVE, reviewer="shop", decision_id="refused")
    force = order(third, OverrideAction.FORCE_MODEL, decision_id="force")
    idle = order(third, OverrideAction.FORCE_REVIEW, decision_id="idle")
    orders = (overridden(idle, DecisionStatus.INAPPLICABLE), overridden(force))
    fourth = opening(asked, 4, records(of, 13, 14))
    approve = decision(fourth, ReviewVerdict.APPROVE, decision_id="yes")
    late = decision(fourth, ReviewVerdict.REJECT, decision_id="late")
    approved = [judged(stale, DecisionStatus.DUPLICATE), judged(approve, DecisionStatus.APPLIED)]
    moved = ReviewMove(queue="night", senior_only=True)
    return [
        lambda: ledger.admit(admission(asked)),
        lambda: ledger.open_review(first),
        lambda: outbox.submit(stale),
        lambda: outbox.submit(send_on),
        lambda: ledger.judge(judgement(of, [record(of, 4, RecordKind.REMINDED)])),
        lambda: ledger.judge(judgement(of, records(of, 5, 6), escalated, Status.RUNNING)),
        lambda: ledger.open_review(second),
        lambda: outbox.submit(edit),
        lambda: ledger.judge(judgement(of, records(of, 9, 9), moved=moved, approvals=0)),
        lambda: ledger.open_review(third),
        lambda: outbox.refuse(refused, "made this request"),
        lambda: outbox.submit(force),
        lambda: outbox.submit(idle),
        lambda: ledger.judge(judgement(of, records(of, 12, 12), status=Status.RUNNING, overrides=orders)),
        lambda: ledger.open_review(fourth),
        lambda: outbox.submit(approve),
        lambda: outbox.submit(late),
        lambda: ledger.end(ending(asked, Outcome.APPROVED, records(of, 15, 16), approved)),
        lambda: ledger.judge(judgement(of, records(of, 17, 17), [judged(late, DecisionStatus.LATE)])),
    ]


async def picture(database: Database, asked: CascadeInput) -> list[Any]:
    """All that can be read of a request, without what differs between two lives of the same kind."""
    reader, of = LedgerReader(database), asked.request_id
    view, review = await reader.request(of, "acme"), await reader.review(of, "acme", START)
    assert view is not None
    assert review is not None
    return [
        view.model_dump(exclude={"request_id", "created_at"}),
        review.model_dump(exclude={"request_id"}),
        [one.model_dump(exclude={"request_id"}) for one in await reader.records(of, "acme")],
        [one.model_dump() for one in await reader.versions(of, "acme")],
        sorted((one.envelope.decision_id, one.status, _settled(one)) for one in await reader.decisions(of, "acme")),
    ]


def _settled(one: SubmittedDecision) -> datetime | None:
    """When the ledger settled it; a refusal is settled by the outbox, whenever that runs."""
    return None if one.status is DecisionStatus.UNAUTHORISED else one.settled_at


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_repeated_commits_change_nothing(data: st.DataObject, database: Database) -> None:
    plain, repeated = request(), request()
    for commit in life(database, plain):
        await commit()
    commits = life(database, repeated)
    for place, commit in enumerate(commits):
        await commit()
        for again in data.draw(st.lists(st.integers(0, place), max_size=3)):
            await commits[again]()
    assert await picture(database, repeated) == await picture(database, plain)
