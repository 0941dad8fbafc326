"""The base of everything that travels: through Temporal histories, HTTP bodies and policy files.

Histories outlive code, so payloads are frozen, change only by addition, and ignore unknown fields when they are
read back. At the edges (HTTP, policy files) the same models are validated with ``extra="forbid"`` instead, so that
a mistyped key is an error there and never in a running request.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


class Payload(BaseModel):
    """A frozen value. Unknown fields are ignored on the wire; edges validate with ``extra="forbid"``.

    Errors do not quote what was wrong: that could be a user's words, and errors end in logs and histories.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", protected_namespaces=(), allow_inf_nan=False, hide_input_in_errors=True
    )


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("contains a NUL character; remove it")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("contains a lone surrogate, which is no text in UTF-8; remove it")
    return text


Text: TypeAlias = Annotated[str, AfterValidator(_storable)]
"""Text that every database and every wire can hold: no NUL, no lone surrogates."""

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""A name people type: lower-case letters, digits, dot, dash, underscore; at most 64 characters."""

Scalar: TypeAlias = bool | int | float | Text
"""A value of a request's context."""

Usd: TypeAlias = Annotated[Decimal, Field(ge=0, max_digits=24, decimal_places=15)]
"""An exact amount in US dollars; a string in payloads so that no history rounds it."""


def sha256_text(text: str) -> str:
    """SHA-256 of the UTF-8 bytes of ``text``, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
