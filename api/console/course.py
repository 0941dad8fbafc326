"""The course of a request as a picture: one bar for whatever took time, on an axis that shortens long waits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from api.timeline import TimelineEntry
from domain.ledger import RecordKind

WIDTH = 1000
"""Units of the axis. Everything lies within."""
_LEAST = 6.0
"""The shortest bar, so that nothing that took time is invisible."""
_PERSON = frozenset({RecordKind.HELD.value})


@dataclass(frozen=True)
class Bar:
    """One row of the picture. ``waiting`` tells waiting for people from work of machines; ``open`` is not over yet."""

    title: str
    start: float
    width: float
    took: timedelta
    waiting: bool
    open: bool


def bars_of(entries: Sequence[TimelineEntry], now: datetime, *, held: bool) -> tuple[Bar, ...]:
    """A bar for each entry that took time, and for the hold that goes on where ``held``.

    Every stretch between two moments is as wide as the logarithm of its length: what took milliseconds stays visible
    beside what took days. Bars tell their length in words for that reason.
    """
    spans = [(entry, entry.at, end) for entry in entries if (end := _end(entry, entries, now, held)) is not None]
    if not spans:
        return ()
    axis = _Axis([moment for _, start, end in spans for moment in (start, end)])
    return tuple(
        Bar(
            title=entry.title,
            start=min(axis.place(start), WIDTH - _LEAST),
            width=max(axis.place(end) - axis.place(start), _LEAST),
            took=end - start,
            waiting=entry.kind in _PERSON,
            open=entry.duration_ms is None,
        )
        for entry, start, end in spans
    )


def _end(entry: TimelineEntry, entries: Sequence[TimelineEntry], now: datetime, held: bool) -> datetime | None:
    if entry.duration_ms is not None:
        return entry.at + timedelta(milliseconds=entry.duration_ms)
    last_hold = max((other.at for other in entries if other.kind in _PERSON), default=None)
    return max(now, entry.at) if held and entry.kind in _PERSON and entry.at == last_hold else None


class _Axis:
    """Places moments between 0 and ``WIDTH``, in their order."""

    def __init__(self, moments: Sequence[datetime]) -> None:
        self._places: dict[datetime, float] = {}
        ordered = sorted(set(moments))
        weights = [math.log1p((after - before).total_seconds() * 20) for before, after in pairwise(ordered)]
        whole = sum(weights) or 1.0
        at = 0.0
        for moment, weight in zip(ordered, [*weights, 0.0], strict=True):
            self._places[moment] = at / whole * WIDTH
            at += weight

    def place(self, moment: datetime) -> float:
        """Where a moment lies."""
        return self._places[moment]
