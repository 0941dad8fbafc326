"""Durations: written with a unit, carried as ISO 8601, read aloud in two units."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.duration import Duration, words

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
SPANS = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=366))


@given(st.integers(1, 366), st.sampled_from(sorted(SECONDS)))
def test_every_unit(number: int, unit: str) -> None:
    parsed = DURATION.validate_python(f"{number}{unit}")
    assert parsed.total_seconds() == pytest.approx(number * SECONDS[unit])


@given(SPANS)
def test_survives_the_wire(span: timedelta) -> None:
    assert DURATION.validate_json(DURATION.dump_json(span)) == span


@given(st.text())
def test_any_other_text_is_a_plain_error(text: str) -> None:
    with suppress(ValidationError):
        assert timedelta(0) < DURATION.validate_python(text) <= timedelta(days=366)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (90, "has no unit"),
        (1.5, "has no unit"),
        ("90", "write for example 90s"),
        ("90 s", "write for example 90s"),
        ("-90s", "write for example 90s"),
        ("1w", "write for example 90s"),
        ("0s", "longer than zero"),
        ("367d", "at most 366 days"),
        ("9" * 400 + "d", "at most 366 days"),
        (timedelta(seconds=-1), "longer than zero"),
        (True, "has no unit"),
        ("90s\n", "write for example 90s"),
        ("٣s", "write for example 90s"),
        (None, "timedelta"),
    ],
)
def test_what_is_wrong_is_told(value: object, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        DURATION.validate_python(value)


@given(SPANS)
def test_words_have_one_or_two_units(span: timedelta) -> None:
    said = words(span).split()
    assert len(said) in (2, 4)
    assert set(said[1::2]) <= {"d", "h", "min", "s"}


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(days=1, hours=4, minutes=5), "1 d 4 h"),
        (timedelta(minutes=15), "15 min"),
        (timedelta(seconds=2.5), "2.5 s"),
        (timedelta(milliseconds=250), "0.25 s"),
        (timedelta(hours=24), "1 d"),
        (timedelta(days=2, minutes=1), "2 d 1 min"),
    ],
)
def test_words(span: timedelta, said: str) -> None:
    assert words(span) == said
