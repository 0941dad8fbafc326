"""The attempt journal in SQL."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from adapters.database import Database
from adapters.ledger_reader import LedgerReader
from adapters.sql_journal import SqlAttemptJournal
from adapters.sql_ledger import SqlLedger
from domain.errors import LedgerConflictError
from domain.stage import Attempt, AttemptState, StageAnswer
from domain.usage import Usage
from tests.adapters.ledger_examples import admission
from tests.examples import request

KEY = "req_a/small/1"
ANSWER = StageAnswer(
    text="an \x00 answer",
    model_version_served="v",
    finish_reason="stop",
    mean_logprob=None,
    defect=None,
    usage=Usage(input_tokens=2),
    latency_ms=1.5,
)


def attempt(number: int, state: AttemptState = AttemptState.UNCONFIRMED, cost: str = "0.5") -> Attempt:
    return Attempt(stage="small", number=number, state=state, cost_usd=Decimal(cost))


@pytest.fixture
def journal(database: Database) -> SqlAttemptJournal:
    return SqlAttemptJournal(database)


async def test_nothing_is_known_of_a_new_call(journal: SqlAttemptJournal) -> None:
    assert await journal.recall(KEY) == (None, ())
    assert await journal.begin(KEY, attempt(1)) == (None, ())


async def test_an_attempt_without_an_end_is_unconfirmed_at_its_estimate(journal: SqlAttemptJournal) -> None:
    await journal.begin(KEY, attempt(1, AttemptState.FINISHED))  # whatever the caller calls it
    assert await journal.recall(KEY) == (None, (attempt(1),))
    assert await journal.begin(KEY, attempt(1)) == (None, (attempt(1),))


async def test_a_stored_answer_comes_back_with_every_attempt(journal: SqlAttemptJournal) -> None:
    failed, finished = attempt(2, AttemptState.FAILED, "0"), attempt(3, AttemptState.FINISHED, "0.1")
    await journal.begin(KEY, attempt(1))
    await journal.begin(KEY, attempt(2))
    await journal.fail(KEY, failed)
    await journal.fail(KEY, failed)
    await journal.begin(KEY, attempt(3))
    await journal.finish(KEY, finished, ANSWER)
    await journal.finish(KEY, finished, ANSWER)
    known = (ANSWER, (attempt(1), failed, finished))
    assert await journal.recall(KEY) == known
    assert await journal.begin(KEY, attempt(3)) == known
    assert await journal.recall("req_a/small/2") == (None, ())


async def test_an_end_is_never_replaced(journal: SqlAttemptJournal) -> None:
    for number in (1, 2):
        await journal.begin(KEY, attempt(number))
    await journal.finish(KEY, attempt(1, AttemptState.FINISHED), ANSWER)
    await journal.fail(KEY, attempt(2, AttemptState.FAILED))
    with pytest.raises(LedgerConflictError):
        await journal.finish(KEY, attempt(1, AttemptState.FINISHED, "9"), ANSWER)
    with pytest.raises(LedgerConflictError):
        await journal.fail(KEY, attempt(2, AttemptState.FAILED, "9"))


async def test_a_late_end_of_an_attempt_given_up_counts_too(journal: SqlAttemptJournal) -> None:
    await journal.begin(KEY, attempt(1))
    await journal.begin(KEY, attempt(2))
    second, first = attempt(2, AttemptState.FINISHED, "2"), attempt(1, AttemptState.FINISHED, "1")
    await journal.finish(KEY, second, ANSWER)
    await journal.finish(KEY, first, ANSWER.model_copy(update={"text": "late"}))
    _, attempts = await journal.recall(KEY)
    assert attempts == (first, second)


async def test_one_attempt_begins_once_however_often_it_is_begun(journal: SqlAttemptJournal) -> None:
    begun = await asyncio.gather(*(journal.begin(KEY, attempt(1)) for _ in range(20)))
    assert sum(known == (None, ()) for known in begun) == 1


async def test_readers_see_the_attempts_of_their_own_requests(database: Database, journal: SqlAttemptJournal) -> None:
    asked = request()
    await SqlLedger(database).admit(admission(asked))
    small, large = f"{asked.request_id}/small/1", f"{asked.request_id}/large/2"
    await journal.begin(small, attempt(1))
    await journal.begin(large, attempt(1, cost="3"))
    await journal.finish(large, attempt(1, AttemptState.FINISHED, "2"), ANSWER)
    reader = LedgerReader(database)
    assert await reader.attempts(asked.request_id, "acme") == [attempt(1), attempt(1, AttemptState.FINISHED, "2")]
    assert await reader.attempts(asked.request_id, "other") == []
