"""Requests as people read them: a panel for one, tables for records and policies, a line for an event.

Everything printed here passes ``safe`` or ``safe_line`` first; nothing is interpreted as markup.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cli.terminal import safe, safe_line, stdout

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from cli.client import Event

SHOWN_SHA = 12
"""Digits of a hash that are shown; enough to tell two texts apart at a glance."""

_STYLES = {
    "completed": "green",
    "held": "yellow",
    "running": "cyan",
    "refused": "red",
    "failed": "bold red",
    "cancelled": "dim",
    "pass": "green",
    "fail": "red",
    "error": "bold red",
    "skipped": "yellow",
    "applied": "green",
    "counted": "green",
    "pending": "yellow",
    "low": "green",
    "medium": "yellow",
    "high": "red",
    "critical": "bold red",
}


def text(value: object, style: str | None = None) -> Text:
    """A cell on one line: ``value`` made safe, coloured by its own meaning unless ``style`` is given."""
    from rich.text import Text

    shown = "-" if value is None or value == "" else safe_line(value)
    return Text(shown, style=style if style is not None else _STYLES.get(shown, ""))


def short_sha(digest: object) -> str:
    """The first digits of a hash."""
    return str(digest)[:SHOWN_SHA]


def when(moment: object) -> str:
    """An RFC 3339 time without fractions, in UTC as the API gives it; anything else as it is."""
    from datetime import UTC, datetime

    try:
        return datetime.fromisoformat(str(moment)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except ValueError:
        return str(moment)


def dollars(amount: object) -> str | None:
    """An exact amount in US dollars with trailing zeros cut; None stays None."""
    from decimal import Decimal, InvalidOperation

    if amount is None:
        return None
    try:
        value = Decimal(str(amount))
    except InvalidOperation:
        return str(amount)
    if not value.is_finite():
        return str(amount)
    return f"{value.normalize():f} USD"


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Names and values below each other; what is None is left out."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            grid.add_row(name, text(value) if not _is_rich(value) else value)  # type: ignore[arg-type]
    return grid


def _is_rich(value: object) -> bool:
    return hasattr(value, "__rich_console__")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], whole: frozenset[str]) -> Table:
    """A table. Columns in ``whole`` are never cut or broken: ids that people copy."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    drawn = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        drawn.add_column(column, no_wrap=column in whole, overflow="fold")
    for row in rows:
        drawn.add_row(*(text(cell) for cell in row))
    return drawn


def body(content: object) -> Text:
    """A text of several lines, made safe."""
    from rich.text import Text

    return Text(safe(content))


def _of(data: Mapping[str, Any], *path: str) -> Any:
    value: Any = data
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def print_request(data: Mapping[str, Any]) -> None:
    """One request: where it stands, what it cost and, where there is one, the released text."""
    from rich.panel import Panel

    console = stdout()
    status = data.get("status")
    policy = f"{_of(data, 'policy', 'name')} @ {_of(data, 'policy', 'version') or 'not pinned yet'}"
    model = _of(data, "model", "name")
    served = _of(data, "model", "version_served")
    baseline = dollars(data.get("baseline_cost_usd"))
    cost = dollars(data.get("cost_usd"))
    console.print(
        facts(
            [
                ("request", data.get("id")),
                ("status", status),
                ("outcome", data.get("outcome")),
                ("why", data.get("reason") or None),
                ("risk", data.get("risk")),
                ("policy", policy),
                ("model", f"{model} ({served})" if model is not None else None),
                ("stages", data.get("stages_attempted")),
                ("cost", f"{cost}, always strongest: {baseline}" if cost and baseline else cost),
                ("sha256", data.get("result_sha256")),
            ]
        )
    )
    if data.get("output") is not None:
        title = "answer" if status == "completed" else "sent instead of an answer"
        console.print(Panel(body(data["output"]), title=title, title_align="left", border_style="dim"))
    if status == "held":
        console.print(text(f"waits for a person: sluice show {data.get('id')}", style="yellow"), soft_wrap=True)


def print_record(data: Mapping[str, Any]) -> None:
    """The joined decision record: every entry, every attempt at a model, every decision that arrived."""
    console = stdout()
    request = data.get("request") or {}
    console.print(
        facts(
            [
                ("request", request.get("id")),
                ("status", request.get("status")),
                ("outcome", request.get("outcome")),
                ("asked by", request.get("requester")),
                ("policy", f"{_of(request, 'policy', 'name')} @ {_of(request, 'policy', 'version')}"),
                ("cost", dollars(request.get("cost_usd"))),
            ]
        )
    )
    _print_rows("decision record", _RECORD, data.get("records"))
    _print_rows("attempts at models, all counted", _ATTEMPT, data.get("attempts"))
    orders = [
        {**order, "ordered": order.get("verdict") or order.get("action")}
        for order in data.get("decisions") or []
        if isinstance(order, dict)
    ]
    _print_rows("decisions and overrides that arrived", _DECISION, orders)


def _print_rows(title: str, columns: Mapping[str, tuple[str, Callable[[Any], object]]], items: object) -> None:
    if isinstance(items, list) and items:
        rows = ([shown(item.get(field)) for field, shown in columns.values()] for item in items)
        stdout().print(table(title, tuple(columns), rows, _WHOLE))


def _latency(milliseconds: object) -> str | None:
    return f"{milliseconds:.0f} ms" if isinstance(milliseconds, int | float) else None


def _same(value: object) -> object:
    return value


_RECORD: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "#": ("sequence", _same),
    "time": ("at", when),
    "kind": ("kind", _same),
    "by": ("actor", _same),
    "stage": ("stage", _same),
    "why": ("rationale", _same),
}
_ATTEMPT: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "stage": ("stage", _same),
    "no.": ("number", _same),
    "state": ("state", _same),
    "cost": ("cost_usd", dollars),
    "latency": ("latency_ms", _latency),
    "error": ("error", _same),
}
_DECISION: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "decision": ("decision_id", _same),
    "verdict": ("ordered", _same),
    "by": ("reviewer", _same),
    "for": ("on_behalf_of", _same),
    "became": ("status", _same),
    "because": ("because", _same),
    "reason": ("reason", _same),
}
_WHOLE = frozenset({"#", "time", "kind", "decision", "state", "verdict"})


def print_policies(data: Mapping[str, Any]) -> None:
    """The policies with the version that new requests are pinned to."""
    items = data.get("items") or []
    stdout().print(
        table(
            "",
            ("policy", "version", "what it is for"),
            ((item.get("name"), item.get("version"), item.get("description")) for item in items),
            frozenset({"policy", "version"}),
        )
    )


def print_event(event: Event) -> None:
    """One step of progress on one line: its time, its name, and its fields."""
    decoded = _decoded(event.data)
    moment, fields = "", decoded
    if isinstance(decoded, dict) and "data" in decoded:
        moment, fields = when(decoded.get("at")), decoded["data"]
    if isinstance(fields, dict):
        shown = "  ".join(f"{key}={_plain(value)}" for key, value in fields.items() if value is not None)
    else:
        shown = _plain(fields)
    stdout().print(text("  ".join(part for part in (moment, event.name, shown) if part), style=""), soft_wrap=True)


def event_json(event: Event) -> str:
    """An event as one line of JSON: its ``id`` and ``event`` name as the stream has them, and its data's fields."""
    decoded = _decoded(event.data)
    fields = decoded if isinstance(decoded, dict) else {"data": decoded}
    return json.dumps({"id": event.id, "event": event.name} | fields, ensure_ascii=False)


def _decoded(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
