"""How often somebody at one address may try keys that are none."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from datetime import datetime, timedelta

from starlette.requests import Request

MOST_FAILURES = 10
WITHIN = timedelta(minutes=1)
_MOST_ADDRESSES = 10_000


class FailedSignIns:
    """Counts in memory, each process for itself, the attempts of the last minute that have not succeeded."""

    def __init__(self) -> None:
        self._attempts: OrderedDict[str, list[datetime]] = OrderedDict()

    def begin(self, address: str, now: datetime) -> timedelta:
        """How long ``address`` has to wait; zero if it may try now, which then counts until it has ``succeeded``.

        Counting before the key is looked up leaves no room for many attempts at the same moment.
        """
        recent = [at for at in self._attempts.get(address, ()) if at > now - WITHIN]
        if len(recent) >= MOST_FAILURES:
            return recent[0] + WITHIN - now
        self._attempts[address] = [*recent, now]
        self._attempts.move_to_end(address)
        if len(self._attempts) > _MOST_ADDRESSES:
            self._attempts.popitem(last=False)
        return timedelta(0)

    def succeeded(self, address: str, began: datetime) -> None:
        """The attempt that began at this moment was with a good key."""
        attempts = self._attempts.get(address, [])
        if began in attempts:
            attempts.remove(began)


def failed_sign_ins(request: Request) -> FailedSignIns:
    """The counts of the application that serves ``request``."""
    state = request.app.state
    if not hasattr(state, "failed_sign_ins"):
        state.failed_sign_ins = FailedSignIns()
    counts = state.failed_sign_ins
    assert isinstance(counts, FailedSignIns)
    return counts


def address_of(request: Request) -> str:
    """Where the call comes from; of IPv6 the network, because whoever has one address there has all of it."""
    host = request.client.host if request.client is not None else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
