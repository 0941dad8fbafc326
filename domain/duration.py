"""Durations as people write them in policies: ``90s``, ``15m``, ``24h``, ``7d``; ``250ms`` for short ones."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator

_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = timedelta(days=366)
_LIMITS = "a duration must be longer than zero and at most 366 days"


def _parse(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError(f"{value} has no unit; write a duration such as 90s, 15m, 24h or 7d")
    if isinstance(value, str):
        match = _WRITTEN.fullmatch(value)
        if match is None:
            if value.startswith("P"):
                return value  # ISO 8601, which is how a payload carries it
            raise ValueError(f"{value!r} is not a duration; write for example 90s, 15m, 24h or 7d")
        try:
            return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
        except OverflowError:
            raise ValueError(_LIMITS) from None
    return value


def _within_limits(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= _LONGEST:
        raise ValueError(_LIMITS)
    return value


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_parse), AfterValidator(_within_limits)]
"""A time span, written with its unit; ISO 8601 in payloads."""


def words(span: timedelta) -> str:
    """``span`` as a person reads it, in its two largest units: ``1 d 4 h``, ``15 min``, ``2.5 s``."""
    seconds = span.total_seconds()
    if seconds < 60:
        return f"{seconds:.3g} s"
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{int(count)} {unit}")
    return " ".join(parts[:2])
