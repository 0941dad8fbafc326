"""One POST with every bound that a server which is not ours needs: total time, size, no redirects, no compression.

BoundedHttpError
├── NotSentError      the request never left; nobody can have billed it
└── NoReplyError      it may have arrived, but no whole reply came back
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from domain.errors import SluiceError

_LONGEST_CONNECT = 10.0


class BoundedHttpError(SluiceError):
    """There is no reply. The message says why, without address, header or content."""


class NotSentError(BoundedHttpError):
    """The request never left. ``transient`` if trying again may help."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class NoReplyError(BoundedHttpError):
    """The request may have arrived, but no whole reply came back in time."""


@dataclass(frozen=True)
class Reply:
    """A reply. ``body`` is None where it was longer than the limit or compressed although that was not asked for."""

    status: int
    headers: httpx.Headers
    body: bytes | None
    oversized: bool = False


async def post_json(
    http: httpx.AsyncClient, url: str, payload: Any, headers: Mapping[str, str], *, seconds: float, limit: int
) -> Reply:
    """POST ``payload`` and read the reply, in at most ``seconds`` altogether and at most ``limit`` bytes.

    The time limits of httpx hold for each read alone, so that a server which sends a byte now and then would never
    reach them. Raises ``NotSentError`` and ``NoReplyError``. **Correctness:** not idempotent; every call sends.
    """
    return await _post(http, url, headers, seconds, limit, json=payload)


async def post_bytes(
    http: httpx.AsyncClient,
    url: httpx.URL,
    content: bytes,
    headers: Mapping[str, str],
    *,
    seconds: float,
    limit: int,
    extensions: Mapping[str, Any],
) -> Reply:
    """The same for ``content`` exactly as it is. ``extensions`` are those of httpx, such as ``sni_hostname``."""
    return await _post(http, url, headers, seconds, limit, content=content, extensions=dict(extensions))


async def _post(
    http: httpx.AsyncClient, url: httpx.URL | str, headers: Mapping[str, str], seconds: float, limit: int, **what: Any
) -> Reply:
    connect = min(_LONGEST_CONNECT, seconds / 2)
    request_headers = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
    try:
        async with (
            asyncio.timeout(seconds),
            http.stream(
                "POST",
                url,
                headers=request_headers,
                timeout=httpx.Timeout(seconds, connect=connect, pool=connect),
                follow_redirects=False,
                **what,
            ) as response,
        ):
            return await _read(response, limit)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        raise NotSentError(f"could not be reached ({type(error).__name__})", transient=True) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise NotSentError(f"the request cannot be sent ({type(error).__name__})", transient=False) from None
    except (TimeoutError, httpx.TimeoutException):
        raise NoReplyError(f"gave no whole reply within {seconds:g} s") from None
    except httpx.HTTPError as error:
        raise NoReplyError(f"broke off before its reply was complete ({type(error).__name__})") from None


async def _read(response: httpx.Response, limit: int) -> Reply:
    status, headers = response.status_code, response.headers
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        return Reply(status, headers, None)
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            return Reply(status, headers, None, oversized=True)
    return Reply(status, headers, bytes(body))
