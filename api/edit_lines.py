"""What a reviewer's edit changes, as lines of a unified diff, in bounded time whatever the two texts are."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import TypeAlias

_CONTEXT = 3
_MOST_PAIRS = 100_000
"""Lines between two that stayed, of one text times those of the other; more of them count as replaced whole."""

_Change: TypeAlias = tuple[int, int, int, int]
"""Lines from and to in the text before, from and to in the text after."""
_Place: TypeAlias = tuple[int, int]
"""A line of the text before and one of the text after."""


def unified(before: str, after: str) -> tuple[str, ...]:
    """The hunks of a unified diff, without the two lines that name files; nothing where both texts are equal."""
    old, new = before.split("\n"), after.split("\n")
    lines: list[str] = []
    for hunk in _hunks(list(_changes(old, new))):
        lines.extend(_lines(hunk, old, new))
    return tuple(lines)


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[_Change]:
    shorter = min(len(old), len(new))
    head = next((index for index in range(shorter) if old[index] != new[index]), shorter)
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    ends = len(old) - tail, len(new) - tail
    at = head, head
    # Between lines that both texts have once and in this order, little is left to compare.
    for anchor in [*_anchors(old, new, at, ends), ends]:
        yield from _between(old, new, at, anchor)
        at = anchor[0] + 1, anchor[1] + 1


def _between(old: Sequence[str], new: Sequence[str], start: _Place, end: _Place) -> Iterator[_Change]:
    (a, c), (b, d) = start, end
    if (b - a) * (d - c) > _MOST_PAIRS:
        yield a, b, c, d
        return
    for tag, i, j, k, m in SequenceMatcher(None, old[a:b], new[c:d], autojunk=False).get_opcodes():
        if tag != "equal":
            yield a + i, a + j, c + k, c + m


def _anchors(old: Sequence[str], new: Sequence[str], start: _Place, end: _Place) -> list[_Place]:
    """The longest row of lines that stand once in each text and in both in the same order."""
    once_old, once_new = _once(old, start[0], end[0]), _once(new, start[1], end[1])
    common = [(place, once_new[line]) for line, place in once_old.items() if line in once_new]
    # For each length the row that ends lowest in the new text, by that place and the line's index in ``common``.
    rows: list[tuple[int, int]] = []
    before: list[int] = []
    for index, (_, place) in enumerate(common):
        length = bisect_left(rows, (place, 0))
        before.append(rows[length - 1][1] if length else -1)
        rows[length : length + 1] = [(place, index)]
    found: list[_Place] = []
    index = rows[-1][1] if rows else -1
    while index >= 0:
        found.append(common[index])
        index = before[index]
    return found[::-1]


def _once(lines: Sequence[str], start: int, end: int) -> dict[str, int]:
    """The place of each line that occurs once, in order."""
    counts = Counter(lines[start:end])
    return {lines[place]: place for place in range(start, end) if counts[lines[place]] == 1}


def _hunks(changes: Sequence[_Change]) -> list[list[_Change]]:
    """Changes that stand so near to each other that their context meets, together."""
    hunks: list[list[_Change]] = []
    for change in changes:
        if hunks and change[0] - hunks[-1][-1][1] <= 2 * _CONTEXT:
            hunks[-1].append(change)
        else:
            hunks.append([change])
    return hunks


def _lines(hunk: Sequence[_Change], old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    first, last = hunk[0], hunk[-1]
    start, end = max(0, first[0] - _CONTEXT), min(len(old), last[1] + _CONTEXT)
    new_start, new_end = first[2] - (first[0] - start), last[3] + (end - last[1])
    yield f"@@ -{_range(start, end)} +{_range(new_start, new_end)} @@"
    at = start
    for a, b, c, d in hunk:
        yield from (f" {line}" for line in old[at:a])
        yield from (f"-{line}" for line in old[a:b])
        yield from (f"+{line}" for line in new[c:d])
        at = b
    yield from (f" {line}" for line in old[at:end])


def _range(start: int, end: int) -> str:
    length = end - start
    return f"{start + 1 if length else start}" if length == 1 else f"{start + 1 if length else start},{length}"
