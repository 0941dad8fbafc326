"""API keys: made once, checked in constant time, ended by expiry or revocation, never stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adapters.api_keys import ApiKeys
from adapters.database import Database
from adapters.tables import ApiKeyRow, table
from domain.identity import Principal, Role

PEPPER = b"p" * 32
RITA = Principal(tenant="acme", name="rita", roles=frozenset({Role.REVIEWER, Role.AUDITOR}))


async def test_a_key_authenticates_its_holder(database: Database) -> None:
    keys = ApiKeys(database, PEPPER)
    secret = await keys.create(RITA)
    assert secret.startswith("sk-sluice-")
    assert await keys.authenticate(secret) == RITA
    assert await keys.authenticate(secret) == RITA
    assert await ApiKeys(database, PEPPER).authenticate(secret) == RITA


async def test_the_secret_is_stored_nowhere(database: Database) -> None:
    secret = await ApiKeys(database, PEPPER).create(RITA)
    rows = await database.read(lambda connection: connection.execute(table(ApiKeyRow).select()).all())
    assert secret[19:] not in repr(rows)
    listed = await ApiKeys(database, PEPPER).list("acme")
    assert [(key.prefix, key.name, key.roles) for key in listed] == [(secret[10:18], "rita", RITA.roles)]
    assert await ApiKeys(database, PEPPER).list("other") == ()


async def test_what_is_no_key_of_ours_is_refused(database: Database) -> None:
    keys = ApiKeys(database, PEPPER)
    secret = await keys.create(RITA)
    wrong = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    for attempt in (
        "",
        "sk-sluice-",
        wrong,
        secret + "A",
        secret + "\n",
        "sk-sluice-aaaaaaaa-" + "A" * 43,
        "é",
        "\x00",
    ):
        assert await keys.authenticate(attempt) is None
    assert await ApiKeys(database, b"q" * 32).authenticate(secret) is None


async def test_expired_and_revoked_keys_are_refused(database: Database) -> None:
    keys = ApiKeys(database, PEPPER)
    now = datetime.now(UTC)
    expired = await keys.create(RITA, expires_at=now - timedelta(seconds=1))
    lasting = await keys.create(RITA, expires_at=now + timedelta(days=1))
    assert await keys.authenticate(expired) is None
    assert await keys.authenticate(lasting) == RITA
    await keys.revoke(lasting[10:18])
    await keys.revoke(lasting[10:18])
    assert await keys.authenticate(lasting) is None
    assert [key.revoked_at is not None for key in await keys.list("acme")] == [False, True]


async def test_a_checked_key_is_remembered_for_a_moment_only(database: Database) -> None:
    remembering, forgetting = ApiKeys(database, PEPPER, cache_seconds=3600), ApiKeys(database, PEPPER, cache_seconds=0)
    secret = await remembering.create(RITA)
    assert await remembering.authenticate(secret) == RITA
    assert await forgetting.authenticate(secret) == RITA
    await ApiKeys(database, PEPPER).revoke(secret[10:18])  # in another process
    assert await remembering.authenticate(secret) == RITA
    assert await forgetting.authenticate(secret) is None


def test_a_short_pepper_is_refused(tmp_path: object) -> None:
    with pytest.raises(ValueError, match="pepper"):
        ApiKeys(Database("sqlite+aiosqlite:///x.db"), b"short")
