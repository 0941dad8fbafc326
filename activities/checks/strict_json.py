"""Reading JSON strictly: what two readers could understand differently is not accepted.

Refused beside broken syntax: a key that occurs twice in one object, NaN and Infinity, numbers that cannot be
represented, and deep nesting. A code fence around the JSON is refused as well, for the bytes that are released would
not be JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

DEEPEST = 64
"""Levels of nesting accepted in an answer."""


class NotJsonError(ValueError):
    """A text is not strict JSON. The message says why, without repeating any of the text."""


def parse(text: str, *, exact: bool = False) -> Any:
    """The value of a JSON text; its numbers are ``Decimal`` if ``exact``. Raises ``NotJsonError``."""
    if text.lstrip().startswith("```"):
        raise NotJsonError("the answer is wrapped in a Markdown code fence; ask the model for bare JSON")
    number: Callable[[str], Any] = _decimal if exact else _float
    whole: Callable[[str], Any] = _decimal if exact else _int
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=number, parse_int=whole
        )
    except json.JSONDecodeError as error:
        raise NotJsonError(f"the answer is not JSON: syntax error at character {error.pos}") from None
    except RecursionError:
        raise NotJsonError(f"the answer is nested deeper than {DEEPEST} levels") from None
    if _deeper_than(value, DEEPEST):
        raise NotJsonError(f"the answer is nested deeper than {DEEPEST} levels")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotJsonError("the answer has an object with the same key twice")
    return value


def _constant(_: str) -> Any:
    raise NotJsonError("the answer holds NaN or Infinity, which JSON has not")


def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        raise NotJsonError("the answer holds a number too large or too small to be represented") from None


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise NotJsonError("the answer holds a number too large to be represented")
    return value


def _int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise NotJsonError("the answer holds a whole number with too many digits") from None


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [child for parent in layer for child in _children(parent)]
        if not layer:
            return False
    return any(isinstance(item, dict | list) for item in layer)


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
