"""What is wrong with the hold of a policy that only the catalog or this machine's time zones can tell."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.policy_problems import Problem, closest, listed
from adapters.yaml_lines import KeyPath
from domain.catalog import Catalog
from domain.hold import Hold


def hold_problems(hold: Hold, catalog: Catalog) -> Iterator[Problem]:
    """Channels that the catalog does not have, and a time zone that nobody knows."""
    named: list[tuple[KeyPath, str]] = [
        (("hold", "channels", position), name) for position, name in enumerate(hold.channels)
    ]
    for rung_position, rung in enumerate(hold.ladder):
        place = ("hold", "ladder", rung_position, "channels")
        named += [((*place, position), name) for position, name in enumerate(rung.channels)]
    for path, name in named:
        if name not in catalog.channels:
            near = closest(name, catalog.channels)
            known = listed(catalog.channels)
            yield Problem(path, f"the catalog has no channel {name!r}; {near}channels are {known}")
    if hold.hours is not None and not _is_zone(hold.hours.timezone):
        yield Problem(
            ("hold", "hours", "timezone"),
            f"there is no time zone {hold.hours.timezone!r}; write one of the IANA database, for example Europe/Berlin",
        )


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
