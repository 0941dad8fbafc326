"""Bounds: exact comparison, and nothing that is missing or no number passes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.checks.bounds import check
from domain.guardrails import Bound, BoundsGuardrail, CheckResult, Judged, Verdict


def judge(
    text: str, field: str = "price", least: str | None = "0", most: str | None = "100", *, required: bool = True
) -> CheckResult:
    bound = Bound(
        field=field,
        min=None if least is None else Decimal(least),
        max=None if most is None else Decimal(most),
        required=required,
    )
    return check(BoundsGuardrail(check="bounds", name="bounds", bounds=(bound,)), Judged(text=text))


@pytest.mark.parametrize("number", ["0", "-0", "100", "100.000", "1e2", "99.999999999999999999999999", "1E-400"])
def test_limits_are_part_of_the_range(number: str) -> None:
    assert judge(f'{{"price": {number}}}').verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("number", "because"),
    [
        ("100.00000000000000000000000000000001", "price is above the maximum 100"),
        ("-1e-400", "price is below the minimum 0"),
        ("1e999999999", "price is above the maximum 100"),
        ("-1e999999999999999", "price is below the minimum 0"),
        ("9" * 10_000, "price is above the maximum 100"),
        ("true", "price is not a number"),
        ("null", "price is not a number"),
        ('"50"', "price is not a number"),
        ("[50]", "price is not a number"),
        ('{"amount": 50}', "price is not a number"),
    ],
)
def test_what_is_outside_or_no_number_fails_even_if_not_required(number: str, because: str) -> None:
    for required in (True, False):
        said = judge(f'{{"price": {number}}}', required=required)
        assert (said.verdict, said.rationale) == (Verdict.FAIL, because)


@pytest.mark.parametrize(
    "text",
    ["", "price: 50", '{"price": 1, "price": 2}', '{"price": NaN}', '```json\n{"price": 1}\n```'],
)
def test_what_is_not_json_cannot_be_judged(text: str) -> None:
    assert judge(text).verdict is Verdict.ERROR


@pytest.mark.parametrize("text", ["50", "[]", "null"])
def test_what_has_no_such_field_fails(text: str) -> None:
    assert judge(text).verdict is Verdict.FAIL


@pytest.mark.parametrize("exponent", ["1e99999999999999999999", "1e-99999999999999999999", "-1E+" + "9" * 200_000])
def test_an_exponent_without_measure_is_never_a_pass(exponent: str) -> None:
    assert judge(f'{{"price": {exponent}}}').verdict is Verdict.ERROR


def test_decimals_are_not_binary_fractions() -> None:
    assert judge('{"price": 0.3}', least="0.1", most="0.3").verdict is Verdict.PASS
    assert judge('{"price": 0.30000000000000001}', least="0.1", most="0.3").verdict is Verdict.FAIL


OFFER = json.dumps({"items": [{"price": 5}, {"price": 500}, {"cost": 1}], "grid": [[1, 2], [3, 101]], "empty": []})


@pytest.mark.parametrize(
    ("field", "details"),
    [
        ("items.*.price", ["items.1.price is above the maximum 100", "items.2.price is missing"]),
        ("items.0.price", []),
        ("items.1.price", ["items.1.price is above the maximum 100"]),
        ("items.7.price", ["items.7.price is missing"]),
        ("items.price", ["items.price is missing"]),
        ("grid.*.*", ["grid.1.1 is above the maximum 100"]),
        ("empty.*", ["empty.* is missing"]),
        ("empty.*.price", ["empty.*.price is missing"]),
        ("*.price", ["*.price is missing"]),
        ("..", [".. is missing"]),
    ],
)
def test_paths_lead_through_objects_and_lists(field: str, details: list[str]) -> None:
    assert [finding.detail for finding in judge(OFFER, field).findings] == details


def test_a_field_that_is_not_required_may_be_absent() -> None:
    assert judge(OFFER, "empty.*", required=False).verdict is Verdict.PASS
    assert judge("{}", required=False).verdict is Verdict.PASS


def test_findings_do_not_repeat_the_number() -> None:
    assert "4111" not in judge('{"price": 4111}').model_dump_json()


_NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-1000, max_value=1000)


@given(st.lists(_NUMBERS, min_size=1, max_size=8), _NUMBERS, _NUMBERS)
def test_the_verdict_agrees_with_plain_comparison(numbers: list[Decimal], one: Decimal, other: Decimal) -> None:
    least, most = min(one, other), max(one, other)
    text = '{"a": [' + ", ".join(f"{number:f}" for number in numbers) + "]}"
    said = judge(text, "a.*", str(least), str(most))
    assert (said.verdict is Verdict.PASS) == all(least <= number <= most for number in numbers)
    assert len(said.findings) == len({i for i, number in enumerate(numbers) if not least <= number <= most})


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=8))
def test_only_numbers_pass(value: Any) -> None:
    said = judge(json.dumps({"price": value}))
    inside = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100
    assert (said.verdict is Verdict.PASS) == inside


@pytest.mark.parametrize("text", ["[" + "9," * 131_000 + "999]", "[" * 262_144, "[" + "[9]," * 65_000 + "[999]]"])
def test_hostile_answers_of_256_kib_get_a_verdict(text: str) -> None:
    for field in ("*", "*.*"):
        said = judge(text, field)
        assert said.verdict in (Verdict.FAIL, Verdict.ERROR)
        assert len(said.findings) <= 50
