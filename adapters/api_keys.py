"""API keys: opaque secrets that are shown once and stored only as a keyed hash."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, select, update

from adapters.database import Database
from adapters.tables import ApiKeyRow, table
from domain.identity import Principal, Role
from domain.payload import Payload

_keys = table(ApiKeyRow)

_SECRET = re.compile(r"sk-sluice-([a-z2-7]{8})-[A-Za-z0-9_-]{43}")
_PREFIX_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_LARGEST_CACHE = 10_000


class ApiKey(Payload):
    """What may be shown of a key: ``prefix`` names it, the secret is not known."""

    prefix: str
    tenant: str
    name: str
    roles: frozenset[Role]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class ApiKeys:
    """Makes and checks API keys. ``pepper`` is the installation's own secret; without it the stored hashes are useless.

    A key that was checked is remembered for ``cache_seconds``, so a revocation by another process takes that long.
    """

    def __init__(self, database: Database, pepper: bytes, cache_seconds: float = 5.0) -> None:
        if len(pepper) < 16:
            raise ValueError("the pepper is shorter than 16 bytes; make a new one of 32 random bytes")
        self._database = database
        self._pepper = pepper
        self._cache_seconds = cache_seconds
        self._cache: dict[str, tuple[Principal, float]] = {}

    async def create(self, principal: Principal, expires_at: datetime | None = None) -> str:
        """A new key for ``principal``: its secret, which is shown now and never again.

        **Correctness:** a second call makes a second key. Should the answer be lost, revoke the key by its prefix.
        """
        prefix = "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(8))
        secret = f"sk-sluice-{prefix}-{secrets.token_urlsafe(32)}"
        row = {
            "prefix": prefix,
            "tenant": principal.tenant,
            "name": principal.name,
            "roles": json.dumps(sorted(role.value for role in principal.roles)),
            "mac": self._mac(secret),
            "created_at": datetime.now(UTC),
            "expires_at": expires_at,
        }

        def work(connection: Connection) -> None:
            connection.execute(_keys.insert(), row)

        await self._database.write(work)
        return secret

    async def authenticate(self, secret: str) -> Principal | None:
        """Whose key this is; None if it is malformed, unknown, expired or revoked."""
        match = _SECRET.fullmatch(secret)
        if match is None:
            return None
        mac = self._mac(secret)
        remembered = self._cache.get(mac)
        if remembered is not None and time.monotonic() < remembered[1]:
            return remembered[0]
        row = await self._database.read(partial(_find, prefix=match[1]))
        now = datetime.now(UTC)
        if row is None or not hmac.compare_digest(row.mac, mac) or row.revoked_at is not None:
            return None
        if row.expires_at is not None and row.expires_at <= now:
            return None
        principal = Principal(tenant=row.tenant, name=row.name, roles=_roles(row.roles))
        left = self._cache_seconds if row.expires_at is None else (row.expires_at - now).total_seconds()
        if len(self._cache) >= _LARGEST_CACHE:
            self._cache.clear()
        self._cache[mac] = (principal, time.monotonic() + min(left, self._cache_seconds))
        return principal

    async def revoke(self, prefix: str) -> None:
        """End the key with this prefix. Again, or for an unknown prefix, is no change."""
        statement = (
            update(_keys)
            .where(_keys.c.prefix == prefix, _keys.c.revoked_at.is_(None))
            .values(revoked_at=datetime.now(UTC))
        )
        await self._database.write(lambda connection: connection.execute(statement).rowcount)
        self._cache.clear()

    async def list(self, tenant: str) -> tuple[ApiKey, ...]:
        """The tenant's keys, oldest first, revoked ones too."""
        statement = select(_keys).where(_keys.c.tenant == tenant).order_by(_keys.c.created_at, _keys.c.prefix)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return tuple(_api_key(row) for row in rows)

    async def find(self, prefix: str) -> ApiKey | None:
        """The key with this prefix, whosever it is; for operators."""
        row = await self._database.read(partial(_find, prefix=prefix))
        return None if row is None else _api_key(row)

    def _mac(self, secret: str) -> str:
        return hmac.new(self._pepper, secret.encode("ascii"), hashlib.sha256).hexdigest()


def prefix_of(secret: str) -> str:
    """The part of a key that names it and may be shown; says nothing of what has not authenticated."""
    return secret.removeprefix("sk-sluice-")[:8]


def _find(connection: Connection, prefix: str) -> Row[Any] | None:
    return connection.execute(select(_keys).where(_keys.c.prefix == prefix)).one_or_none()


def _api_key(row: Row[Any]) -> ApiKey:
    return ApiKey(**dict(row._mapping) | {"roles": _roles(row.roles)})


def _roles(stored: str) -> frozenset[Role]:
    return frozenset(Role(role) for role in json.loads(stored))
