"""A database of the version before: everything in it is there after the upgrade, and old processes can still write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, TableClause, column, table, text

from adapters.database import Database, alembic_config, migrate, run_migrations
from adapters.decision_outbox import DecisionOutbox
from adapters.decision_rows import order_row
from adapters.ledger_reader import LedgerReader, ReviewQuery
from adapters.review_commits import review_row
from adapters.sql_ledger import SqlLedger
from adapters.tables import ApiKeyRow, DecisionRow, ReviewRow, Row
from adapters.tables import table as table_of
from domain.hold import ReviewVerdict
from domain.ledger import ReviewOpening
from domain.request import CascadeInput, Outcome
from domain.review import DecisionStatus, ReviewOffer, ReviewState
from tests.adapters.ledger_examples import START, admission, ending, judged, opening, records
from tests.examples import decision, request

NEW = {
    "reviews": {"offer", "senior_only", "barred", "edited", "approvals", "approvals_needed"}
    | {"claimed_by", "claimed_until", "subject_folded"},
    "decisions": {"kind", "on_behalf_of"},
}
KEY = {"prefix": "abcdefgh", "tenant": "acme", "name": "rita", "roles": "[]", "mac": "m", "created_at": START}


def as_before(row: type[Row]) -> TableClause:
    """The table as the version before knows it."""
    now = table_of(row)
    known = [one for one in now.columns if one.name not in NEW.get(now.name, ())]
    return table(now.name, *(column(one.name, one.type) for one in known))


def insert_as_before(connection: Connection, row: type[Row], values: dict[str, Any]) -> None:
    known = as_before(row)
    connection.execute(known.insert(), {one.name: values.get(one.name) for one in known.columns})


async def hold_as_before(database: Database, **body: Any) -> tuple[CascadeInput, ReviewOpening]:
    """A request in its second review, as a worker of the version before holds it."""
    asked = request(**body)
    review = opening(asked, 2, text="held \x00 text")
    await SqlLedger(database).admit(admission(asked))  # has not changed since
    await database.write(partial(insert_as_before, row=ReviewRow, values=review_row(review)))
    return asked, review


@pytest.fixture
def old_url(empty_url: str) -> str:
    """A database with the tables of the version before."""

    def to_the_version_before(connection: Connection) -> None:
        command.upgrade(alembic_config(connection), "0001")

    run_migrations(empty_url, to_the_version_before)
    return empty_url


@pytest.fixture
async def old(old_url: str) -> AsyncIterator[Database]:
    database = Database(old_url)
    yield database
    await database.close()


async def test_everything_is_there_after_the_upgrade(old: Database, old_url: str) -> None:
    asked, review = await hold_as_before(old, subject="Straße 7")
    stored = decision(review, ReviewVerdict.APPROVE, decision_id="d-1")
    await old.write(partial(insert_as_before, row=DecisionRow, values=order_row(stored, START)))
    await old.write(partial(insert_as_before, row=ApiKeyRow, values=KEY))
    await asyncio.to_thread(migrate, old_url)
    reader = LedgerReader(old)
    view = await reader.review(asked.request_id, "acme", START)
    assert view is not None
    assert (view.state, view.proposal, view.messages) == (
        ReviewState.PENDING,
        review.proposal,
        asked.body.conversation(),
    )
    assert (view.offer, view.senior_only, view.barred) == (ReviewOffer(), False, ())
    assert (view.approvals, view.approvals_needed, view.claimed_by, view.claimed_until) == (0, 1, None, None)
    (version,) = await reader.versions(asked.request_id, "acme")
    assert (version.review_version, version.text, version.edited, version.opened_at) == (
        2,
        "held \x00 text",
        False,
        START,
    )
    page = await reader.reviews("acme", ReviewQuery(now=START, text="STRASSE"), 10, None)
    assert [row.request_id for row in page.items] == [asked.request_id]
    assert await DecisionOutbox(old).unsent(timedelta(0), 10) == [stored]
    (kept,) = await reader.decisions(asked.request_id, "acme")
    assert (kept.envelope, kept.status) == (stored, DecisionStatus.PENDING)
    keys = text("SELECT count(*) FROM api_keys")
    assert await old.read(lambda connection: connection.execute(keys).scalar_one()) == 1


async def test_what_was_held_before_is_decided_after(old: Database, old_url: str) -> None:
    asked, review = await hold_as_before(old)
    await asyncio.to_thread(migrate, old_url)
    approval = decision(review, ReviewVerdict.APPROVE)
    await DecisionOutbox(old).submit(approval)
    await SqlLedger(old).end(
        ending(asked, Outcome.APPROVED, records(asked.request_id, 4, 5), [judged(approval, DecisionStatus.APPLIED)])
    )
    view = await LedgerReader(old).review(asked.request_id, "acme", START)
    assert view is not None
    assert (view.state, view.decided_by) == (ReviewState.DECIDED, "rita")


async def test_a_process_of_the_version_before_still_writes(database: Database) -> None:
    """Workers and APIs are restarted after the upgrade of the database, one after the other."""
    asked, review = await hold_as_before(database, subject="parcel 7")
    stored = decision(review, ReviewVerdict.APPROVE)
    await database.write(partial(insert_as_before, row=DecisionRow, values=order_row(stored, START)))
    reader = LedgerReader(database)
    view = await reader.review(asked.request_id, "acme", START)
    assert view is not None
    assert (view.offer, view.barred, view.approvals_needed) == (ReviewOffer(), (), 1)
    assert [one.envelope for one in await reader.decisions(asked.request_id, "acme")] == [stored]
    second = opening(asked, 3, records(asked.request_id, 1, 3))
    await SqlLedger(database).open_review(second)
    assert [one.review_version for one in await reader.versions(asked.request_id, "acme")] == [3]


async def test_there_is_no_way_back(database: Database, database_url: str) -> None:
    def back(connection: Connection) -> None:
        command.downgrade(alembic_config(connection), "0001")

    with pytest.raises(NotImplementedError, match="backup"):
        await asyncio.to_thread(run_migrations, database_url, back)
    assert await LedgerReader(database).count_pending("acme") == 0  # the tables are as they were
