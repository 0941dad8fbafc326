"""Telling a channel over HTTP: to an address that was judged, with a limit on everything, and no way round it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import httpx

from adapters.bounded_http import NoReplyError, NotSentError, Reply, post_bytes
from adapters.channel_settings import failure
from adapters.public_address import ForbiddenAddressError, Resolver, UnresolvedHostError, judged_addresses
from adapters.retry_after import retry_after

LONGEST_TELLING = 10.0
"""Seconds for everything: name, connection, request and reply."""
LARGEST_REPLY = 64 * 1024
_TRANSIENT = frozenset({408, 425, 429})
_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(rb"^[A-Za-z0-9._:-]+$")
"""A name in the letters that name servers know, or an IP address without brackets."""


def utc_now() -> datetime:
    """This moment. Notifiers take it as an argument so that tests can choose it."""
    return datetime.now(UTC)


class ChannelHttp:
    """Posts to channels. ``http`` must not look into the environment: a proxy would connect to what was never judged.

    Nor may it be shared with anything else, because connections are made by IP address and a pool cannot tell them
    apart by name.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        resolver: Resolver,
        now: Callable[[], datetime] = utc_now,
        seconds: float = LONGEST_TELLING,
    ) -> None:
        if http.trust_env:
            raise ValueError("the HTTP client of channels reads proxies from the environment; use channel_client()")
        self._http = http
        self._resolver = resolver
        self._now = now
        self._seconds = seconds

    async def post(
        self, channel: str, url: str, content: bytes, headers: Mapping[str, str], *, allow_private: bool
    ) -> None:
        """POST JSON ``content``. A status of 2xx means that the channel took it; what else it says is not read.

        Raises ``NotifierError``. **Correctness:** not idempotent; every call sends.
        """
        target = _target(channel, url, allow_private)
        reply = await self._reply(channel, target, content, headers, allow_private)
        if 200 <= reply.status < 300:
            return
        why = f"answered {reply.status}"
        if 300 <= reply.status < 400:
            why += "; redirects are not followed, set the address it moved to"
        transient = reply.status >= 500 or reply.status in _TRANSIENT
        wait = retry_after(reply.headers, self._now()) if transient else None
        raise failure(channel, why, transient=transient, retry_after=wait)

    async def _reply(
        self, channel: str, target: httpx.URL, content: bytes, headers: Mapping[str, str], allow_private: bool
    ) -> Reply:
        deadline = asyncio.get_running_loop().time() + self._seconds
        host = target.raw_host.decode("ascii")
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await judged_addresses(host, _port(target), self._resolver, allow_private=allow_private)
            return await self._first_reply(target, addresses, content, headers, deadline)
        except ForbiddenAddressError as error:
            raise failure(channel, str(error), transient=False) from None
        except (UnresolvedHostError, NoReplyError) as error:
            raise failure(channel, str(error), transient=True) from None
        except NotSentError as error:
            raise failure(channel, str(error), transient=error.transient) from None
        except TimeoutError:
            raise failure(channel, f"its host was not found within {self._seconds:g} s", transient=True) from None

    async def _first_reply(
        self,
        target: httpx.URL,
        addresses: Sequence[str],
        content: bytes,
        headers: Mapping[str, str],
        deadline: float,
    ) -> Reply:
        """The reply from the first of ``addresses`` that can be reached; TLS and Host still go by the name."""
        pinned = {
            "Content-Type": "application/json",
            **headers,
            "Host": target.netloc.decode("ascii"),
            "Connection": "close",  # a kept one would serve the next host at the same address, under this one's name
        }
        name = target.raw_host.decode("ascii").rstrip(".")
        unreached = NotSentError("could not be reached", transient=True)
        for address in addresses:
            try:
                return await post_bytes(
                    self._http,
                    target.copy_with(host=address),
                    content,
                    pinned,
                    seconds=round(deadline - asyncio.get_running_loop().time(), 1),
                    limit=LARGEST_REPLY,
                    extensions={"sni_hostname": name},
                )
            except NotSentError as error:
                unreached = error
        raise unreached


def _port(target: httpx.URL) -> int:
    return _PORTS[target.scheme] if target.port is None else target.port


def channel_client() -> httpx.AsyncClient:
    """The HTTP client for channels: no proxies, no redirects, no connection kept. Close it when done."""
    return httpx.AsyncClient(
        # The environment may still name certificate authorities; only its proxies are of no use here.
        verify=httpx.create_ssl_context(),
        trust_env=False,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=50, max_keepalive_connections=0),
    )


def _target(channel: str, url: str, allow_private: bool) -> httpx.URL:
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL:
        raise failure(channel, "its address is no URL; correct it", transient=False) from None
    if target.scheme not in _PORTS or not _HOST.match(target.raw_host) or not 0 < _port(target) < 65536:
        raise failure(channel, "its address must be https://, a host, and what follows; correct it", transient=False)
    if target.scheme == "http" and not allow_private:
        why = "its address begins with http://; use https://, or set allow_private: true in the catalog"
        raise failure(channel, why, transient=False)
    if target.userinfo:
        raise failure(channel, "its address holds a user name or password; remove it", transient=False)
    return target
