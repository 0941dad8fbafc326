"""A verification service's judgement: is the arithmetic written in a text right?

It looks only at the text. Every ``<<expression=result>>`` and every equation in prose is computed again, exactly, in
fractions; a result may be rounded to the digits it shows. Nothing is said about whether the right sum was done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from domain.guardrails import Finding, Verdict
from domain.ports import Verification
from standalone.equations import Equation, Item, Number, Side, broken_off, equations
from standalone.formula_text import Kind, plain_formulas, tokens

MAX_FINDINGS = 20
_ANNOTATION = re.compile(r"<<([^<>\n]{1,400})>>")
_BIGGEST = 10**40
_LARGEST_EXPONENT = 12
_CONVERSIONS = tuple(Fraction(n) for n in (7, 12, 24, 60, 100, 1000, 3600))
"""Factors between units that people change in the middle of an equation, such as minutes and hours."""
_LOOSE = Fraction(1, 50)
_MOST_DECIMALS = 6
"""Digits behind the point that count; what a calculator prints beyond them is noise."""
_CENTS = (("cent",), ("cents",))
_UNIT_FAMILIES = (
    ("second", "minute", "hour", "day", "week", "month", "year"),
    ("cent", "dollar"),
    ("inch", "inche", "foot", "feet", "yard", "mile"),
    ("ounce", "pound", "gram", "kilogram", "kg", "ton"),
    ("millimeter", "centimeter", "meter", "kilometer", "cm", "km"),
)


class Percent(Enum):
    """How a percentage is meant: 20% is a fifth, or 20 of a hundred, or (behind + and -) a fifth of what it changes."""

    OF_ONE = "of one"
    OF_HUNDRED = "of a hundred"
    OF_TOTAL = "of the total"


class UnreadableError(Exception):
    """A formula that is not arithmetic on numbers of a sensible size."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An equation with what its left side comes to; None where dividing by zero gave nothing."""

    equation: Equation
    holds: bool
    computed: Fraction | None


def verify_arithmetic(text: str) -> Verification:
    """Fail if any equation is wrong, the text breaks off in one, or it holds no number; else pass."""
    text = plain_formulas(text)
    outside = _ANNOTATION.sub(lambda match: " " * len(match[0]), text)
    findings: list[Finding] = []
    if "<<" in outside:
        start = outside.index("<<")
        unclosed = "an annotation << is never closed"
        findings.append(Finding(kind="broken_off", detail=unclosed, start=start, end=len(text)))
    elif broken_off(outside):
        findings.append(Finding(kind="broken_off", detail="ends in the middle of a calculation"))
    if not any(token.kind in (Kind.NUMBER, Kind.UNCLEAR) for token in tokens(outside)):
        findings.append(Finding(kind="no_number", detail="holds no number as its result"))
    judged = list(_judged(text, outside))
    findings.extend(_finding(item) for item in judged if not item.holds)
    return Verification(
        verdict=Verdict.FAIL if findings else Verdict.PASS,
        rationale=_rationale(len(judged), findings),
        findings=tuple(findings[:MAX_FINDINGS]),
        score=sum(item.holds for item in judged) / len(judged) if judged else None,
    )


def _judged(text: str, outside: str) -> Iterator[Judged]:
    for match in _ANNOTATION.finditer(text):
        yield from _those_read(equations(text, match.start(1), match.end(1)))
    yield from _those_read(equations(outside))


def _those_read(found: Iterator[Equation]) -> Iterator[Judged]:
    for equation in found:
        try:
            yield judge(equation)
        except UnreadableError:
            continue


def _rationale(read: int, findings: list[Finding]) -> str:
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        return f"{findings[0].detail}{more}"
    return f"all {read} equations hold" if read else "no equation was found, and a number is given"


def _finding(item: Judged) -> Finding:
    left, right = item.equation.left, item.equation.right
    if item.computed is None:
        detail = "divides by zero"
    else:
        detail = f"the left side comes to {_shown(item.computed)}, which is not what stands on the right"
    return Finding(kind="wrong_equation", detail=detail, start=left.start, end=right.end)


def _shown(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.6g}"


def judge(equation: Equation) -> Judged:
    """Whether ``equation`` holds in one of the ways people write percentages. Raises ``UnreadableError``."""
    items = equation.left.items + equation.right.items
    computed: list[Fraction] = []
    for reading in Percent if _has_percent(items) else (Percent.OF_ONE,):
        try:
            left, right = value(equation.left.items, reading), value(equation.right.items, reading)
        except ZeroDivisionError:
            return Judged(equation, holds=False, computed=None)
        computed.append(left)
        if _agree(equation, left, right) or _carried_on(equation.right, left):
            return Judged(equation, holds=True, computed=left)
    return Judged(equation, holds=False, computed=computed[0])


def _has_percent(items: Iterable[Item]) -> bool:
    return any(_has_percent(i) if isinstance(i, tuple) else isinstance(i, Number) and i.percent for i in items)


def _agree(equation: Equation, left: Fraction, right: Fraction) -> bool:
    difference = abs(left - right)
    if difference <= max(_rounding(equation.right), _rounding(equation.left) if equation.left.plain else Fraction(0)):
        return True
    if equation.about and difference <= _LOOSE * max(abs(left), abs(right), Fraction(1)):
        return True
    return _other_unit(equation, left, right) or _mixed_units(equation.left)


def _mixed_units(side: Side) -> bool:
    """Whether a side adds amounts in different units, such as '1 hour + 30 minutes', which no number tells."""
    if "+" not in side.items and "-" not in side.items:
        return False
    units = {word.lstrip("/").removesuffix("s") for word in side.units}
    return any(len(units.intersection(family)) > 1 for family in _UNIT_FAMILIES)


def _carried_on(right: Side, left: Fraction) -> bool:
    """Whether the next step is written right behind a result: '2 + 2 = 4 rides * 6 tickets = 24'."""
    result = right.items[0]
    return len(right.items) > 1 and isinstance(result, Number) and abs(result.value - left) <= _step(result)


def _step(result: Number) -> Fraction:
    decimals = min(result.decimals, _MOST_DECIMALS)
    return Fraction(1, 10**decimals) if decimals else Fraction(1, 2)


def _rounding(side: Side) -> Fraction:
    """How far a result may lie from the exact value, given the digits it shows."""
    shown = [item for item in side.items if isinstance(item, Number)]
    finest = max(shown, key=lambda item: item.decimals, default=None)
    if finest is None or not (finest.decimals or side.plain):
        return Fraction(0)
    return _step(finest)


def _other_unit(equation: Equation, left: Fraction, right: Fraction) -> bool:
    """Whether the sides name different units and differ by a factor between such units."""
    left_unit, right_unit = equation.left.rest[:1], equation.right.rest[:1]
    if not left or not right or left_unit == right_unit:
        return False
    if left_unit in _CENTS or right_unit in _CENTS:
        return 100 in (left / right, right / left)
    if not right_unit:
        return False
    return left / right in _CONVERSIONS or right / left in _CONVERSIONS


def value(items: tuple[Item, ...], percent: Percent) -> Fraction:
    """What a formula comes to. Raises ``ZeroDivisionError``, or ``UnreadableError`` where it grows out of bounds."""
    total, rest = _product(items, percent)
    while rest:
        share = percent is Percent.OF_TOTAL and len(rest) > 1 and _is_percent(rest[1]) and rest[2:3] not in _BINDING
        term, behind = _product(rest[1:], percent)
        term = term * total if share else term
        total = _sensible(total + term if rest[0] == "+" else total - term)
        rest = behind
    return total


_BINDING = (("*",), ("/",), ("^",))


def _product(items: tuple[Item, ...], percent: Percent) -> tuple[Fraction, tuple[Item, ...]]:
    if items and items[0] == "-":
        negated, rest = _product(items[1:], percent)
        return -negated, rest
    result, rest = _power(items, percent)
    while rest and rest[0] in ("*", "/"):
        factor, behind = _power(rest[1:], percent)
        result = _sensible(result * factor if rest[0] == "*" else result / factor)
        rest = behind
    return result, rest


def _power(items: tuple[Item, ...], percent: Percent) -> tuple[Fraction, tuple[Item, ...]]:
    base = _atom(items, percent)
    if items[1:2] != ("^",):
        return base, items[1:]
    exponent = _atom(items[2:], percent)
    if exponent.denominator != 1 or not 0 <= exponent <= _LARGEST_EXPONENT:
        raise UnreadableError
    return _sensible(base ** int(exponent)), items[3:]


def _atom(items: tuple[Item, ...], percent: Percent) -> Fraction:
    match items[:1]:
        case (Number() as number,):
            return number.value / 100 if number.percent and percent is not Percent.OF_HUNDRED else number.value
        case (tuple() as group,):
            return value(group, percent)
        case _:
            raise UnreadableError


def _is_percent(item: Item) -> bool:
    return isinstance(item, Number) and item.percent


def _sensible(number: Fraction) -> Fraction:
    if abs(number.numerator) > _BIGGEST or number.denominator > _BIGGEST:
        raise UnreadableError
    return number
