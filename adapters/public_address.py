"""Which addresses may be told anything: only public ones, so that no channel becomes a way into our own network.

A host name is resolved here and nowhere else, and whoever connects uses the addresses that were judged: a name server
that answers otherwise the next time is not asked again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import TypeAlias

from domain.errors import SluiceError

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host name and port to IP addresses. Raises ``OSError`` where there are none."""

_IPV4_NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; 0.0.0.0 reaches the machine itself
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # a public number, but Azure answers it with the virtual machine's own configuration
            "169.254.0.0/16",  # link-local, and the metadata services of clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4, given up
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_IPV6_UNICAST = IPv6Network("2000::/3")
"""The only part of IPv6 from which public addresses are given out. Loopback, link-local, unique local, multicast and
IPv4 in IPv6 (mapped, compatible, translated locally) are all outside."""
_IPV6_NOT_PUBLIC = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo tunnels to an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4 tunnels to an IPv4 address, which may be private
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
"""Where a network without IPv4 sees all of IPv4: public exactly where the last 32 bits are."""


class ForbiddenAddressError(SluiceError):
    """A host has an address that is not public. The message does not say which."""


class UnresolvedHostError(SluiceError):
    """No address was found for a host."""


def is_public(address: str) -> bool:
    """Whether ``address`` is an IP address that anybody on the internet can be reached at.

    Written out by network instead of asking ``ipaddress``: what that calls global depends on the Python version and
    includes multicast and tunnels to private addresses.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if parsed.version == 6 and parsed in _NAT64:
        parsed = IPv4Address(int(parsed) & 0xFFFF_FFFF)
    if parsed.version == 4:
        return not any(parsed in network for network in _IPV4_NOT_PUBLIC)
    return (
        parsed.scope_id is None
        and parsed in _IPV6_UNICAST
        and not any(parsed in network for network in _IPV6_NOT_PUBLIC)
    )


async def judged_addresses(host: str, port: int, resolver: Resolver, *, allow_private: bool) -> tuple[str, ...]:
    """All addresses of ``host``, to connect to exactly these.

    Raises ``ForbiddenAddressError`` if only one of them is not public, unless ``allow_private``, and
    ``UnresolvedHostError``.
    """
    try:
        addresses = tuple(dict.fromkeys(await resolver(host, port)))
    except (OSError, UnicodeError):  # the second for names that no name server can be asked for
        addresses = ()
    if not addresses:
        raise UnresolvedHostError("its host has no address")
    if not allow_private and not all(map(is_public, addresses)):
        raise ForbiddenAddressError(
            "its host is at an address that is not public; correct it, or set allow_private: true in the catalog"
        )
    return addresses


def system_resolver(threads: Executor) -> Resolver:
    """Asks what the machine asks for every other program. Waits in ``threads``, so that only they wait."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(threads, ask)
        return [str(address[0]) for *_, address in found]

    return resolve
