"""Tokens and money: exact, additive, and never estimated too low."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.usage import Price, Usage, estimate_tokens
from tests.domain.strategies import USD

PRICES = st.builds(Price, input=USD, output=USD)
COUNTS = st.integers(0, 10**9)
USAGES = st.builds(Usage, input_tokens=COUNTS, output_tokens=COUNTS)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(PRICES, USAGES, USAGES)
def test_cost_is_exact_and_additive(price: Price, one: Usage, two: Usage) -> None:
    both = Usage(input_tokens=one.input_tokens + two.input_tokens, output_tokens=one.output_tokens + two.output_tokens)
    assert price.cost(both) == price.cost(one) + price.cost(two)
    assert both.total == one.total + two.total
    assert price.cost(one) * 1_000_000 == price.input * one.input_tokens + price.output * one.output_tokens


@given(PRICES)
def test_a_price_survives_the_wire(price: Price) -> None:
    assert Price.model_validate_json(price.model_dump_json()) == price


def test_list_price_is_per_million_tokens() -> None:
    price = Price(input=Decimal("0.15"), output=Decimal("0.60"))
    assert price.cost(Usage(input_tokens=1_000_000, output_tokens=500_000)) == Decimal("0.45")


@given(TEXTS, TEXTS)
def test_an_estimate_grows_with_the_text_and_is_high(text: str, more: str) -> None:
    size = len(text.encode())
    assert size / 3 <= estimate_tokens(text) < size / 3 + 1
    assert estimate_tokens(text + more) >= estimate_tokens(text)
    assert estimate_tokens(text) >= size / 4, "about one token for four bytes is what tokenizers need"


@pytest.mark.parametrize("price", ["-0.1", "NaN", "Infinity", "1e30"])
def test_a_price_is_a_finite_amount(price: str) -> None:
    with pytest.raises(ValidationError, match="input"):
        Price.model_validate({"input": price, "output": "1"})
