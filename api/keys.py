"""``python -m api.keys``: makes, lists and revokes API keys, straight on the database and without a running API.

    python -m api.keys create --tenant T --name N --role reviewer [--role …] [--expires 90d] [--json]
    python -m api.keys list --tenant T [--json]
    python -m api.keys revoke PREFIX [--json]

It reads DATABASE_URL and SLUICE_PEPPER_FILE as the API does; both must be the API's own. Whoever may run it may make
keys for everybody, so it is for operators on the machine and not for the network.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import DBAPIError

from adapters.api_keys import ApiKey, ApiKeys, prefix_of
from adapters.database import Database
from adapters.settings import Settings
from domain.duration import Duration
from domain.errors import SluiceError
from domain.identity import Principal, Role

_HOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_PREFIX = re.compile(r"[a-z2-7]{8}")
_DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)


class KeysError(SluiceError):
    """A key cannot be made, listed or revoked. The message names the remedy, and never a key."""


def _holder(text: str) -> str:
    if not _HOLDER.fullmatch(text):
        raise argparse.ArgumentTypeError("use 1 to 100 letters, digits and . _ @ + -, beginning with a letter or digit")
    return text


def _prefix(text: str) -> str:
    # What was given is not repeated: somebody may have pasted the whole key.
    if not _PREFIX.fullmatch(text):
        raise argparse.ArgumentTypeError("give the eight characters that stand behind 'sk-sluice-'; 'list' shows them")
    return text


def _lifetime(text: str) -> timedelta:
    try:
        return _DURATION.validate_python(text)
    except ValidationError as error:
        problem = str(error.errors(include_url=False, include_input=False)[0]["msg"])
        raise argparse.ArgumentTypeError(problem.removeprefix("Value error, ")) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api.keys", description="Makes, lists and revokes API keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key and print it, once")
    create.add_argument("--tenant", type=_holder, required=True, help="whose objects the key can see")
    create.add_argument(
        "--name",
        type=_holder,
        required=True,
        help="who holds it; stands in every record, and nobody decides over a request of the same name",
    )
    create.add_argument(
        "--role",
        dest="roles",
        action="append",
        required=True,
        choices=[role.value for role in Role],
        help="what it may be used for; may be given several times",
    )
    create.add_argument("--expires", type=_lifetime, metavar="DURATION", help="how long it lives, such as 90d")
    listing = commands.add_parser("list", help="show a tenant's keys, never their secrets")
    listing.add_argument("--tenant", type=_holder, required=True, help="whose keys")
    revoke = commands.add_parser("revoke", help="end a key; the API follows within seconds")
    revoke.add_argument("prefix", type=_prefix, metavar="PREFIX", help="the eight characters behind 'sk-sluice-'")
    for command in (create, listing, revoke):
        command.add_argument("--json", dest="as_json", action="store_true", help="print JSON and nothing else")
    return parser


async def _create(keys: ApiKeys, given: argparse.Namespace, now: datetime) -> None:
    """Make a key.

    **Correctness:** run twice, it makes two keys. Where the output was lost, revoke the key by the prefix that
    ``list`` shows.
    """
    principal = Principal(tenant=given.tenant, name=given.name, roles=frozenset(Role(role) for role in given.roles))
    expires_at = None if given.expires is None else now + given.expires
    secret = await keys.create(principal, expires_at)
    made = await keys.find(prefix_of(secret))
    if made is None:
        raise KeysError("the key was stored and cannot be found again; look at the database, and use 'list'")
    if given.as_json:
        print(json.dumps({**_fields(made, now), "secret": secret}, indent=2))
        return
    print(secret)
    until = "without an end" if made.expires_at is None else f"until {_moment(made.expires_at)}"
    told = f"for {made.name} of {made.tenant}, as {_roles(made)}, {until}; shown this once, so keep it now"
    print(told, file=sys.stderr)


async def _list(keys: ApiKeys, given: argparse.Namespace, now: datetime) -> None:
    found = await keys.list(given.tenant)
    if given.as_json:
        print(json.dumps({"items": [_fields(key, now) for key in found]}, indent=2))
        return
    if not found:
        print(f"no key of tenant {given.tenant}")
        return
    rows = [("prefix", "state", "name", "roles", "created", "expires")]
    for key in found:
        expires = "never" if key.expires_at is None else _moment(key.expires_at)
        rows.append((key.prefix, _state(key, now), key.name, _roles(key), _moment(key.created_at), expires))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def _revoke(keys: ApiKeys, given: argparse.Namespace, now: datetime) -> None:
    """End a key. **Correctness:** run twice, the first moment stays."""
    known = await keys.find(given.prefix)
    if known is None:
        raise KeysError(f"there is no key with the prefix {given.prefix}; 'list' shows those of a tenant")
    await keys.revoke(given.prefix)
    ended = await keys.find(given.prefix) or known
    if given.as_json:
        print(json.dumps(_fields(ended, now), indent=2))
    else:
        print(f"{_state(ended, now)}: {ended.prefix} of {ended.name}, tenant {ended.tenant}; in force within seconds")


_COMMANDS = {"create": _create, "list": _list, "revoke": _revoke}


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def _roles(key: ApiKey) -> str:
    return ", ".join(sorted(role.value for role in key.roles))


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _fields(key: ApiKey, now: datetime) -> dict[str, Any]:
    fields = key.model_dump(mode="json")
    return {**fields, "roles": sorted(fields["roles"]), "state": _state(key, now)}


async def _run(settings: Settings, given: argparse.Namespace) -> None:
    if settings.pepper is None and not settings.pepper_file.exists():
        print(
            f"note: there was no pepper in {settings.pepper_file}, so one was made; "
            "the API accepts the key only if its SLUICE_PEPPER_FILE is this very file",
            file=sys.stderr,
        )
    database = Database(settings.database_url)
    try:
        keys = ApiKeys(database, settings.read_pepper())
        await _COMMANDS[given.command](keys, given, datetime.now(UTC))
    except (DBAPIError, OSError) as error:
        # The driver's own words may hold the address with its password.
        raise KeysError(
            f"the database gives no access to its keys ({type(error).__name__}); check DATABASE_URL, and bring the "
            "schema up to date with 'python -m migrations'"
        ) from None
    finally:
        await database.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; exit code 0 if it was done, 1 with a reason if not, 2 for a wrong command line."""
    given = _parser().parse_args(arguments)
    try:
        asyncio.run(_run(Settings.load(), given))
    except SluiceError as error:
        print(f"keys: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
