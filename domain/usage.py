"""Tokens and money: what a model call used, what it cost, and what it may at most cost."""

from __future__ import annotations

import math
from decimal import Decimal

from pydantic import Field

from domain.payload import Payload, Usd

_BYTES_PER_TOKEN = 3
_MILLION = Decimal(1_000_000)


class Price(Payload):
    """List price of a model in US dollars per million tokens."""

    input: Usd
    output: Usd

    def cost(self, usage: Usage) -> Decimal:
        """Price of ``usage`` in US dollars, exact."""
        return (self.input * usage.input_tokens + self.output * usage.output_tokens) / _MILLION


class Usage(Payload):
    """Tokens of one model call. ``estimated`` says that the provider did not report them."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    estimated: bool = False

    @property
    def total(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens


def estimate_tokens(text: str) -> int:
    """A deliberately high estimate, one token for every three UTF-8 bytes, used before a call is made.

    Real tokenizers need about one token for four bytes of English; a ceiling that is checked against too low an
    estimate would not be a ceiling.
    """
    return math.ceil(len(text.encode("utf-8")) / _BYTES_PER_TOKEN)
