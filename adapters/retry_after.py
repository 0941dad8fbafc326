"""How long a server asks to be left alone: ``retry-after-ms``, or ``Retry-After`` in seconds or as a date."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_WAIT = timedelta(hours=1)


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait asked for, between nothing and an hour; None where none is asked for or it cannot be read.

    Header names are in lower case or ``headers`` ignores case. ``now`` has a time zone.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _clamped(milliseconds / 1000)
    written = headers.get("retry-after")
    seconds = _number(written)
    if seconds is not None:
        return _clamped(seconds)
    moment = _date(written)
    return None if moment is None else _clamped((moment - now).total_seconds())


def _number(written: str | None) -> float | None:
    try:
        number = float(written or "")
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _date(written: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(written or "")
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _clamped(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 0.0), LONGEST_WAIT.total_seconds()))
