"""Finds the equations written in a text: ``4 shifts * 55 liters/shift = 220 liters`` is 4 * 55 = 220.

Prose is not a formula, so the reader is cautious: where a side holds a variable, a word that changes a number (half,
dozen, million) or anything else it does not understand, there is no equation. A missed equation costs nothing; a
wrongly read one would raise a false alarm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from standalone.formula_text import Kind, Token, tokens

MAX_SIDE = 120
"""Items of one side; a longer one is not read, so that a hostile text cannot make the reader slow."""
_MAX_NESTING = 8
_NO_WORDS: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written, with the digits shown after the point and whether a percent sign follows."""

    value: Fraction
    decimals: int = 0
    percent: bool = False


Item = Number | str | tuple["Item", ...]
"""Part of a formula: a number, an operator (``+ - * / ^``), or a group in parentheses."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of an equation. ``rest`` are the words right behind it, its unit among them."""

    items: tuple[Item, ...]
    start: int
    end: int
    rest: tuple[str, ...] = ()
    about: bool = False
    named: bool = False
    """Whether words stand around it."""
    units: frozenset[str] = frozenset()
    """All words between and behind its numbers."""

    @property
    def plain(self) -> bool:
        """True if it is a single number."""
        return len(self.items) == 1 and isinstance(self.items[0], Number)


@dataclass(frozen=True, slots=True)
class Equation:
    """Two sides with an equals sign between them; ``about`` for ≈ and for words like 'approximately'."""

    left: Side
    right: Side
    about: bool = False


_WORD_OPERATORS = {"plus": "+", "minus": "-", "times": "*", "x": "*", "X": "*"}
_BEFORE_BY = {"divided": "/", "multiplied": "*"}
_ABOUT = frozenset({"about", "approximately", "approx", "roughly", "around", "nearly", "almost"})
_FILLERS = _ABOUT | {"a", "an", "total", "of", "only", "exactly", "just"}
_OF = {("of",), ("of", "the"), ("of", "these"), ("of", "those"), ("of", "his"), ("of", "her")}
_SCALING = frozenset(
    {"half", "twice", "double", "triple", "thrice", "third", "thirds", "quarter", "quarters", "fourth", "fourths"}
    | {"fifth", "fifths", "sixth", "tenth", "dozen", "dozens", "hundred", "thousand", "million", "billion", "percent"}
    | {"squared", "cubed", "remainder", "r", "root", "minus", "negative", "mod"}
)


def equations(text: str, start: int = 0, end: int | None = None) -> Iterator[Equation]:
    """Every equation between two offsets of ``text`` whose two sides can be read, in order."""
    pieces = list(tokens(text, start, end))
    for position, piece in enumerate(pieces):
        if piece.kind is not Kind.EQUALS:
            continue
        left = _left_side(pieces, position)
        right = _right_side(pieces, position)
        if left is not None and right is not None and not right.plain and left.plain and left.named:
            continue  # a label, not a number: 'Fare of 7 riders = 7 * $2.50'
        if left is not None and right is not None and not (left.plain and right.plain):
            yield Equation(left, right, about=piece.text == "≈" or right.about)


def broken_off(text: str) -> bool:
    """True if the last thing in ``text`` is an equals sign or an operator behind a number."""
    pieces = [piece for piece in tokens(text) if piece.kind is not Kind.LINE]
    if not pieces:
        return False
    return pieces[-1].kind is Kind.EQUALS or (pieces[-1].kind is Kind.OPERATOR and pieces[-1].text in "+/")


# A segment is what stands between two boundaries on one side of an equals sign. Its parts are numbers and groups
# (operands), operators, runs of words, and unclear pieces.


@dataclass(frozen=True, slots=True)
class _Part:
    kind: Kind
    item: Item
    start: int
    end: int
    words: tuple[str, ...] = ()


def _left_side(pieces: Sequence[Token], position: int) -> Side | None:
    first = position
    while first > 0 and position - first < MAX_SIDE:
        kind = pieces[first - 1].kind
        if kind in (Kind.EQUALS, Kind.STOP) or (kind is Kind.LINE and first < position):
            break
        first -= 1
    segment = [piece for piece in pieces[first:position] if piece.kind is not Kind.LINE]
    depth = 0
    for index in range(len(segment) - 1, -1, -1):
        depth += (segment[index].kind is Kind.CLOSE) - (segment[index].kind is Kind.OPEN)
        if depth < 0:  # a parenthesis that opens before the equation and closes after it
            segment = segment[index + 1 :]
            break
    return _read_backwards(_parts(segment))


def _right_side(pieces: Sequence[Token], position: int) -> Side | None:
    segment: list[Token] = []
    depth = 0
    for piece in pieces[position + 1 : position + 1 + MAX_SIDE]:
        depth += (piece.kind is Kind.OPEN) - (piece.kind is Kind.CLOSE)
        if depth < 0 or piece.kind in (Kind.EQUALS, Kind.STOP) or (piece.kind is Kind.LINE and segment):
            break
        if piece.kind is not Kind.LINE:
            segment.append(piece)
    if depth > 0:
        last_open = max(index for index, piece in enumerate(segment) if piece.kind is Kind.OPEN)
        segment = segment[:last_open]
    return _read_forwards(_parts(segment))


def _parts(segment: Sequence[Token], nesting: int = 0) -> list[_Part]:
    parts: list[_Part] = []
    index = 0
    while index < len(segment):
        piece = segment[index]
        behind = segment[index + 1] if index + 1 < len(segment) else None
        if piece.kind is Kind.OPEN:
            closing = _closing(segment, index)
            parts.append(_group(segment[index : closing + 1], parts, nesting))
            index = closing
        elif piece.kind is Kind.NUMBER and _divides_by_fraction(segment, index):
            fraction = (_number(piece.text), "/", _number(segment[index + 2].text))
            parts.append(_Part(Kind.NUMBER, fraction, piece.start, segment[index + 2].end))
            index += 2
        elif piece.kind is Kind.NUMBER:
            parts.append(_Part(Kind.NUMBER, _number(piece.text), piece.start, piece.end))
        elif piece.kind is Kind.OPERATOR and piece.text == "/" and behind is not None and behind.kind is Kind.WORD:
            _add_words(parts, behind, f"/{behind.text}")  # a unit such as meters/sprint
            index += 1
        elif piece.kind is Kind.OPERATOR:
            parts.append(_Part(Kind.OPERATOR, piece.text, piece.start, piece.end))
        elif piece.kind is Kind.WORD:
            _add_words(parts, piece, piece.text)
        else:
            parts.append(_Part(Kind.UNCLEAR, "?", piece.start, piece.end))
        index += 1
    return _with_word_operators(parts)


def _divides_by_fraction(segment: Sequence[Token], index: int) -> bool:
    """Whether a fraction written tightly begins here, behind a division written widely: ``4 / 1/6``."""
    tight = segment[index : index + 3]
    if index == 0 or len(tight) < 3 or segment[index - 1].text != "/" or tight[1].text != "/":
        return False
    return (
        tight[2].kind is Kind.NUMBER
        and segment[index - 1].end < tight[0].start
        and tight[0].end == tight[1].start
        and tight[1].end == tight[2].start
    )


def _number(text: str) -> Number:
    digits = text.rstrip("% ").replace(",", "")
    _, _, decimals = digits.partition(".")
    return Number(Fraction(digits), len(decimals), text.endswith("%"))


def _add_words(parts: list[_Part], piece: Token, word: str) -> None:
    if parts and parts[-1].kind is Kind.WORD:
        last = parts.pop()
        parts.append(_Part(Kind.WORD, "", last.start, piece.end, (*last.words, word.lower())))
    else:
        parts.append(_Part(Kind.WORD, "", piece.start, piece.end, (word.lower(),)))


def _closing(segment: Sequence[Token], opening: int) -> int:
    depth = 0
    for index in range(opening, len(segment)):
        depth += (segment[index].kind is Kind.OPEN) - (segment[index].kind is Kind.CLOSE)
        if depth == 0:
            return index
    return len(segment) - 1


def _group(segment: Sequence[Token], before: Sequence[_Part], nesting: int) -> _Part:
    """A formula in parentheses, a remark such as '(north wing)', or unclear."""
    start, end = segment[0].start, segment[-1].end
    inside = segment[1:-1]
    if not any(piece.kind in (Kind.NUMBER, Kind.UNCLEAR) for piece in inside):
        words = tuple(piece.text.lower() for piece in inside if piece.kind is Kind.WORD)
        return _Part(Kind.WORD, "", start, end, words)
    follows_operand = bool(before) and (
        before[-1].kind is Kind.NUMBER
        or (before[-1].kind is Kind.WORD and len(before) > 1 and before[-2].kind is Kind.NUMBER)
    )
    called = bool(before) and before[-1].kind is Kind.WORD and before[-1].end == start  # a function: f(2)
    readable = not follows_operand and not called and nesting < _MAX_NESTING
    side = _read_forwards(_parts(inside, nesting + 1), whole=True) if readable else None
    if side is None:
        return _Part(Kind.UNCLEAR, "?", start, end)
    return _Part(Kind.NUMBER, side.items, start, end)


def _with_word_operators(parts: list[_Part]) -> list[_Part]:
    """'times', 'divided by' and the like between two operands become operators, as does 'of' behind % or a fraction."""
    result: list[_Part] = []
    for index, part in enumerate(parts):
        behind = parts[index + 1].kind if index + 1 < len(parts) else None
        if part.kind is Kind.WORD and behind is Kind.NUMBER and result and result[-1].kind is Kind.NUMBER:
            operator = _word_operator(part.words, result)
            if operator is not None:
                result.append(_Part(Kind.OPERATOR, operator, part.start, part.end))
                continue
        result.append(part)
    return result


def _word_operator(words: tuple[str, ...], before: Sequence[_Part]) -> str | None:
    if len(words) > 1 and words[-1] == "by" and words[-2] in _BEFORE_BY:
        return _BEFORE_BY[words[-2]]
    if words[-1] in _WORD_OPERATORS:
        return _WORD_OPERATORS[words[-1]]
    number = before[-1].item
    share = isinstance(number, Number) and number.percent
    share = share or (len(before) > 1 and before[-2].item == "/")
    return "*" if share and words in _OF else None


def _read_backwards(parts: Sequence[_Part]) -> Side | None:
    """The longest formula that ends where the segment ends."""
    last = len(parts) - 1
    rest: tuple[str, ...] = ()
    if last >= 0 and parts[last].kind is Kind.WORD:
        rest, last = parts[last].words, last - 1
    if last < 0 or parts[last].kind is not Kind.NUMBER or _changes_a_number(rest):
        return None
    first = last
    while True:
        operator = first - 1
        if operator < 0 or parts[operator].kind is not Kind.OPERATOR:
            break
        operand = operator - 1
        if operand >= 0 and parts[operand].kind is Kind.WORD:
            if _changes_a_number(parts[operand].words):
                return None
            operand -= 1
        if operand < 0 and operator == 0 and parts[operator].item == "-":
            if parts[first].start == parts[operator].end:
                first = operator  # a sign; with a space behind it, it is the mark of a list entry
            break
        if operand < 0 or parts[operand].kind is not Kind.NUMBER:
            return None
        first = operand
    if not _starts_cleanly(parts, first):
        return None
    return _side(parts[first : last + 1], rest, named=bool(rest) or first > 0)


def _starts_cleanly(parts: Sequence[_Part], first: int) -> bool:
    """Whether what stands before a formula leaves its first number alone."""
    before = first - 1
    if before < 0:
        return True
    if parts[before].kind is Kind.WORD:
        if _changes_a_number(parts[before].words[-3:]) or parts[before].words[-1] == "per":
            return False
        before -= 1
        return before < 0 or parts[before].kind is Kind.NUMBER
    return parts[before].kind is Kind.OPERATOR and before == 0


def _read_forwards(parts: Sequence[_Part], whole: bool = False) -> Side | None:
    """The longest formula that begins where the segment begins; with ``whole``, only if it reaches the end."""
    index, about = 0, False
    if parts and parts[0].kind is Kind.WORD and not whole and _FILLERS.issuperset(parts[0].words):
        index, about = 1, not _ABOUT.isdisjoint(parts[0].words)
    first = index
    if index < len(parts) and parts[index].kind is Kind.OPERATOR and parts[index].item == "-":
        index += 1
    while True:
        if index >= len(parts) or parts[index].kind is not Kind.NUMBER:
            return None
        last, rest = index, _NO_WORDS
        index += 1
        if index < len(parts) and parts[index].kind is Kind.WORD:
            rest = parts[index].words
            index += 1
        if _changes_a_number(rest[:2]):
            return None
        if index >= len(parts) or parts[index].kind is not Kind.OPERATOR:
            break
        if parts[index].item == "-" and not whole and index + 1 < len(parts) and parts[index + 1].kind is Kind.WORD:
            break  # a dash, not a minus
        index += 1
    if index < len(parts) and (whole or parts[index].kind is Kind.UNCLEAR):
        return None
    return _side(parts[first : last + 1], rest, about)


def _changes_a_number(words: Sequence[str]) -> bool:
    return any(part in _SCALING for word in words for part in word.split("-"))


def _side(parts: Sequence[_Part], rest: tuple[str, ...], about: bool = False, named: bool = False) -> Side:
    items = tuple(part.item for part in parts if part.kind is not Kind.WORD)
    units = frozenset(word for part in parts for word in part.words).union(rest)
    return Side(items, parts[0].start, parts[-1].end, rest, about, named, units)
