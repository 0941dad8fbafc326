"""Reviewers' decisions between the API and the Workflow: stored before they are signalled, until they are settled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from adapters.database import Database, insert_new
from adapters.sql_ledger import append_records, envelope_digest
from adapters.tables import DecisionRecordRow, DecisionRow, table
from domain.errors import LedgerConflictError, SluiceError
from domain.ledger import DecisionRecord, RecordKind
from domain.payload import Payload
from domain.review import DecisionEnvelope, DecisionStatus

_decisions = table(DecisionRow)
_records = table(DecisionRecordRow)

_CONTENT = {"verdict", "reason", "result_sha256", "review_version", "output", "reviewer", "tenant"}


class DecisionConflictError(SluiceError):
    """A decision's id was used before, for another decision on the same request."""


class SubmittedDecision(Payload):
    """A decision that the API accepted, and what became of it. ``because`` is empty while it is pending."""

    envelope: DecisionEnvelope
    status: DecisionStatus
    because: str
    submitted_at: datetime
    settled_at: datetime | None


class DecisionOutbox:
    """Keeps decisions until their Signal is acknowledged, so that none is lost between database and Temporal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(self, envelope: DecisionEnvelope) -> tuple[SubmittedDecision, bool]:
        """Store a signed decision; and whether it is new. A known one comes back as it was first stored.

        Raises ``DecisionConflictError`` if its id stands for another decision on this request. **Correctness:** of
        many submissions with one id, at once or later, exactly one is new.
        """
        return await self._database.write(partial(_submit, envelope=envelope))

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

    async def unsent(self, older_than: timedelta, limit: int) -> list[DecisionEnvelope]:
        """Pending decisions submitted longer ago than ``older_than`` whose Signal was not acknowledged, oldest first.

        **Correctness:** two processes may be given the same one; the Workflow drops the second Signal as a duplicate.
        """
        statement = (
            select(_decisions.c.envelope)
            .where(
                _decisions.c.sent_at.is_(None),
                _decisions.c.status == DecisionStatus.PENDING.value,
                _decisions.c.submitted_at <= datetime.now(UTC) - older_than,
            )
            .order_by(_decisions.c.submitted_at)
            .limit(limit)
        )
        found = await self._database.read(lambda connection: connection.execute(statement).scalars().all())
        return [DecisionEnvelope.model_validate_json(envelope) for envelope in found]

    async def settle_late(self, envelope: DecisionEnvelope, because: str) -> None:
        """Record that a decision came after its Workflow had closed.

        Only for a closed Workflow: an open one numbers its records itself. A decision that was settled before keeps
        its status. **Correctness:** status and record are one transaction; again is no change.
        """
        await self._database.write(partial(_settle_late, envelope=envelope, because=because))


def submitted(row: Row[Any]) -> SubmittedDecision:
    """A stored decision out of its row."""
    return SubmittedDecision(
        envelope=DecisionEnvelope.model_validate_json(row.envelope),
        status=DecisionStatus(row.status),
        because=row.because,
        submitted_at=row.submitted_at,
        settled_at=row.settled_at,
    )


def _row(envelope: DecisionEnvelope) -> dict[str, Any]:
    return {
        "request_id": envelope.request_id,
        "decision_id": envelope.decision_id,
        "tenant": envelope.tenant,
        "reviewer": envelope.reviewer,
        "envelope": envelope.model_dump_json(),
        "envelope_sha256": envelope_digest(envelope),
        "status": DecisionStatus.PENDING.value,
        "because": "",
        "submitted_at": datetime.now(UTC),
    }


def _submit(connection: Connection, envelope: DecisionEnvelope) -> tuple[SubmittedDecision, bool]:
    row = _row(envelope)
    created = bool(insert_new(connection, _decisions, [row], "decision_id"))
    if created:
        pending = SubmittedDecision(
            envelope=envelope,
            status=DecisionStatus.PENDING,
            because="",
            submitted_at=row["submitted_at"],
            settled_at=None,
        )
        return pending, True
    known = submitted(
        connection.execute(
            select(_decisions).where(
                _decisions.c.request_id == envelope.request_id, _decisions.c.decision_id == envelope.decision_id
            )
        ).one()
    )
    if known.envelope.model_dump(include=_CONTENT) != envelope.model_dump(include=_CONTENT):
        raise DecisionConflictError(
            "'decision_id' was used before for another decision on this request; take a new one"
        )
    return known, False


def _settle_late(connection: Connection, envelope: DecisionEnvelope, because: str) -> None:
    at = datetime.now(UTC)
    settled = {"status": DecisionStatus.LATE.value, "because": because, "settled_at": at}
    # A decision that never went through the outbox is entered first, so that it is settled, and recorded, once.
    insert_new(connection, _decisions, [_row(envelope)], "decision_id")
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


def _append_at_end(connection: Connection, envelope: DecisionEnvelope, because: str, at: datetime) -> None:
    """Append the record under the first free sequence, also while another process appends one."""
    last = select(func.max(_records.c.sequence)).where(_records.c.request_id == envelope.request_id)
    data = {"status": DecisionStatus.LATE.value} | envelope.model_dump(
        mode="json",
        include={"decision_id", "verdict", "reason", "result_sha256", "review_version", "decided_at"},
    )
    for _ in range(100):
        record = DecisionRecord(
            request_id=envelope.request_id,
            sequence=(connection.execute(last).scalar() or 0) + 1,
            at=at,
            kind=RecordKind.DECISION_JUDGED,
            rationale=f"{DecisionStatus.LATE}: {because}",
            actor=f"reviewer:{envelope.reviewer}",
            data=data,
        )
        try:
            append_records(connection, envelope.request_id, [record])
        except LedgerConflictError:
            continue  # another process took this sequence first
        return
    raise LedgerConflictError(f"no free place for another record of {envelope.request_id}")
