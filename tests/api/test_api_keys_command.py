"""``python -m api.keys``: keys made at the command line are the API's keys, and their secrets are shown once."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.api_keys import ApiKeys
from adapters.database import Database, migrate
from adapters.settings import environment_names
from adapters.tables import ApiKeyRow, table
from api import keys
from domain.identity import Principal, Role

ROOT = Path(__file__).parents[2]
PEPPER = "p" * 40
Command = Callable[..., int]


@pytest.fixture
def url(tmp_path: Path) -> str:
    address = f"sqlite+aiosqlite:///{tmp_path}/sluice.db"
    migrate(address)
    return address


@pytest.fixture
def run(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command; an unusable command line is exit code 2, as in a shell."""
    for name in environment_names():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pepper").write_text(PEPPER)
    (tmp_path / "pepper").chmod(0o600)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("SLUICE_PEPPER_FILE", str(tmp_path / "pepper"))

    def command(*arguments: str) -> int:
        try:
            return keys.main(arguments)
        except SystemExit as ended:
            return int(ended.code or 0)

    return command


async def holder(url: str, secret: str) -> Principal | None:
    """Whose key the API takes it for."""
    database = Database(url)
    try:
        return await ApiKeys(database, PEPPER.encode()).authenticate(secret)
    finally:
        await database.close()


async def stored(url: str) -> str:
    database = Database(url)
    try:
        return repr(await database.read(lambda connection: connection.execute(table(ApiKeyRow).select()).all()))
    finally:
        await database.close()


async def in_thread(run: Command, *arguments: str) -> int:
    """The command has an event loop of its own."""
    return await asyncio.to_thread(run, *arguments)


async def test_a_made_key_is_a_key_of_the_api(run: Command, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = await in_thread(
        run, "create", "--tenant", "acme", "--name", "rita@example.com", "--role", "reviewer", "--role", "auditor"
    )
    shown = capsys.readouterr()
    secret = shown.out.rstrip("\n")
    assert made == 0
    assert re.fullmatch(r"sk-sluice-[a-z2-7]{8}-[A-Za-z0-9_-]{43}", secret), "only the secret is on standard output"
    assert "rita@example.com of acme, as auditor, reviewer, without an end" in shown.err
    assert secret not in shown.err
    roles = frozenset({Role.REVIEWER, Role.AUDITOR})
    assert await holder(url, secret) == Principal(tenant="acme", name="rita@example.com", roles=roles)
    assert secret[19:] not in await stored(url)


async def test_json_is_all_that_is_printed(run: Command, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    created = ("create", "--tenant", "acme", "--name", "shop", "--role", "service", "--expires", "90d", "--json")
    assert await in_thread(run, *created) == 0
    shown = capsys.readouterr()
    made = json.loads(shown.out)
    assert shown.err == ""
    assert {**made, "secret": "", "prefix": "", "created_at": "", "expires_at": ""} == {
        "prefix": "",
        "tenant": "acme",
        "name": "shop",
        "roles": ["service"],
        "created_at": "",
        "expires_at": "",
        "revoked_at": None,
        "state": "active",
        "secret": "",
    }
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left < timedelta(days=90)
    assert await in_thread(run, "list", "--tenant", "acme", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["items"]
    assert listed == [{name: value for name, value in made.items() if name != "secret"}]


async def test_a_list_shows_states_and_no_other_tenant(
    run: Command, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {}
    for tenant, name, *more in (
        ("acme", "one"),
        ("acme", "two"),
        ("acme", "soon", "--expires", "1ms"),
        ("globex", "three"),
    ):
        assert await in_thread(run, "create", "--tenant", tenant, "--name", name, "--role", "service", *more) == 0
        made[name] = capsys.readouterr().out[10:18]
    assert await in_thread(run, "revoke", made["two"]) == 0
    capsys.readouterr()
    assert await in_thread(run, "list", "--tenant", "acme") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["prefix", "state", "name", "roles", "created", "expires"]
    assert [row.split()[:4] for row in rows] == [
        [made["one"], "active", "one", "service"],
        [made["two"], "revoked", "two", "service"],
        [made["soon"], "expired", "soon", "service"],
    ]


async def test_a_revoked_key_ends(run: Command, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await in_thread(run, "create", "--tenant", "acme", "--name", "shop", "--role", "service") == 0
    secret = capsys.readouterr().out.strip()
    prefix = secret[10:18]
    assert await in_thread(run, "revoke", prefix) == 0
    assert f"revoked: {prefix} of shop, tenant acme" in capsys.readouterr().out
    assert await holder(url, secret) is None
    assert await in_thread(run, "revoke", prefix, "--json") == 0, "again is no change"
    assert json.loads(capsys.readouterr().out)["state"] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create", "--tenant", "acme", "--name", "x"], "--role"),
        (["create", "--tenant", "acme", "--name", "x", "--role", "king"], "reviewer"),
        (["create", "--tenant", "a b", "--name", "x", "--role", "service"], "--tenant: use 1 to 100"),
        (["create", "--tenant", "a", "--name", "a\x00b", "--role", "service"], "--name: use 1 to 100"),
        (["create", "--tenant", "a", "--name", "x", "--role", "service", "--expires", "90"], "for example 90s"),
        (["create", "--tenant", "a", "--name", "x", "--role", "service", "--expires", "0d"], "longer than zero"),
        (["list"], "--tenant"),
        ([], "command"),
    ],
)
def test_a_wrong_command_line_names_flag_and_remedy(
    run: Command, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert run(*arguments) == 2
    assert told in capsys.readouterr().err


def test_a_whole_key_given_for_a_prefix_is_not_repeated(run: Command, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "sk-sluice-aaaaaaaa-" + "B" * 43
    assert run("revoke", secret) == 2
    shown = capsys.readouterr()
    assert "B" * 43 not in shown.out + shown.err
    assert "eight characters" in shown.err


def test_an_unknown_prefix_is_no_success(run: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("revoke", "aaaaaaaa") == 1
    assert "no key with the prefix aaaaaaaa" in capsys.readouterr().err


def test_a_new_pepper_is_announced(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICE_PEPPER_FILE", str(tmp_path / "elsewhere"))
    assert run("list", "--tenant", "acme") == 0
    shown = capsys.readouterr()
    assert "there was no pepper in" in shown.err
    assert shown.out == "no key of tenant acme\n"
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "address", ["sqlite+aiosqlite:///{folder}/empty.db", "postgresql+asyncpg://u:s3cret@127.0.0.1:1/sluice"]
)
def test_a_database_without_keys_is_named_with_the_remedy(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", address.format(folder=tmp_path))
    assert run("list", "--tenant", "acme") == 1
    told = capsys.readouterr().err
    assert "check DATABASE_URL" in told
    assert "python -m migrations" in told
    assert "s3cret" not in told


def program(module: str, tmp_path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if name not in environment_names()}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        cwd=ROOT,
        env={**plain, "SLUICE_PEPPER_FILE": str(tmp_path / "pepper"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_both_programs_take_the_address_from_a_file(tmp_path: Path) -> None:
    """As processes, with every warning an error; and a file in the place of the variable."""
    address = tmp_path / "address"
    address.write_text(f"sqlite+aiosqlite:///{tmp_path}/by-file.db\n")
    address.chmod(0o600)
    migrated = program("migrations", tmp_path, DATABASE_URL_FILE=str(address))
    assert (migrated.returncode, migrated.stderr) == (0, "")
    assert (tmp_path / "by-file.db").exists()
    listed = program("api.keys", tmp_path, "list", "--tenant", "acme", DATABASE_URL_FILE=str(address))
    assert (listed.returncode, listed.stdout) == (0, "no key of tenant acme\n")


def test_migrations_say_what_is_wrong_without_the_password(tmp_path: Path) -> None:
    failed = program("migrations", tmp_path, DATABASE_URL="postgresql+asyncpg://u:s3cret@127.0.0.1:1/sluice")
    assert failed.returncode == 1
    assert "check DATABASE_URL" in failed.stderr
    assert "s3cret" not in failed.stderr
    assert "Traceback" not in failed.stderr
