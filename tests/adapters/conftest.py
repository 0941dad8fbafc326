"""Databases for tests: a fresh, migrated one for each test, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest

from adapters.database import Database, migrate

START_SECONDS = 60.0
_counter = itertools.count(1)


def _programs() -> Path | None:
    """Folder of the newest PostgreSQL server installed where Debian puts it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


def _unprivileged() -> str | None:
    """The account to run the server as; None to stay who we are. The server refuses to run as root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _run_as(folder: Path) -> dict[str, object]:
    user = _unprivileged()
    if user is None:
        return {"cwd": folder}
    entry = pwd.getpwnam(user)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return {"cwd": folder, "user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _execute_now(url: str, statement: str) -> None:
    with ThreadPoolExecutor(max_workers=1) as own_thread:  # so that the loop of the tests is left alone
        own_thread.submit(asyncio.run, _execute(url, statement)).result()


def _until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            _execute_now(url, "SELECT 1")
        except (OSError, asyncpg.PostgresError):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL server's database ``postgres``; it listens on a Unix socket only."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server under /usr/lib/postgresql; install the package postgresql to run this")
    folder = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
    options = _run_as(folder)
    data, log = folder / "data", folder / "log"
    initdb = [programs / "initdb", "-D", data, "-U", "sluice", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    settings = ["listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", "max_connections=200"]
    arguments = [argument for setting in settings for argument in ("-c", setting)]
    with log.open("wb") as output:
        server = subprocess.Popen(  # type: ignore[call-overload]
            [programs / "postgres", "-D", data, *arguments], stdout=output, stderr=output, **options
        )
    try:
        url = f"postgresql+asyncpg://sluice@/postgres?host={folder}"
        _until_ready(url, server, log)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown
        server.wait(timeout=30)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The server's address, once it has a migrated database called ``template_sluice``."""
    _execute_now(postgres_server, "CREATE DATABASE template_sluice")
    migrate(_named(postgres_server, "template_sluice"))
    return postgres_server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("template") / "sluice.db"
    migrate(f"sqlite+aiosqlite:///{file}")
    return file


@pytest.fixture
def postgres_url(postgres_template: str) -> str:
    """An own, migrated PostgreSQL database."""
    name = f"test_{next(_counter)}"
    statement = f"CREATE DATABASE {name} TEMPLATE template_sluice"
    _execute_now(postgres_template, statement)
    return _named(postgres_template, name)


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> str:
    """An own PostgreSQL database without any table."""
    name = f"test_{next(_counter)}"
    _execute_now(postgres_server, f"CREATE DATABASE {name}")
    return _named(postgres_server, name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An own, migrated database, once on SQLite and once on PostgreSQL."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    file = tmp_path / "sluice.db"
    shutil.copy(request.getfixturevalue("sqlite_template"), file)
    return f"sqlite+aiosqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An own database without any table, once on SQLite and once on PostgreSQL."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("empty_postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/not yet there/sluice.db"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A connected, migrated database."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def sqlite_database(tmp_path: Path, sqlite_template: Path) -> AsyncIterator[Database]:
    """A connected, migrated database on SQLite, which tells how it would go about a statement."""
    file = tmp_path / "planned.db"
    shutil.copy(sqlite_template, file)
    database = Database(f"sqlite+aiosqlite:///{file}")
    yield database
    await database.close()


def _named(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?")
