"""Where a catalog entry is reached and with which key: both by environment name, looked up at the time of the call."""

from __future__ import annotations

import re
from collections.abc import Mapping

from domain.errors import SluiceError

_SENDABLE = re.compile(r"^[\x21-\x7e]+$")


class EndpointError(SluiceError):
    """An address or key is not configured or cannot be used. Names the environment variable, never its value."""


def address(url: str, url_env: str | None, environ: Mapping[str, str]) -> str:
    """The address from the variable ``url_env`` where that is set, else ``url``; without a slash at the end."""
    override = environ.get(url_env, "").strip() if url_env is not None else ""
    if override and not re.match(r"^https?://[^/]", override):
        raise EndpointError(f"{url_env} is no address; set it to one that begins with http:// or https://")
    return (override or url).rstrip("/")


def authorization(key_env: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The header that carries the key in the variable ``key_env``; none where no key is named.

    A key is checked before it is sent, because the error of an HTTP client that refuses a header repeats its value.
    """
    if key_env is None:
        return {}
    key = environ.get(key_env, "").strip()
    if not key:
        raise EndpointError(f"no key: set the environment variable {key_env}")
    if not _SENDABLE.match(key):
        raise EndpointError(f"the key in {key_env} holds characters that no header can carry; set it again")
    return {"Authorization": f"Bearer {key}"}
