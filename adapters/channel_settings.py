"""What a channel takes from the environment, and how its failures are told: by its name, never by address or secret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from domain.notice import NotifierError


def failure(channel: str, why: str, *, transient: bool, retry_after: timedelta | None = None) -> NotifierError:
    """The error that says why ``channel`` was not told."""
    return NotifierError(f"channel {channel!r}: {why}", transient=transient, retry_after=retry_after)


def secret(channel: str, name: str, environ: Mapping[str, str]) -> str:
    """The value of the environment variable ``name``. Raises a permanent ``NotifierError`` where it is not set."""
    value = environ.get(name, "").strip()
    if not value:
        raise failure(channel, f"nothing is set; set the environment variable {name}", transient=False)
    return value


def address(channel: str, url: str | None, url_env: str | None, environ: Mapping[str, str]) -> str:
    """The address in the variable ``url_env`` where that is set, else ``url``. Raises a permanent ``NotifierError``."""
    if url_env is not None and (url is None or environ.get(url_env, "").strip()):
        return secret(channel, url_env, environ)
    if url is None:
        raise failure(channel, "its address is not in the catalog; add url or url_env there", transient=False)
    return url
