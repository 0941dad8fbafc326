"""Where the API is and which key to use.

An address and a key are given by option or environment (``SLUICE_URL``, ``SLUICE_API_KEY``). What is missing comes
from the embedded stack's ``var/credentials.json``, looked for from the current folder upwards. A key is only ever sent
to the address it belongs to: a key of the file to the file's own address, a key that was given never to the address in
a file that happens to lie in the current folder.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli.exits import CommandError, ExitCode

DEFAULT_URL = "http://127.0.0.1:8080"
FILE = Path("var") / "credentials.json"
_LARGEST = 64 * 1024
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Connection:
    """An address with the key for it. The key never shows in a representation, so no traceback can print it."""

    url: str
    key: str = field(repr=False)

    @property
    def loopback(self) -> bool:
        """True if the address is this machine."""
        return is_loopback(self.url)


def is_loopback(url: str) -> bool:
    """True if ``url`` names this machine."""
    return (urlsplit(url).hostname or "") in _LOOPBACK


def connection(
    url: str | None, key: str | None, roles: Sequence[str], folder: Path, warn: Callable[[str], None]
) -> Connection:
    """The connection for a command that any of ``roles`` may run, most fitting role first.

    ``url`` and ``key`` are what options and environment gave. Raises ``CommandError`` (usage) with the remedy when
    there is no key, the address is no HTTP address, or the file is broken; warns when the key could leak.
    """
    if key is not None:
        return _checked(url or DEFAULT_URL, key, warn)
    path = find_file(folder)
    if path is None:
        raise CommandError(
            ExitCode.USAGE,
            f"no API key: SLUICE_API_KEY is not set and there is no {FILE} here or in a folder above",
            "start the embedded stack (make run), or set SLUICE_URL and SLUICE_API_KEY",
        )
    stored = _read(path, warn)
    if url is not None and _normal(url) != _normal(stored["url"]):
        raise CommandError(
            ExitCode.USAGE,
            f"no API key for {url}: {path} holds keys for {stored['url']} only",
            "set SLUICE_API_KEY to a key of that API",
        )
    for role in roles:
        if isinstance(stored["keys"].get(role), str):
            return _checked(stored["url"], stored["keys"][role], warn)
    raise CommandError(
        ExitCode.USAGE,
        f"{path} holds no key of role {' or '.join(roles)}",
        "set SLUICE_API_KEY to a key of that role",
    )


def find_file(folder: Path) -> Path | None:
    """The nearest ``var/credentials.json`` from ``folder`` upwards; None if there is none."""
    start = folder.absolute()
    return next((place / FILE for place in (start, *start.parents) if (place / FILE).is_file()), None)


def _read(path: Path, warn: Callable[[str], None]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            stored = json.loads(file.read(_LARGEST))
    except OSError as error:
        raise CommandError(ExitCode.USAGE, f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise CommandError(
            ExitCode.USAGE, f"{path} is not JSON", "remove it and start the embedded stack again (make run)"
        ) from None
    if mode & 0o077:
        warn(f"{path} holds API keys and can be read by other users (mode {mode:04o}); run: chmod 600 {path}")
    if not (isinstance(stored, dict) and isinstance(stored.get("url"), str) and isinstance(stored.get("keys"), dict)):
        raise CommandError(
            ExitCode.USAGE,
            f"{path} lacks 'url' or 'keys'",
            "remove it and start the embedded stack again (make run)",
        )
    return stored


def _checked(url: str, key: str, warn: Callable[[str], None]) -> Connection:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise CommandError(
            ExitCode.USAGE,
            f"{url!r} is not the address of an API",
            f"write it like {DEFAULT_URL}, in --url or SLUICE_URL",
        )
    if not key.strip() or not key.isascii() or not key.isprintable():
        raise CommandError(
            ExitCode.USAGE, "the API key is empty or holds characters that no key has", "copy it again, whole"
        )
    if parts.scheme == "http" and not is_loopback(url):
        warn(f"the API key travels unencrypted to {parts.hostname}; use an https:// address")
    return Connection(url=url.rstrip("/"), key=key.strip())


def _normal(url: str) -> object:
    """What makes two addresses the same one; this machine's names count as equal."""
    try:
        parts = urlsplit(url.strip().lower())
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return url
    host = "this machine" if parts.hostname in _LOOPBACK else parts.hostname
    return parts.scheme, host, port, parts.path.rstrip("/")
