"""The database itself: migrations, triggers, addresses, transactions, and what errors give away."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Executable, text
from sqlalchemy.exc import DBAPIError, StatementError

from adapters.claims import Claims
from adapters.database import Database, migrate, parse_url
from adapters.sql_journal import SqlAttemptJournal
from adapters.sql_ledger import SqlLedger
from adapters.tables import APPEND_ONLY, RequestRow, metadata, table
from domain.stage import Attempt, AttemptState, StageAnswer
from tests.adapters.ledger_examples import START, admission, ending, opening
from tests.examples import request

ROOT = Path(__file__).resolve().parents[2]


async def test_migrations_lead_from_nothing_to_the_tables(empty_url: str) -> None:
    await asyncio.to_thread(migrate, empty_url)
    await asyncio.to_thread(migrate, empty_url)
    database = Database(empty_url)

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))

    assert await database.read(differences) == []
    await database.close()


async def test_processes_that_migrate_at_once_wait_for_one_another(empty_url: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(migrate, empty_url) for _ in range(4)))


def test_migrations_run_as_a_program_from_the_root(tmp_path: Path) -> None:
    file = tmp_path / "a % folder" / "sluice.db"
    command = [sys.executable, "-W", "error", "-m", "migrations"]
    subprocess.run(command, cwd=ROOT, check=True, env={"DATABASE_URL": f"sqlite+aiosqlite:///{file}"})
    assert file.exists()


@pytest.mark.parametrize("name", APPEND_ONLY)
async def test_what_is_append_only_cannot_be_changed(name: str, database: Database) -> None:
    asked = request()
    ledger, journal = SqlLedger(database), SqlAttemptJournal(database)
    await ledger.admit(admission(asked))
    await ledger.open_review(opening(asked))
    await Claims(database).look(asked.request_id, "acme", "rita", START)
    await ledger.end(ending(asked))
    attempt = Attempt(stage="small", number=1, state=AttemptState.FINISHED)
    await journal.finish(
        f"{asked.request_id}/small/1",
        attempt,
        StageAnswer(text="a", model_version_served="v", finish_reason="stop", mean_logprob=None, defect=None),
    )
    count = text(f"SELECT count(*) FROM {name}")
    before = await database.read(lambda connection: connection.execute(count).scalar_one())
    assert before >= 1
    sqlite = database.engine.dialect.name == "sqlite"
    only_here = f"INSERT OR REPLACE INTO {name} SELECT * FROM {name}" if sqlite else f"TRUNCATE {name}"
    for change in (f"DELETE FROM {name}", f"UPDATE {name} SET request_id = 'x'", only_here):
        with pytest.raises(DBAPIError, match=f"{name} is append-only"):
            await database.write(partial(_execute, statement=text(change)))
    assert await database.read(lambda connection: connection.execute(count).scalar_one()) == before


async def test_times_come_back_in_utc_and_amounts_exact(database: Database) -> None:
    rows = table(RequestRow)
    moment = datetime(2026, 3, 29, 3, 30, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    row = {column.name: "x" for column in rows.columns} | {
        "created_at": moment,
        "ended_at": None,
        "cost_usd": Decimal("1E-21"),
        "baseline_cost_usd": Decimal("123456789012345678901234567890.000000000000001"),
        "stages_attempted": 0,
        "tokens": 0,
    }
    await database.write(lambda connection: connection.execute(rows.insert(), row).rowcount)
    found = await database.read(lambda connection: connection.execute(rows.select()).one())
    assert found.created_at == moment
    assert found.created_at.tzinfo is UTC
    assert (found.cost_usd, found.baseline_cost_usd) == (row["cost_usd"], row["baseline_cost_usd"])
    for wrong in ({"created_at": moment.replace(tzinfo=None)}, {"cost_usd": Decimal("NaN")}):
        with pytest.raises(StatementError, match=r"zone|finite"):
            await database.write(partial(_execute, statement=rows.update().values(wrong)))


async def test_errors_do_not_show_what_was_to_be_stored(database: Database) -> None:
    statement = text("INSERT INTO requests (request_id, reason) VALUES (:request_id, :reason)")
    with pytest.raises(DBAPIError) as caught:
        await database.write(lambda connection: connection.execute(statement, {"request_id": "a", "reason": "private"}))
    assert "private" not in str(caught.value)


async def test_a_failing_transaction_takes_nothing_of_another_with_it(database: Database) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(text("INSERT INTO api_keys VALUES ('a','t','n','[]','m','2026-01-01 00:00:00',NULL,NULL)"))
        raise LookupError("after the insert")

    asked = [request() for _ in range(20)]
    ledger = SqlLedger(database)
    mixed = [ledger.admit(admission(one)) for one in asked] + [database.write(fail) for _ in range(20)]
    results = await asyncio.gather(*mixed, return_exceptions=True)
    assert results[:20] == [None] * 20
    assert all(isinstance(result, LookupError) for result in results[20:])

    def counts(connection: Connection) -> tuple[int, int]:
        requests, keys = text("SELECT count(*) FROM requests"), text("SELECT count(*) FROM api_keys")
        return connection.execute(requests).scalar_one(), connection.execute(keys).scalar_one()

    assert await database.read(counts) == (20, 0)


async def test_callers_that_give_up_leave_the_database_usable(database: Database) -> None:
    ledger, asked = SqlLedger(database), [request() for _ in range(30)]
    tasks = [asyncio.create_task(ledger.admit(admission(one))) for one in asked]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for one in asked:
        await ledger.admit(admission(one))
    count = text("SELECT count(*) FROM requests")
    assert await database.read(lambda connection: connection.execute(count).scalar_one()) == 30


def test_writers_in_other_processes_wait_for_the_file(tmp_path: Path, sqlite_template: Path) -> None:
    file = tmp_path / "sluice.db"
    file.write_bytes(sqlite_template.read_bytes())
    program = (
        "import asyncio, sys\n"
        "from adapters.database import Database\n"
        "from adapters.sql_ledger import SqlLedger\n"
        "from tests.adapters.ledger_examples import admission, ending\n"
        "from tests.examples import request\n"
        "async def main():\n"
        "    database = Database(sys.argv[1]); ledger = SqlLedger(database)\n"
        "    async def live():\n"
        "        asked = request(); await ledger.admit(admission(asked)); await ledger.end(ending(asked))\n"
        "    await asyncio.gather(*(live() for _ in range(50)))\n"
        "    await database.close()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, f"sqlite+aiosqlite:///{file}"]
    writers = [subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}) for _ in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]


def test_a_migrated_sqlite_file_is_whole_without_a_log_beside_it(sqlite_template: Path) -> None:
    assert not sqlite_template.with_name("sluice.db-wal").exists()


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:///a.db", "sqlite+aiosqlite"),
        ("postgres://u@h/d", "postgresql+asyncpg"),
        ("postgresql://u@h/d", "postgresql+asyncpg"),
    ],
)
def test_addresses_without_a_driver_get_the_installed_one(url: str, driver: str) -> None:
    assert parse_url(url).drivername == driver


@pytest.mark.parametrize("url", ["", "mysql://h/d", "sqlite+aiosqlite://", "sqlite:///:memory:", "pass word"])
def test_addresses_that_cannot_serve_are_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(ValueError, match=r"DATABASE_URL .*sqlite"):
        parse_url(url)


def _execute(connection: Connection, statement: Executable) -> None:
    connection.execute(statement)
