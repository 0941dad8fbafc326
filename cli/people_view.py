"""People and figures as tables: queues with their members, delegations, and how reviewing goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cli.output import facts, table, when
from cli.queue_view import items_of
from cli.terminal import stdout


def print_queues(data: Mapping[str, Any]) -> None:
    """Every queue with who decides over it."""
    rows = [_queue(item) for item in items_of(data)]
    if not rows:
        stdout().print("there is no queue with members or reviews yet")
        return
    stdout().print(table("", ("queue", "waiting", "who decides"), rows, frozenset({"queue"})))


def print_one_queue(data: Mapping[str, Any]) -> None:
    """One queue after a change."""
    stdout().print(table("", ("queue", "waiting", "who decides"), [_queue(data)], frozenset({"queue"})))


def _queue(item: Mapping[str, Any]) -> tuple[object, ...]:
    members = item.get("members")
    names = [str(member.get("name")) for member in members if isinstance(member, Mapping)] if members else []
    return item.get("name"), item.get("pending"), ", ".join(names) or "every reviewer"


def print_delegations(data: Mapping[str, Any]) -> None:
    """Who decides for whom, past delegations too."""
    rows = [_delegation(item) for item in items_of(data)]
    if not rows:
        stdout().print("there is no delegation")
        return
    stdout().print(table("", _DELEGATION, rows, frozenset({"id"})))


def print_one_delegation(data: Mapping[str, Any]) -> None:
    """One delegation after a change."""
    stdout().print(table("", _DELEGATION, [_delegation(data)], frozenset({"id"})))


_DELEGATION = ("id", "for", "decides", "queue", "from", "until", "revoked")


def _delegation(item: Mapping[str, Any]) -> tuple[object, ...]:
    revoked = item.get("revoked_at")
    return (
        item.get("id"),
        item.get("delegator"),
        item.get("delegate"),
        item.get("queue") or "all",
        when(item.get("starts_at")),
        when(item.get("ends_at")),
        when(revoked) if revoked else None,
    )


def print_figures(data: Mapping[str, Any]) -> None:
    """What waits now, and how was decided."""
    console = stdout()
    times, agreement = _mapping(data.get("time_to_decision")), _mapping(data.get("agreement"))
    agreed = f"{agreement.get('agreed')} of {agreement.get('reviews')} texts ({_share(agreement.get('rate'))})"
    console.print(
        facts(
            [
                ("decisions since", when(data["since"]) if data.get("since") else None),
                ("decided after", f"{_span(times.get('median_seconds'))} in the middle of {times.get('n')} decisions"),
                ("nine of ten within", _span(times.get("p90_seconds"))),
                ("reviewers agreed on", agreed if agreement.get("reviews") else "no text was judged by two yet"),
            ]
        )
    )
    for title, columns, rows in _tables(data):
        if rows:
            console.print(table(title, columns, rows, frozenset({columns[0]})))


_OUTCOMES = ("decided", "approved", "edited", "rejected", "escalated", "revised", "expired", "overridden")


def _tables(data: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], list[tuple[object, ...]]]]:
    yield "waiting by age", ("waits", "reviews", "overdue"), _rows(data, "pending_by_age", "label", "count", "overdue")
    by_queue = _rows(data, "pending_by_queue", "queue", "count", "overdue")
    yield "waiting by queue", ("queue", "reviews", "overdue"), by_queue
    policies = _rows(data, "per_policy", "policy", *_OUTCOMES, changed_rate=_share)
    yield "by policy", ("policy", *_OUTCOMES, "changed"), policies
    people = _rows(data, "per_reviewer", "reviewer", "decided", "approvals", "hasty", median_seconds=_span)
    yield "by reviewer", ("reviewer", "decided", "approvals", "hasty", "takes"), people
    hasty = _rows(data, "hasty", "request_id", "reviewer", seconds=_span, decided_at=when)
    below = _span(data.get("hasty_below_seconds"))
    yield f"approved sooner than {below} after it was opened", ("review", "reviewer", "after", "at"), hasty


def _rows(
    data: Mapping[str, Any], name: str, *fields: str, **shown: Callable[[object], object]
) -> list[tuple[object, ...]]:
    """One row for each item of a list: its ``fields`` as they are, and those in ``shown`` as people read them."""
    return [
        (*(item.get(field) for field in fields), *(told(item.get(field)) for field, told in shown.items()))
        for item in items_of({"items": data.get(name)})
    ]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _share(value: object) -> str | None:
    return f"{value:.0%}" if isinstance(value, int | float) else None


def _span(seconds: object) -> str | None:
    from datetime import timedelta

    from domain.duration import words

    return words(timedelta(seconds=seconds)) if isinstance(seconds, int | float) else None
