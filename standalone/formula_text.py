"""Reads a text as pieces of formulas: numbers, operators, parentheses, and the words between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial

_MAX_DIGITS = 24
_VARIABLES = frozenset("xyznXYZN")


class Kind(Enum):
    """What a piece of text is to the reader."""

    NUMBER = "number"
    OPERATOR = "operator"
    OPEN = "("
    CLOSE = ")"
    EQUALS = "="
    WORD = "word"
    LINE = "end of line"
    STOP = "punctuation"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text. ``start`` and ``end`` are character offsets."""

    kind: Kind
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"""
    (?P<line>\n)
  | (?P<skip>[^\S\n]+|[$€£`])
  | (?P<unclear>\d+(?::\d+)+|(?<=\d)[A-Za-z](?![A-Za-z0-9])|[²³√]|(?<=\d)!(?=\s*[-+*/=)]))
  | (?P<ordinal>\d+(?:st|nd|rd|th)\b)
  | (?P<number>(?:\d+(?:[.,]\d+)*|\.\d+))(?P<percent>\s?%)?
  | (?P<times>(?<![A-Za-z])[xX](?=\s?[$€£]?[\d(.]))
  | (?P<word>[^\W\d_](?:[^\W_]|['\u2019-](?=[^\W\d_]))*|[°%])
  | (?P<stop><=|>=|!=|==|=>|->|-->)
  | (?P<equals>=|≈)
  | (?P<operator>[-+*/^])
  | (?P<open>\()
  | (?P<close>\))
  | (?P<other>.)
    """,
    re.VERBOSE,
)
_CLEAN_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")
_SPELLED = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{MULTIPLICATION SIGN}": "*",
        "\N{MIDDLE DOT}": "*",
        "\N{DOT OPERATOR}": "*",
        "\N{ASTERISK OPERATOR}": "*",
        "\N{DIVISION SIGN}": "/",
        "\N{DIVISION SLASH}": "/",
    }
)
_LATEX = (
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\approx(?![A-Za-z])"), "≈"),
    (re.compile(r"\\[dt]?frac\{([^{}]{1,60})\}\{([^{}]{1,60})\}"), r"((\1)/(\2))"),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]{0,80})\}"), r" \1 "),
    (re.compile(r"\\boxed\{([^{}]{0,80})\}"), r" \1 "),
    (re.compile(r"\\([*$%#_&])"), r"\1"),
    (re.compile(r"\\[()\[\],;! ]|\\(?:left|right)(?=[()])"), " "),
    (re.compile(r"(?<=\d)\*\*(?=\d)"), "^"),
    (re.compile(r"\*\*"), "  "),
)


def plain_formulas(text: str) -> str:
    """``text`` with formulas in ASCII: typographic signs, LaTeX and Markdown emphasis replaced. Offsets stay."""
    text = text.translate(_SPELLED)
    for written, meant in _LATEX:
        text = written.sub(partial(_padded, meant), text)
    return text


def _padded(meant: str, match: re.Match[str]) -> str:
    return match.expand(meant).ljust(len(match[0]))


def tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """The pieces of ``text`` between two offsets, white space and currency signs left out."""
    for match in _TOKEN.finditer(text, start, len(text) if end is None else end):
        kind, piece = _classified(match)
        if kind is not None:
            yield Token(kind, piece, match.start(), match.end())


def _classified(match: re.Match[str]) -> tuple[Kind | None, str]:
    group, piece = match.lastgroup, match[0]
    if group == "percent":
        group = "number"
    if group == "number":
        clean = _CLEAN_NUMBER.fullmatch(match["number"]) and len(piece) <= _MAX_DIGITS
        return (Kind.NUMBER if clean else Kind.UNCLEAR), piece
    if group == "times":
        return Kind.OPERATOR, "*"
    if group == "word" and piece in _VARIABLES:
        return Kind.UNCLEAR, piece
    return _KINDS[group or "other"], piece


_KINDS = {
    "line": Kind.LINE,
    "skip": None,
    "unclear": Kind.UNCLEAR,
    "ordinal": Kind.WORD,
    "word": Kind.WORD,
    "stop": Kind.STOP,
    "equals": Kind.EQUALS,
    "operator": Kind.OPERATOR,
    "open": Kind.OPEN,
    "close": Kind.CLOSE,
    "other": Kind.STOP,
}
