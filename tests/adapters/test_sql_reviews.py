"""The reviewers' queue as it is read: order, pages, filters, and how fast."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from adapters.database import Database
from adapters.ledger_reader import CursorError, LedgerReader
from adapters.sql_ledger import SqlLedger
from adapters.tables import RequestBodyRow, RequestRow, ReviewRow, table
from domain.request import CascadeInput
from domain.review import ReviewState
from tests.adapters.ledger_examples import START, admission, ending, opening
from tests.examples import request


async def hold(database: Database, hours: int, queue: str = "default", tenant: str = "acme") -> CascadeInput:
    asked = request().model_copy(update={"tenant": tenant})
    ledger = SqlLedger(database)
    await ledger.admit(admission(asked))
    await ledger.open_review(opening(asked, queue=queue, expires_at=START + timedelta(hours=hours)))
    return asked


async def test_pages_go_on_where_the_one_before_ended(database: Database) -> None:
    reader = LedgerReader(database)
    held = [await hold(database, hours) for hours in (5, 1, 3, 3, 2)]
    first = await reader.reviews("acme", ReviewState.PENDING, 2, None)
    assert [review.expires_at for review in first.items] == [START + timedelta(hours=hours) for hours in (1, 2)]
    await hold(database, 1)  # before the place the next page starts at
    later = await hold(database, 4)
    await SqlLedger(database).end(ending(held[1]))
    second = await reader.reviews("acme", ReviewState.PENDING, 2, first.next_cursor)
    third = await reader.reviews("acme", ReviewState.PENDING, 2, second.next_cursor)
    seen = [review.request_id for review in (*second.items, *third.items)]
    equal = sorted([held[2].request_id, held[3].request_id])
    assert seen == [*equal, later.request_id, held[0].request_id]
    assert third.next_cursor is None


async def test_filters_by_state_queue_and_tenant(database: Database) -> None:
    reader = LedgerReader(database)
    legal, default = await hold(database, 1, queue="legal"), await hold(database, 2)
    await hold(database, 1, tenant="other")
    await SqlLedger(database).end(ending(default))

    async def ids(*filters: Any, **more: Any) -> list[str]:
        return [review.request_id for review in (await reader.reviews("acme", *filters, **more)).items]

    assert await ids(None, 10, None) == [legal.request_id, default.request_id]
    assert await ids(ReviewState.PENDING, 10, None) == [legal.request_id]
    assert await ids(ReviewState.CANCELLED, 10, None) == [default.request_id]
    assert await ids(None, 10, None, queue="legal") == [legal.request_id]
    assert await reader.review(legal.request_id, "other") is None


@pytest.mark.parametrize("cursor", ["", "x", "é", "MjAyNg", "fHw", "MjAyNi0wMS0wMVQwMDowMDowMHxh"])
async def test_a_cursor_of_no_list_is_refused(cursor: str, database: Database) -> None:
    with pytest.raises(CursorError, match="leave it out"):
        await LedgerReader(database).reviews("acme", None, 10, cursor)


async def test_ten_thousand_reviews_stay_fast(database: Database) -> None:
    asked = await hold(database, 24)
    await database.write(lambda connection: _multiply(connection, asked.request_id, 10_000))
    reader = LedgerReader(database)
    cursor: str | None = None
    slowest, seen = 0.0, 0
    for _ in range(20):
        started = time.perf_counter()
        page = await reader.reviews("acme", ReviewState.PENDING, 50, cursor, queue="default")
        slowest, cursor = max(slowest, time.perf_counter() - started), page.next_cursor
        seen += len(page.items)
    assert seen == 1000
    assert slowest < 0.5  # a scan of the whole table for each row would take far longer


def _multiply(connection: Connection, request_id: str, times: int) -> None:
    for rows in (table(RequestRow), table(RequestBodyRow), table(ReviewRow)):
        template = dict(connection.execute(rows.select().where(rows.c.request_id == request_id)).one()._mapping)
        copies = []
        for number in range(times):
            changes: dict[str, Any] = {"request_id": f"req_{number:05}"}
            if "expires_at" in template:
                changes["expires_at"] = START + timedelta(seconds=number * 7919 % times)
            copies.append(template | changes)
        connection.execute(rows.insert(), copies)
