"""One generated key for every role, in a file only its owner may read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import ValidationError

from adapters.api_keys import ApiKeys
from adapters.database import Database
from adapters.settings import Settings
from domain.identity import Principal, Role
from domain.payload import Payload
from standalone.processes import StackError

TENANT = "demo"


class Credentials(Payload):
    """Keys of the embedded stack by role, and where its API is."""

    url: str
    tenant: str
    keys: dict[Role, str]

    def bearer(self, role: Role) -> dict[str, str]:
        """The header that authenticates ``role``."""
        return {"Authorization": f"Bearer {self.keys[role]}"}


async def ensure_credentials(settings: Settings, data: Path, url: str) -> Credentials:
    """The keys in ``credentials.json``, those made that are missing there or are not this database's."""
    path = data / "credentials.json"
    database = Database(settings.database_url)
    try:
        keys = ApiKeys(database, settings.read_pepper())
        known = _read(path)
        kept = known.keys if known is not None and await keys.authenticate(known.keys[Role.SERVICE]) else {}
        made = {
            role: await keys.create(Principal(tenant=TENANT, name=f"demo-{role}", roles=frozenset({role})))
            for role in Role
            if role not in kept
        }
        issued = Credentials(url=url, tenant=TENANT, keys={**kept, **made})
    finally:
        await database.close()
    _write(path, issued)
    return issued


def _read(path: Path) -> Credentials | None:
    try:
        return Credentials.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError):
        raise StackError(f"{path} is damaged; remove it, and new keys are made") from None


def _write(path: Path, credentials: Credentials) -> None:
    """Write whole or not at all, readable by the owner only from its first byte on."""
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(credentials.model_dump(mode="json"), file, indent=2)
        file.write("\n")
    os.replace(beside, path)
