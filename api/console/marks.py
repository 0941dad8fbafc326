"""Where the checks' findings lie in a text, so that a page can mark them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from api.review_views import CheckView
from domain.guardrails import Finding, Verdict


@dataclass(frozen=True)
class Note:
    """One finding, numbered from 1 on its page; ``place`` is None where it has none in the text."""

    number: int
    check: str
    verdict: Verdict
    detail: str
    place: tuple[int, int] | None


@dataclass(frozen=True)
class Piece:
    """A stretch of the text with the findings that cover all of it; ``closes`` are those that end with it."""

    text: str
    notes: tuple[Note, ...] = ()
    closes: tuple[Note, ...] = ()


def notes_of(text: str, checks: Sequence[CheckView]) -> tuple[Note, ...]:
    """Every finding of ``checks`` on ``text``: first those with a place in it, in order, then the others."""
    found = [(check, finding, _place(text, finding)) for check in checks for finding in check.findings]
    located = sorted((item for item in found if item[2] is not None), key=lambda item: item[2] or (0, 0))
    ordered = [*located, *(item for item in found if item[2] is None)]
    return tuple(
        Note(number=number, check=check.name, verdict=check.verdict, detail=finding.detail, place=place)
        for number, (check, finding, place) in enumerate(ordered, start=1)
    )


def _place(text: str, finding: Finding) -> tuple[int, int] | None:
    """The finding's place, cut to the text: a verification service may say anything."""
    if finding.start is None or finding.end is None:
        return None
    start, end = max(0, finding.start), min(len(text), finding.end)
    return (start, end) if start < end else None


def pieces_of(text: str, notes: Sequence[Note]) -> tuple[Piece, ...]:
    """``text`` cut wherever a finding begins or ends; joined, the pieces are the text."""
    placed = [(note, note.place) for note in notes if note.place is not None]
    cuts = sorted({0, len(text), *(edge for _, place in placed for edge in place)})
    return tuple(
        Piece(
            text=text[start:end],
            notes=tuple(note for note, place in placed if place[0] <= start and end <= place[1]),
            closes=tuple(note for note, place in placed if place[1] == end),
        )
        for start, end in pairwise(cuts)
    )
