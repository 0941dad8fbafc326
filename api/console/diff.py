"""What an edit changes, word by word, in bounded time whatever the two texts are.

The shortest script of insertions and deletions, found as in E. W. Myers, "An O(ND) difference algorithm and its
variations", Algorithmica 1 (1986). The console's script computes the same while a reviewer types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["same", "gone", "new"]

_TOKEN = re.compile(r"\n|[^\S\n]+|\w+|[^\w\s]")
_BLANK = re.compile(r"[^\S\n]+")
_MOST_STEPS = 2_000_000
_MOST_DIFFERENCES = 500
"""Beyond this many words that differ, or too many steps to find them, a stretch counts as replaced whole."""
_CONTEXT_LINES = 3


@dataclass(frozen=True)
class Change:
    """A stretch of text that stayed, went or came."""

    kind: Kind
    text: str


def changes(before: str, after: str) -> tuple[Change, ...]:
    """How ``after`` comes out of ``before``: the stretches that stay or go give ``before``, stay or come ``after``."""
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    start, shorter = 0, min(len(old), len(new))
    while start < shorter and old[start] == new[start]:
        start += 1
    end = 0
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    middle = _differences(old[start : len(old) - end], new[start : len(new) - end])
    same: Kind = "same"
    return tuple(_joined([(same, old[:start]), *middle, (same, old[len(old) - end :])]))


def _differences(old: Sequence[str], new: Sequence[str]) -> list[tuple[Kind, Sequence[str]]]:
    trace = _furthest(old, new)
    if trace is None:
        return [("gone", old), ("new", new)]
    script: list[tuple[Kind, Sequence[str]]] = []
    x, y = len(old), len(new)
    for distance in range(len(trace) - 1, 0, -1):
        reached, diagonal = trace[distance - 1], x - y
        down = diagonal == -distance or (
            diagonal != distance and reached.get(diagonal - 1, -1) < reached.get(diagonal + 1, -1)
        )
        from_x = reached[diagonal + 1] if down else reached[diagonal - 1]
        from_y = from_x - (diagonal + 1 if down else diagonal - 1)
        landed = from_x if down else from_x + 1
        script.append(("same", old[landed:x]))
        script.append(("new", new[from_y : from_y + 1]) if down else ("gone", old[from_x : from_x + 1]))
        x, y = from_x, from_y
    script.append(("same", old[:x]))
    return script[::-1]


def _furthest(old: Sequence[str], new: Sequence[str]) -> list[dict[int, int]] | None:
    """How far each diagonal is reached with ever more differences, until the end is; None where that takes too long."""
    most = min(_MOST_DIFFERENCES, _MOST_STEPS // (len(old) + len(new) + 1))
    trace: list[dict[int, int]] = []
    before: dict[int, int] = {1: 0}
    for distance in range(most + 1):
        reached: dict[int, int] = {}
        for diagonal in range(-distance, distance + 1, 2):
            down = diagonal == -distance or (
                diagonal != distance and before.get(diagonal - 1, -1) < before.get(diagonal + 1, -1)
            )
            x = before[diagonal + 1] if down else before[diagonal - 1] + 1
            y = x - diagonal
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y = x + 1, y + 1
            reached[diagonal] = x
            if x >= len(old) and y >= len(new):
                return [*trace, reached]
        trace.append(reached)
        before = reached
    return None


def _joined(found: Sequence[tuple[Kind, Sequence[str]]]) -> Iterator[Change]:
    """Neighbours of one kind as one, what went before what came, and no lonely blank between two replaced words."""
    runs: list[tuple[str, str, str]] = []
    for kind, tokens in found:
        text = "".join(tokens)
        if text:
            runs.append((text, "", "") if kind == "same" else ("", text, "") if kind == "gone" else ("", "", text))
            _settle(runs)
    for same, gone, new in runs:
        if same:
            yield Change("same", same)
        if gone:
            yield Change("gone", gone)
        if new:
            yield Change("new", new)


def _settle(runs: list[tuple[str, str, str]]) -> None:
    """Join the last run with those before it; a run is either what stayed, or what went with what came instead."""
    while len(runs) > 1 and bool(runs[-1][0]) == bool(runs[-2][0]):
        last = runs.pop()
        runs[-1] = (runs[-1][0] + last[0], runs[-1][1] + last[1], runs[-1][2] + last[2])
    if len(runs) < 3 or runs[-1][0]:
        return
    before, (blank, _, _), last = runs[-3:]
    gone, new = before[1] + blank + last[1], before[2] + blank + last[2]
    if _BLANK.fullmatch(blank) and gone.strip() and new.strip():
        runs[-3:] = [("", gone, new)]


def shortened(found: Sequence[Change]) -> tuple[Change | None, ...]:
    """The changes with some lines around each; None stands for what was left out between them."""
    short: list[Change | None] = []
    for index, change in enumerate(found):
        lines = change.text.splitlines(keepends=True)
        if change.kind != "same" or len(lines) <= 2 * _CONTEXT_LINES + 1:
            short.append(change)
            continue
        if index > 0:
            short.append(Change("same", "".join(lines[:_CONTEXT_LINES])))
        short.append(None)
        if index + 1 < len(found):
            short.append(Change("same", "".join(lines[-_CONTEXT_LINES:])))
    return tuple(short)
