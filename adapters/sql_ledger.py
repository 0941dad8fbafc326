"""The ledger in SQL. Each method is one transaction of few statements: it stands in the way of every request.

Two rules make every method safe to repeat. What is append-only is inserted where it is not there yet and compared
where it is. And a projection (request, review) changes only together with a record that was new, so that an old commit
which is repeated late cannot turn it back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, select, update
from sqlalchemy.exc import IntegrityError

from adapters.database import Database, insert_new
from adapters.review_commits import change, close, open_version
from adapters.tables import DecisionRecordRow, ReleaseRow, RequestBodyRow, RequestRow, table
from domain.errors import LedgerConflictError
from domain.ledger import Admission, DecisionRecord, Ending, Judgement, ReviewOpening
from domain.request import Status

_requests = table(RequestRow)
_bodies = table(RequestBodyRow)
_records = table(DecisionRecordRow)
_releases = table(ReleaseRow)

_OPEN = (Status.RUNNING.value, Status.HELD.value)

# Built once: to build a statement costs more than to run it. What is set comes with the parameters.
_this: BindParameter[str] = bindparam("of_request")
_this_request = update(_requests).where(_requests.c.request_id == _this)
_this_open_request = _this_request.where(_requests.c.status.in_(_OPEN))


class SqlLedger:
    """Implements ``domain.ports.Ledger``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(self, admission: Admission) -> None:
        """Enter a request. Raises ``LedgerConflictError`` if another Workflow run has used this id already."""
        await self._commit(partial(_admit, admission=admission))

    async def open_review(self, opening: ReviewOpening) -> None:
        """Commit the records up to a hold and show the answer to reviewers.

        A higher ``review_version`` replaces the review of the same request, the decisions that led to it are settled.
        Raises ``LedgerConflictError`` for a request that has ended or was never admitted, and for records or texts
        that contradict stored ones.
        """
        await self._commit(partial(_open_review, opening=opening))

    async def judge(self, judgement: Judgement) -> None:
        """Commit what became of orders, or a rung of the ladder, while the request goes on or after its end.

        Never changes the status of a request that has ended. Raises ``LedgerConflictError`` for records that
        contradict stored ones.
        """
        await self._commit(partial(_judge, judgement=judgement))

    async def end(self, ending: Ending) -> None:
        """Commit the end of a request: records, release, projection, decisions and review together.

        **Correctness:** the release's primary key admits one ending per request, whoever writes it first. The same
        result again changes nothing; another one raises ``LedgerConflictError`` and stores nothing.
        """
        await self._commit(partial(_end, ending=ending))

    async def _commit(self, work: Callable[[Connection], None]) -> None:
        try:
            await self._database.write(work)
        except IntegrityError as error:
            # The only constraint that an insert without conflict can hurt is the reference to the request.
            raise LedgerConflictError("the ledger knows no such request; it was never admitted") from error


def append_records(connection: Connection, request_id: str, records: Sequence[DecisionRecord]) -> set[int]:
    """Append records that are not there yet; the sequences of those that were new.

    Raises ``LedgerConflictError`` where another record stands under the same sequence.
    """
    if any(record.request_id != request_id for record in records):
        raise LedgerConflictError(f"a record in the commit for {request_id} names another request")
    given = {record.sequence: record for record in records}
    if len(given) < len(records):
        raise LedgerConflictError(f"two records in the commit for {request_id} have the same sequence")
    new: set[int] = insert_new(connection, _records, map(_record_row, records), "sequence")
    if len(new) < len(given):
        repeated = given.keys() - new
        stored = connection.execute(
            select(_records.c.sequence, _records.c.record).where(
                _records.c.request_id == request_id, _records.c.sequence.in_(sorted(repeated))
            )
        )
        for sequence, record in stored:
            # Compared as values, so that a field which a newer version adds does not make an old record another one.
            if DecisionRecord.model_validate_json(record) != given[sequence]:
                raise LedgerConflictError(f"record {sequence} of {request_id} is in the ledger with other content")
    return new


def _record_row(record: DecisionRecord) -> dict[str, Any]:
    return {
        "request_id": record.request_id,
        "sequence": record.sequence,
        "at": record.at,
        "kind": record.kind.value,
        "actor": record.actor,
        "record": record.model_dump_json(),
    }


def _admit(connection: Connection, admission: Admission) -> None:
    request = admission.request
    body_sha256 = request.body.sha256()
    row = {
        "request_id": request.request_id,
        "tenant": request.tenant,
        "requester": request.requester,
        "subject": request.body.subject,
        "policy": request.policy.policy.name,
        "policy_version": request.policy.version,
        "run_id": admission.run_id,
        "body_sha256": body_sha256,
        "created_at": request.submitted_at,
        "status": Status.RUNNING.value,
        "stages_attempted": 0,
        "tokens": 0,
        "cost_usd": Decimal(0),
        "baseline_cost_usd": Decimal(0),
    }
    if insert_new(connection, _requests, [row], "request_id"):
        body = {"request_id": request.request_id, "body": request.body.model_dump_json()}
        connection.execute(_bodies.insert(), body)
        return
    known = (_requests.c.run_id, _requests.c.tenant, _requests.c.body_sha256)
    stored = connection.execute(select(*known).where(_requests.c.request_id == request.request_id)).one()
    if tuple(stored) != (admission.run_id, request.tenant, body_sha256):
        raise LedgerConflictError(
            f"{request.request_id} was admitted before, for another run of the Workflow; send a new idempotency key"
        )


def _open_review(connection: Connection, opening: ReviewOpening) -> None:
    request_id = opening.request_id
    if opening.records and not append_records(connection, request_id, opening.records):
        return
    projection = {
        "of_request": request_id,
        "status": Status.HELD.value,
        "risk": opening.risk.value,
        "cost_usd": opening.spent.cost_usd,
        "baseline_cost_usd": opening.baseline_cost_usd,
        "tokens": opening.spent.tokens,
        "stages_attempted": opening.stages_attempted,
    }
    held = connection.execute(_this_open_request, projection)
    if held.rowcount == 0:
        raise LedgerConflictError(f"{request_id} cannot be held: it has ended or was never admitted")
    open_version(connection, opening)


def _judge(connection: Connection, judgement: Judgement) -> None:
    request_id, records = judgement.request_id, judgement.records
    new = append_records(connection, request_id, records)
    if records and not new:
        return
    connection.execute(_this_open_request, {"of_request": request_id, "status": judgement.status.value})
    moment = records[-1].at if records else datetime.now(UTC)
    change(connection, judgement, new, moment)


def _end(connection: Connection, ending: Ending) -> None:
    result, request_id = ending.result, ending.result.request_id
    # Without defaults, so that a field which a newer version adds does not make an old result another one.
    digest = hashlib.sha256(result.model_dump_json(exclude_defaults=True).encode("utf-8")).hexdigest()
    release = {
        "request_id": request_id,
        "status": result.status.value,
        "outcome": result.outcome.value,
        "result_sha256": result.result_sha256,
        "ending_sha256": digest,
        "released_at": ending.ended_at,
    }
    if not insert_new(connection, _releases, [release], "request_id"):
        stored = select(_releases.c.ending_sha256).where(_releases.c.request_id == request_id)
        if connection.execute(stored).scalar_one() != digest:
            raise LedgerConflictError(f"{request_id} has ended already, with another result")
        return
    append_records(connection, request_id, ending.records)
    fields = {"output", "result_sha256", "reason", "model", "model_version_served", "stages_attempted"}
    projection = result.model_dump(include=fields | {"cost_usd", "baseline_cost_usd", "tokens"}) | {
        "of_request": request_id,
        "status": result.status.value,
        "outcome": result.outcome.value,
        "risk": result.risk.value,
        "ended_at": ending.ended_at,
    }
    connection.execute(_this_request, projection)
    close(connection, ending)
