"""Orders of people between the API and the Workflow: stored before they are signalled, until they are settled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal_column, select, update

from adapters.database import Database, insert_new
from adapters.decision_rows import (
    Order,
    OrderKind,
    SubmittedDecision,
    given_by,
    kind_of,
    order_row,
    read_order,
    submitted,
)
from adapters.sql_ledger import append_records
from adapters.tables import DecisionRecordRow, DecisionRow, table
from domain.errors import LedgerConflictError, SluiceError
from domain.ledger import DecisionRecord, RecordKind
from domain.review import DecisionStatus

__all__ = ["DecisionConflictError", "DecisionOutbox", "SubmittedDecision"]

_decisions = table(DecisionRow)
_records = table(DecisionRecordRow)

_NOT_CONTENT = {"decided_at", "signature"}
"""What differs where the same order is sent again."""
_RECORDED = {
    OrderKind.DECISION: {"decision_id", "verdict", "reason", "result_sha256", "review_version", "decided_at"}
    | {"on_behalf_of", "overrule", "queue"},
    OrderKind.OVERRIDE: {"decision_id", "action", "stage", "reason", "decided_at"},
}


class DecisionConflictError(SluiceError):
    """A decision's id was used before, for another decision or override on the same request."""


class DecisionOutbox:
    """Keeps orders until their Signal is acknowledged, so that none is lost between database and Temporal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(self, envelope: Order) -> tuple[SubmittedDecision, bool]:
        """Store a signed order; and whether it is new. A known one comes back as it was first stored.

        Raises ``DecisionConflictError`` if its id stands for another order on this request. **Correctness:** of many
        submissions with one id, at once or later, exactly one is new.
        """
        row = order_row(envelope, datetime.now(UTC))
        return await self._database.write(partial(_store, envelope=envelope, row=row))

    async def refuse(self, envelope: Order, because: str) -> SubmittedDecision:
        """Store an order of somebody who may not give it, so that it is seen in the record; it is never signalled.

        Raises ``DecisionConflictError`` as ``submit`` does. **Correctness:** again is no change, and what was taken in
        or refused under this id before stays what it was.
        """
        now = datetime.now(UTC)
        settled = {"status": DecisionStatus.UNAUTHORISED.value, "because": because, "settled_at": now}
        row = order_row(envelope, now) | settled
        stored, _ = await self._database.write(partial(_store, envelope=envelope, row=row))
        return stored

    async def mark_sent(self, request_id: str, decision_id: str) -> None:
        """Note that Temporal acknowledged the Signal. Again is no change."""
        statement = (
            update(_decisions)
            .where(
                _decisions.c.request_id == request_id,
                _decisions.c.decision_id == decision_id,
                _decisions.c.sent_at.is_(None),
            )
            .values(sent_at=datetime.now(UTC))
        )
        await self._database.write(lambda connection: connection.execute(statement).rowcount)

    async def unsent(self, older_than: timedelta, limit: int) -> list[Order]:
        """Pending orders submitted longer ago than ``older_than`` whose Signal was not acknowledged, oldest first.

        **Correctness:** two processes may be given the same one; the Workflow drops the second Signal as a duplicate.
        """
        # Written out, not bound: only then does a database see that its index of pending ones holds all of these.
        pending: ColumnElement[str] = literal_column(f"'{DecisionStatus.PENDING}'")
        statement = (
            select(_decisions.c.kind, _decisions.c.envelope)
            .where(
                _decisions.c.status == pending,
                _decisions.c.sent_at.is_(None),
                _decisions.c.submitted_at <= datetime.now(UTC) - older_than,
            )
            .order_by(_decisions.c.submitted_at)
            .limit(limit)
        )
        found = await self._database.read(lambda connection: connection.execute(statement).all())
        return [read_order(row.kind, row.envelope) for row in found]

    async def settle_late(self, envelope: Order, because: str) -> None:
        """Record that an order came after its Workflow had closed.

        Only for a closed Workflow: an open one numbers its records itself. An order that was settled before keeps
        its status. **Correctness:** status and record are one transaction; again is no change.
        """
        await self._database.write(partial(_settle_late, envelope=envelope, because=because))


def _store(connection: Connection, envelope: Order, row: dict[str, Any]) -> tuple[SubmittedDecision, bool]:
    if insert_new(connection, _decisions, [row], "decision_id"):
        new = SubmittedDecision(
            envelope=envelope,
            status=DecisionStatus(row["status"]),
            because=row["because"],
            submitted_at=row["submitted_at"],
            settled_at=row["settled_at"],
        )
        return new, True
    of_envelope = (_decisions.c.request_id == envelope.request_id, _decisions.c.decision_id == envelope.decision_id)
    known = submitted(connection.execute(select(_decisions).where(*of_envelope)).one())
    if known.envelope.model_dump(exclude=_NOT_CONTENT) != envelope.model_dump(exclude=_NOT_CONTENT):
        raise DecisionConflictError("'decision_id' was used before for another order on this request; take a new one")
    return known, False


def _settle_late(connection: Connection, envelope: Order, because: str) -> None:
    at = datetime.now(UTC)
    settled = {"status": DecisionStatus.LATE.value, "because": because, "settled_at": at}
    # An order that never went through the outbox is entered first, so that it is settled, and recorded, once.
    insert_new(connection, _decisions, [order_row(envelope, at)], "decision_id")
    changed = connection.execute(
        update(_decisions)
        .where(
            _decisions.c.request_id == envelope.request_id,
            _decisions.c.decision_id == envelope.decision_id,
            _decisions.c.status == DecisionStatus.PENDING.value,
        )
        .values(settled)
    )
    if changed.rowcount:
        _append_at_end(connection, envelope, because, at)


def _append_at_end(connection: Connection, envelope: Order, because: str, at: datetime) -> None:
    """Append the record under the first free sequence, also while another process appends one."""
    last = select(func.max(_records.c.sequence)).where(_records.c.request_id == envelope.request_id)
    kind = kind_of(envelope)
    data = {"status": DecisionStatus.LATE.value} | envelope.model_dump(
        mode="json", include=_RECORDED[kind], exclude_none=True
    )
    override = kind is OrderKind.OVERRIDE
    for _ in range(100):
        record = DecisionRecord(
            request_id=envelope.request_id,
            sequence=(connection.execute(last).scalar() or 0) + 1,
            at=at,
            kind=RecordKind.OVERRIDE_JUDGED if override else RecordKind.DECISION_JUDGED,
            rationale=f"{DecisionStatus.LATE}: {because}",
            actor=f"{'operator' if override else 'reviewer'}:{given_by(envelope)}",
            data=data,
        )
        try:
            append_records(connection, envelope.request_id, [record])
        except LedgerConflictError:
            continue  # another process took this sequence first
        return
    raise LedgerConflictError(f"no free place for another record of {envelope.request_id}")
