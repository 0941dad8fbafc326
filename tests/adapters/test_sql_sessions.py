"""Sessions: found while they are in force, ended with what they came from, stored only as a keyed hash."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, update

from adapters.api_keys import ApiKeys
from adapters.database import Database
from adapters.sessions import OpenedSession, Session, Sessions
from adapters.tables import ApiKeyRow, IdentityRow, SessionRow, table
from domain.identity import Principal, Role

PEPPER = b"p" * 32
LIFETIME = timedelta(hours=8)
PROVIDER = "oidc:https://login.example"
RITA = Principal(tenant="acme", name="rita@example.com", roles=frozenset({Role.REVIEWER, Role.AUDITOR}))


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(database: Database, clock: Clock) -> Sessions:
    return Sessions(database, PEPPER, clock)


async def opened_with_key(
    database: Database, sessions: Sessions, expires_at: datetime | None = None
) -> tuple[OpenedSession, str]:
    """A session and the prefix of the key that opened it."""
    prefix = (await ApiKeys(database, PEPPER).create(RITA, expires_at))[10:18]
    return await sessions.open(RITA, f"key:{prefix}", LIFETIME), prefix


async def test_a_session_from_a_provider_is_found_until_it_expires(sessions: Sessions, clock: Clock) -> None:
    opened = await sessions.open(RITA, PROVIDER, LIFETIME)
    assert opened.expires_at == clock.now + LIFETIME
    found = await sessions.find(opened.token)
    assert found == Session(principal=RITA, csrf=opened.csrf, source=PROVIDER, expires_at=opened.expires_at)
    clock.now += LIFETIME - timedelta(seconds=1)
    assert await sessions.find(opened.token) == found
    clock.now += timedelta(seconds=1)
    assert await sessions.find(opened.token) is None


async def test_tokens_are_never_alike_and_stand_for_one_session_each(sessions: Sessions) -> None:
    first, second = await sessions.open(RITA, PROVIDER, LIFETIME), await sessions.open(RITA, PROVIDER, LIFETIME)
    assert len({first.token, first.csrf, second.token, second.csrf}) == 4
    await sessions.end(first.token)
    assert await sessions.find(first.token) is None
    assert await sessions.find(second.token) is not None


@pytest.mark.parametrize("token", ["", "x", "é", "\x00", "\ud800", "a" * 100_000])
async def test_what_is_no_token_finds_nothing(sessions: Sessions, token: str) -> None:
    await sessions.open(RITA, PROVIDER, LIFETIME)
    assert await sessions.find(token) is None
    await sessions.end(token)


async def test_the_token_is_stored_nowhere(database: Database, sessions: Sessions) -> None:
    opened = await sessions.open(RITA, PROVIDER, LIFETIME)
    rows = await database.read(lambda connection: connection.execute(table(SessionRow).select()).all())
    assert len(rows) == 1
    assert opened.token not in repr(rows)
    assert await Sessions(database, b"q" * 32).find(opened.token) is None
    assert await sessions.find(rows[0].token_sha256) is None
    assert opened.token not in repr(opened)
    assert opened.csrf not in f"{opened!r} {await sessions.find(opened.token)!r}"


async def test_ending_is_for_good_and_keeps_its_moment(database: Database, sessions: Sessions, clock: Clock) -> None:
    opened = await sessions.open(RITA, PROVIDER, LIFETIME)
    ended = clock.now
    await sessions.end(opened.token)
    clock.now += timedelta(minutes=1)
    await sessions.end(opened.token)
    assert await sessions.find(opened.token) is None
    row = await database.read(lambda connection: connection.execute(table(SessionRow).select()).one())
    assert row.ended_at == ended


async def test_a_session_ends_when_its_key_is_revoked(database: Database, sessions: Sessions) -> None:
    opened, prefix = await opened_with_key(database, sessions)
    found = await sessions.find(opened.token)
    assert found is not None
    assert (found.principal, found.source) == (RITA, f"key:{prefix}")
    await ApiKeys(database, PEPPER).revoke(prefix)
    assert await sessions.find(opened.token) is None


async def test_a_session_ends_when_its_key_expires(database: Database, sessions: Sessions, clock: Clock) -> None:
    opened, _ = await opened_with_key(database, sessions, clock.now + timedelta(hours=1))
    clock.now += timedelta(minutes=59)
    assert await sessions.find(opened.token) is not None
    clock.now += timedelta(minutes=1)
    assert await sessions.find(opened.token) is None


async def test_a_session_of_an_unknown_or_foreign_key_is_none(database: Database, sessions: Sessions) -> None:
    assert await sessions.find((await sessions.open(RITA, "key:aaaaaaaa", LIFETIME)).token) is None
    _, prefix = await opened_with_key(database, sessions)
    other = RITA.model_copy(update={"tenant": "other"})
    assert await sessions.find((await sessions.open(other, f"key:{prefix}", LIFETIME)).token) is None


async def test_a_key_that_lost_a_role_takes_it_from_the_session(database: Database, sessions: Sessions) -> None:
    opened, prefix = await opened_with_key(database, sessions)
    keys = table(ApiKeyRow)
    fewer = update(keys).where(keys.c.prefix == prefix).values(roles='["auditor", "operator"]')
    await database.write(lambda connection: connection.execute(fewer).rowcount)
    found = await sessions.find(opened.token)
    assert found is not None
    assert found.principal.roles == {Role.AUDITOR}


async def test_a_person_from_a_provider_becomes_an_identity(
    database: Database, sessions: Sessions, clock: Clock
) -> None:
    async def identities() -> list[tuple[object, ...]]:
        rows = await database.read(lambda connection: connection.execute(table(IdentityRow).select()).all())
        return sorted((row.tenant, row.name, json.loads(row.roles), row.source, row.seen_at) for row in rows)

    await sessions.open(RITA, PROVIDER, LIFETIME)
    assert await identities() == [("acme", RITA.name, ["auditor", "reviewer"], PROVIDER, clock.now)]
    clock.now += timedelta(days=1)
    await sessions.open(RITA.model_copy(update={"roles": frozenset({Role.OPERATOR})}), PROVIDER, LIFETIME)
    await sessions.open(RITA.model_copy(update={"tenant": "other"}), PROVIDER, LIFETIME)
    assert await identities() == [
        ("acme", RITA.name, ["operator"], PROVIDER, clock.now),
        ("other", RITA.name, ["auditor", "reviewer"], PROVIDER, clock.now),
    ]


async def test_a_key_makes_no_identity(database: Database, sessions: Sessions) -> None:
    await opened_with_key(database, sessions)
    assert await database.read(lambda connection: connection.execute(table(IdentityRow).select()).all()) == []


async def test_the_newest_sign_in_limits_older_sessions(sessions: Sessions) -> None:
    older = await sessions.open(RITA, PROVIDER, LIFETIME)
    await sessions.open(RITA.model_copy(update={"roles": frozenset({Role.AUDITOR})}), PROVIDER, LIFETIME)
    found = await sessions.find(older.token)
    assert found is not None
    assert found.principal.roles == {Role.AUDITOR}
    await sessions.open(RITA.model_copy(update={"roles": frozenset({Role.OPERATOR})}), PROVIDER, LIFETIME)
    assert await sessions.find(older.token) is None


async def test_without_the_identity_there_is_no_session(database: Database, sessions: Sessions) -> None:
    opened = await sessions.open(RITA, PROVIDER, LIFETIME)
    await database.write(lambda connection: connection.execute(delete(table(IdentityRow))).rowcount)
    assert await sessions.find(opened.token) is None
    elsewhere = await sessions.open(RITA, PROVIDER, LIFETIME)
    await sessions.open(RITA, "oidc:https://other.example", LIFETIME)
    assert await sessions.find(elsewhere.token) is None


async def test_a_session_names_where_it_comes_from(sessions: Sessions) -> None:
    with pytest.raises(ValueError, match="key or from an identity provider"):
        await sessions.open(RITA, "somewhere", LIFETIME)


async def test_sessions_that_expired_long_ago_go(database: Database, sessions: Sessions, clock: Clock) -> None:
    async def count() -> int:
        rows = await database.read(lambda connection: connection.execute(table(SessionRow).select()).all())
        return len(rows)

    await sessions.open(RITA, PROVIDER, LIFETIME)
    clock.now += LIFETIME + timedelta(days=30)
    await sessions.open(RITA, PROVIDER, LIFETIME)
    assert await count() == 2
    clock.now += timedelta(seconds=1)
    await sessions.open(RITA, PROVIDER, LIFETIME)
    assert await count() == 2
