"""The attempt journal in SQL: one row when an attempt starts, one when it ends, nothing ever changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, select

from adapters.database import Database, insert_new
from adapters.tables import AttemptAnswerRow, AttemptRow, table
from domain.errors import LedgerConflictError
from domain.stage import Attempt, AttemptState, StageAnswer

_attempts = table(AttemptRow)
_answers = table(AttemptAnswerRow)

_STARTED = "started"

Known = tuple[StageAnswer | None, tuple[Attempt, ...]]


class SqlAttemptJournal:
    """Implements ``domain.ports.AttemptJournal``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recall(self, call_key: str) -> Known:
        """The stored answer, if any, and every attempt at the call, by number."""
        return await self._database.read(partial(_recall, call_key=call_key))

    async def begin(self, call_key: str, attempt: Attempt) -> Known:
        """Record the start of an attempt.

        **Correctness:** if this very attempt was begun before, nothing is written and what ``recall`` knows comes
        back; else ``(None, ())``.
        """
        row = _row(call_key, attempt, _STARTED)

        def work(connection: Connection) -> Known:
            if insert_new(connection, _attempts, [row], "number"):
                return None, ()
            return _recall(connection, call_key)

        return await self._database.write(work)

    async def finish(self, call_key: str, attempt: Attempt, answer: StageAnswer) -> None:
        """Record the end of an attempt with its answer. The same again changes nothing.

        Raises ``LedgerConflictError`` if the attempt has finished with something else.
        """
        row = _row(call_key, attempt, AttemptState.FINISHED.value)
        stored = {"call_key": call_key, "number": attempt.number, "answer": answer.model_dump_json()}

        def work(connection: Connection) -> None:
            if not insert_new(connection, _attempts, [row], "number"):
                _expect_same(connection, row, attempt)
            elif not insert_new(connection, _answers, [stored], "number"):
                raise LedgerConflictError(f"attempt {attempt.number} at {call_key} has another answer already")

        await self._database.write(work)

    async def fail(self, call_key: str, attempt: Attempt) -> None:
        """Record the end of an attempt without an answer. The same again changes nothing.

        Raises ``LedgerConflictError`` if the attempt has failed in another way.
        """
        row = _row(call_key, attempt, AttemptState.FAILED.value)

        def work(connection: Connection) -> None:
            if not insert_new(connection, _attempts, [row], "number"):
                _expect_same(connection, row, attempt)

        await self._database.write(work)


def fold_attempts(rows: Iterable[Row[*tuple[Any, ...]]]) -> tuple[Attempt, ...]:
    """Attempts out of journal rows with ``call_key``, ``number``, ``state`` and ``attempt``, in the rows' order.

    Every end counts; a start without one is ``unconfirmed`` at the upper estimate it was begun with.
    """
    found: dict[tuple[str, int], list[Attempt]] = {}
    started: dict[tuple[str, int], Attempt] = {}
    for row in rows:
        key, attempt = (row.call_key, row.number), Attempt.model_validate_json(row.attempt)
        ends = found.setdefault(key, [])
        if row.state == _STARTED:
            started[key] = attempt.model_copy(update={"state": AttemptState.UNCONFIRMED})
        else:
            ends.append(attempt.model_copy(update={"state": AttemptState(row.state)}))
    return tuple(attempt for key, ends in found.items() for attempt in ends or [started[key]])


def _row(call_key: str, attempt: Attempt, state: str) -> dict[str, Any]:
    return {
        "call_key": call_key,
        "number": attempt.number,
        "state": state,
        "request_id": call_key.partition("/")[0],
        "attempt": attempt.model_dump_json(),
        "recorded_at": datetime.now(UTC),
    }


def _recall(connection: Connection, call_key: str) -> Known:
    rows = connection.execute(
        select(_attempts.c.call_key, _attempts.c.number, _attempts.c.state, _attempts.c.attempt)
        .where(_attempts.c.call_key == call_key)
        .order_by(_attempts.c.number)
    ).all()
    if not any(row.state == AttemptState.FINISHED.value for row in rows):
        return None, fold_attempts(rows)
    answer = connection.execute(
        select(_answers.c.answer).where(_answers.c.call_key == call_key).order_by(_answers.c.number).limit(1)
    ).scalar_one_or_none()
    return StageAnswer.model_validate_json(answer) if answer is not None else None, fold_attempts(rows)


def _expect_same(connection: Connection, row: dict[str, Any], attempt: Attempt) -> None:
    stored = connection.execute(
        select(_attempts.c.attempt).where(
            _attempts.c.call_key == row["call_key"],
            _attempts.c.number == row["number"],
            _attempts.c.state == row["state"],
        )
    ).scalar_one()
    if Attempt.model_validate_json(stored) != attempt:
        raise LedgerConflictError(f"attempt {row['number']} at {row['call_key']} has {row['state']} otherwise already")
