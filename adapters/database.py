"""One database, SQLite or PostgreSQL, reached the same way: a function over a connection is one transaction.

On SQLite the whole function runs in a thread: a file has no network to wait for, and handing over every single
statement would cost more than the statements do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from sqlite3 import OperationalError
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.sql.dml import ReturningInsert

from adapters.sqlite_writer import SqliteWriter

if TYPE_CHECKING:
    from alembic.config import Config

T = TypeVar("T")

DEFAULT_URL = "sqlite+aiosqlite:///var/sluice.db"
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_BUSY_TIMEOUT = 30.0
"""Seconds that a writer waits for another process to finish its transaction on the same SQLite file."""
_READERS = 4
"""Threads, each with a connection, that read a SQLite file."""
_MIGRATION_LOCK = 7_305_531
"""Key of PostgreSQL's advisory lock that lets one process migrate at a time."""


class Database:
    """Connections to the database at ``url``. Made without opening one; close it when done.

    Errors never carry the parameters of a statement, which may be user content.
    """

    def __init__(self, url: str) -> None:
        self._url = parse_url(url)
        self._sqlite: _Sqlite | None = None
        if _is_sqlite(self._url):
            self.engine = _async_sqlite_engine(self._url)
            self._sqlite = _Sqlite(self._url)
        else:
            self.engine = _postgres_engine(self._url)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` as one write transaction; its result comes back once it is committed.

        ``work`` must only use the connection: on SQLite it runs in another thread. **Correctness:** a caller that is
        cancelled or loses the connection does not know whether the commit took place, so ``work`` must be idempotent.
        """
        if self._sqlite is not None:
            return await self._sqlite.writer.run(work)
        async with self.engine.begin() as connection:
            return await connection.run_sync(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work``, which only reads what is committed and only uses the connection."""
        if self._sqlite is not None:
            return await self._sqlite.read(work)
        async with self.engine.connect() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """Finish queued writes and close every connection."""
        if self._sqlite is not None:
            await self._sqlite.close()
        await self.engine.dispose()


class _Sqlite:
    """The threads of one process that work on a SQLite file: one writes, some read."""

    def __init__(self, url: URL) -> None:
        self.writer = SqliteWriter(_sqlite_engine(url, "BEGIN IMMEDIATE"))
        self._engine = _sqlite_engine(url, "BEGIN")
        self._readers = ThreadPoolExecutor(max_workers=_READERS, thread_name_prefix="sqlite-reader")

    async def read(self, work: Callable[[Connection], T]) -> T:
        def run() -> T:
            with self._engine.connect() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def close(self) -> None:
        await self.writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        self._engine.dispose()


def insert_new(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]], returning: str) -> set[Any]:
    """Insert the rows whose primary key is not there yet; the column ``returning`` of those that were inserted."""
    values = list(rows)
    if not values:
        return set()
    statement = _insert_new(connection.dialect.name, table, returning)
    return set(connection.execute(statement, values if len(values) > 1 else values[0]).scalars())


@lru_cache  # building a statement costs more than running it
def _insert_new(dialect: str, table: Table, returning: str) -> ReturningInsert[Any]:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    keys = list(table.primary_key.columns)
    return insert(table).on_conflict_do_nothing(index_elements=keys).returning(table.c[returning])


def parse_url(url: str) -> URL:
    """``url`` with the driver that is installed for it. Raises ``ValueError`` for a database that is not supported."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError(f"DATABASE_URL is no database URL; write for example {DEFAULT_URL}") from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ValueError(
            f"DATABASE_URL names {parsed.drivername!r}; use sqlite+aiosqlite:///<file> or "
            "postgresql+asyncpg://<user>@<host>/<database>"
        )
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise ValueError(f"DATABASE_URL names no file, and a ledger must outlive its process; write {DEFAULT_URL}")
    return parsed.set(drivername=driver)


def migrate(url: str) -> None:
    """Bring the schema at ``url`` to the newest version, from nothing or from any older one, in one transaction.

    Blocks. **Correctness:** safe to run again and from several processes at once: they wait for one another, and a
    schema that is up to date is left alone.
    """
    run_migrations(url, _upgrade)


def run_migrations(url: str, command: Callable[[Connection], None]) -> None:
    """Run one of alembic's commands on a connection that holds the migration lock."""
    parsed = parse_url(url)
    if _is_sqlite(parsed):
        Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = _sqlite_engine(parsed, "BEGIN IMMEDIATE")
        try:
            with engine.begin() as connection:
                command(connection)
        finally:
            engine.dispose()
        return
    with ThreadPoolExecutor(max_workers=1) as own_thread:  # where no event loop runs yet, whoever calls
        own_thread.submit(asyncio.run, _on_postgres(parsed, command)).result()


async def _on_postgres(url: URL, command: Callable[[Connection], None]) -> None:
    engine = _postgres_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            await connection.run_sync(command)
    finally:
        await engine.dispose()


def alembic_config(connection: Connection) -> Config:
    """What alembic needs to know, wherever the process was started; there is no ini file."""
    from alembic.config import Config  # only a process that migrates pays for the import

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection) -> None:
    from alembic import command

    command.upgrade(alembic_config(connection), "head")


def _is_sqlite(url: URL) -> bool:
    return url.drivername.startswith("sqlite")


def _postgres_engine(url: URL) -> AsyncEngine:
    return create_async_engine(url, hide_parameters=True, pool_pre_ping=True, pool_size=10, max_overflow=20)


def _async_sqlite_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, hide_parameters=True, connect_args={"timeout": _BUSY_TIMEOUT})
    _prepare_sqlite(engine.sync_engine, "BEGIN")
    return engine


def _sqlite_engine(url: URL, begin: str) -> Engine:
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        hide_parameters=True,
        pool_size=_READERS,
        connect_args={"timeout": _BUSY_TIMEOUT},
    )
    _prepare_sqlite(engine, begin)
    return engine


def _prepare_sqlite(engine: Engine, begin: str) -> None:
    def on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions behind our back
        cursor = connection.cursor()
        _write_ahead(cursor)
        for pragma in (
            "synchronous=FULL",
            "foreign_keys=ON",
            "recursive_triggers=ON",  # else INSERT OR REPLACE would delete append-only rows unnoticed
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)


def _write_ahead(cursor: Any) -> None:
    """Switch to the write-ahead log. A file is switched once, and SQLite does not wait for a lock while it does."""
    deadline = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
