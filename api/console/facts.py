"""What a requester said beside the text itself, as names and values for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from domain.request import RequestBody


def facts_of(body: RequestBody) -> tuple[tuple[str, str], ...]:
    """Context, demands and labels of a request, in this order."""
    return tuple(_facts(body))


def _facts(body: RequestBody) -> Iterator[tuple[str, str]]:
    for name, value in body.context.items():
        yield name, _said(value)
    for name, demand in body.constraints.model_dump(mode="json", exclude_defaults=True).items():
        yield name.replace("_", " "), _said(demand)
    yield from body.metadata.items()


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
