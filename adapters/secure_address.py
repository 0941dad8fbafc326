"""Whether an address can be trusted with secrets on the way there."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_secure(url: str) -> bool:
    """Whether nobody can read on its way what goes to ``url``: HTTPS, or HTTP that does not leave this machine."""
    try:
        parsed = urlsplit(url)
        host, usable = parsed.hostname, parsed.port != 0 and "@" not in parsed.netloc
    except ValueError:  # brackets or a port that are none
        return False
    if not host or not usable:
        return False
    return parsed.scheme == "https" or (parsed.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
