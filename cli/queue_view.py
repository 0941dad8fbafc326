"""The queue as a table, once or live, and what changes in it as lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cli.output import table, text
from cli.review_view import claim_in_words, left_in_words
from cli.terminal import stdout

if TYPE_CHECKING:
    from rich.table import Table

_WHOLE = frozenset({"review", "policy", "risk"})


def items_of(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The items of a list."""
    return [item for item in data.get("items") or [] if isinstance(item, Mapping)]


def print_queue(data: Mapping[str, Any]) -> None:
    """The reviews of one page, the most urgent facts of each on one line."""
    items, console = items_of(data), stdout()
    if not items:
        console.print("no such review: nothing waits here")
        return
    console.print(queue_table(items))
    if data.get("next_cursor"):
        console.print(text(f"more: add --cursor {data['next_cursor']}", style="dim"), soft_wrap=True)


def queue_table(items: Sequence[Mapping[str, Any]], title: str = "") -> Table:
    """One line for each review. Where a review stands is told if it is not the same and plain for all of them."""
    plain = all(_state(item) == "pending" for item in items)
    columns = tuple(column for column in _CELLS if not plain or column != "state")
    rows = [[_CELLS[column](item) for column in columns] for item in items]
    return table(title, columns, rows, _WHOLE)


def _state(item: Mapping[str, Any]) -> object:
    state, needed = item.get("state", "pending"), item.get("approvals_needed") or 1
    return f"pending, {needed} approvals" if state == "pending" and needed > 1 else state


def _policy(item: Mapping[str, Any]) -> object:
    policy = item.get("policy")
    return policy.get("name") if isinstance(policy, Mapping) else policy


def _queue(item: Mapping[str, Any]) -> object:
    return f"{item.get('queue')} (seniors)" if item.get("senior_only") else item.get("queue")


def _pending(item: Mapping[str, Any]) -> bool:
    return bool(item.get("state", "pending") == "pending")


_CELLS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "review": lambda item: item.get("id"),
    "policy": _policy,
    "risk": lambda item: item.get("risk"),
    "queue": _queue,
    "state": _state,
    "deadline": lambda item: left_in_words(item.get("expires_at")) if _pending(item) else None,
    "who has it": lambda item: claim_in_words(item) if _pending(item) else item.get("decided_by"),
    "why held": lambda item: item.get("why"),
}
