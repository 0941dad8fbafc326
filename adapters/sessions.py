"""Who is signed in to the console: sessions, of which only a keyed hash of their token is stored.

A session is worth no more than what it came from. One that a key opened ends with the key, one that an identity
provider opened has at most the roles that its person had at their newest sign-in.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, delete, insert, select, update

from adapters.database import Database, insert_new
from adapters.tables import ApiKeyRow, IdentityRow, SessionRow, table
from domain.identity import Principal, Role
from domain.payload import Payload

_sessions = table(SessionRow)
_identities = table(IdentityRow)
_keys = table(ApiKeyRow)

_FROM_KEY = "key:"
_FROM_PROVIDER = "oidc:"
_KEPT = timedelta(days=30)
"""How long a session that has expired stays readable for operators before its row goes."""


class OpenedSession(Payload):
    """A new session: ``token`` for the browser's cookie, shown now and never again, ``csrf`` for its forms."""

    token: str = Field(repr=False)
    csrf: str = Field(repr=False)
    expires_at: datetime


class Session(Payload):
    """A session that is in force, and what its person may do now."""

    principal: Principal
    csrf: str = Field(repr=False)
    source: str
    expires_at: datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Sessions:
    """Opens, finds and ends sessions. ``pepper`` is the installation's own secret."""

    def __init__(self, database: Database, pepper: bytes, clock: Callable[[], datetime] = _utc_now) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock

    async def open(self, principal: Principal, source: str, lifetime: timedelta) -> OpenedSession:
        """A session for ``principal``, who was authenticated by ``source``: ``key:<prefix>`` or ``oidc:<issuer>``.

        Somebody whom an identity provider vouches for is also entered among the identities, which stand for a key
        wherever rights are looked up. **Correctness:** a second call opens a second session; one whose answer was lost
        expires unused.
        """
        if not source.startswith((_FROM_KEY, _FROM_PROVIDER)):
            raise ValueError("a session comes from a key or from an identity provider; name which")
        token, csrf, now = secrets.token_urlsafe(32), secrets.token_urlsafe(32), self._clock()
        roles = json.dumps(sorted(role.value for role in principal.roles))
        who = {"tenant": principal.tenant, "name": principal.name, "roles": roles, "source": source}
        row = {
            **who,
            "token_sha256": self._mac(token),
            "csrf": csrf,
            "created_at": now,
            "expires_at": now + lifetime,
            "ended_at": None,
        }

        def work(connection: Connection) -> None:
            connection.execute(delete(_sessions).where(_sessions.c.expires_at < now - _KEPT))
            if source.startswith(_FROM_PROVIDER):
                _see(connection, {**who, "seen_at": now})
            connection.execute(insert(_sessions), row)

        await self._database.write(work)
        return OpenedSession(token=token, csrf=csrf, expires_at=now + lifetime)

    async def find(self, token: str) -> Session | None:
        """The session of ``token``; None if it is unknown, expired or ended, or what it came from is no longer good."""
        now = self._clock()
        return await self._database.read(partial(_find, mac=self._mac(token), now=now))

    async def end(self, token: str) -> None:
        """End the session of ``token``. Again, or for an unknown token, is no change."""
        statement = (
            update(_sessions)
            .where(_sessions.c.token_sha256 == self._mac(token), _sessions.c.ended_at.is_(None))
            .values(ended_at=self._clock())
        )
        await self._database.write(lambda connection: connection.execute(statement).rowcount)

    def _mac(self, token: str) -> str:
        return hmac.new(self._pepper, token.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _see(connection: Connection, row: dict[str, Any]) -> None:
    """Enter a person among the identities, or change what is known of them."""
    if not insert_new(connection, _identities, [row], "name"):
        same = (_identities.c.tenant == row["tenant"]) & (_identities.c.name == row["name"])
        connection.execute(update(_identities).where(same).values(row))


def _find(connection: Connection, mac: str, now: datetime) -> Session | None:
    row = connection.execute(select(_sessions).where(_sessions.c.token_sha256 == mac)).one_or_none()
    if row is None or row.ended_at is not None or row.expires_at <= now:
        return None
    from_key = row.source.startswith(_FROM_KEY)
    roles = _roles_of_key(connection, row, now) if from_key else _roles_of_identity(connection, row)
    held = roles & _roles(row.roles)
    if not held:
        return None
    principal = Principal(tenant=row.tenant, name=row.name, roles=held)
    return Session(principal=principal, csrf=row.csrf, source=row.source, expires_at=row.expires_at)


def _roles_of_key(connection: Connection, session: Row[Any], now: datetime) -> frozenset[Role]:
    """What the key that opened ``session`` still gives: nothing once it is revoked or has expired."""
    prefix = session.source.removeprefix(_FROM_KEY)
    key = connection.execute(select(_keys).where(_keys.c.prefix == prefix)).one_or_none()
    if key is None or key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        return frozenset()
    return _roles(key.roles) if (key.tenant, key.name) == (session.tenant, session.name) else frozenset()


def _roles_of_identity(connection: Connection, session: Row[Any]) -> frozenset[Role]:
    """What the person of ``session`` held at their newest sign-in, if that was at the same provider."""
    found = connection.execute(
        select(_identities.c.roles).where(
            _identities.c.tenant == session.tenant,
            _identities.c.name == session.name,
            _identities.c.source == session.source,
        )
    ).scalar_one_or_none()
    return frozenset() if found is None else _roles(found)


def _roles(stored: str) -> frozenset[Role]:
    return frozenset(Role(role) for role in json.loads(stored))
