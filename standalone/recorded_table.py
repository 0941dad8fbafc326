"""The report over recorded questions, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def report_table(report: dict[str, Any]) -> RenderableType:
    """The comparison as a table, and below it what its rows mean and what the guardrails did."""
    return Group(_comparison(report), Text(""), _meanings(report), Text(""), _findings(report))


def _comparison(report: dict[str, Any]) -> Table:
    table = _grid()
    table.title = f"{report['questions']} questions: {_short(report, 'cheap')}, then {_short(report, 'strong')}"
    table.show_header = True
    table.add_column("strategy", no_wrap=True)
    for heading in ("right", "95 % interval", "cost, USD", "of strong", "to strong"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in report["strategies"]:
        table.add_row(
            row["name"],
            percent(row["share"]),
            between(row["interval_95"]),
            f"{row['cost_usd']:.4f}",
            percent(row["cost_of_always_strong"]),
            percent(row["strong_share"]),
            style="bold" if row["name"].startswith("Sluice") else "",
        )
    return table


def _meanings(report: dict[str, Any]) -> Table:
    table = _grid()
    for row in report["strategies"]:
        table.add_row(row["name"], row["note"])
    table.add_row("of strong", "cost relative to always strong")
    table.add_row(
        "to strong", "share of questions that the strong model was asked; a cascade has paid the cheap one too"
    )
    return table


def _findings(report: dict[str, Any]) -> Table:
    guardrails, escalated, sums = report["guardrails"], report["escalated_answers"], report["accounting"]
    table = _grid()
    table.add_row("Released", told(report["released"]))
    table.add_row("Held", told(report["held"]))
    table.add_row("Held and right", told(report["held_proposals"], "right"))
    table.add_row("Escalated", told(report["escalated"]))
    right = f"{escalated['right_before']} before, {escalated['right_after']} after"
    table.add_row("Escalated and right", right)
    table.add_row("Caught", f"{told(guardrails['wrong_cheap_answers_caught'])} wrong answers of the cheap model")
    table.add_row("False alarms", f"{told(guardrails['false_alarms_on_right_ones'])} right answers of the cheap model")
    for name, found in guardrails["by_check"].items():
        table.add_row(f"  by {name}", f"{found['wrong_caught']} wrong answers, {found['false_alarms']} right ones")
    table.add_row("Cost", f"every attempt of every question; {report['tokens']}")
    cost, again = sums["cost_usd_told"], sums["cost_usd_recomputed_from_texts"]
    table.add_row("Accounting", f"the API tells {cost:.6f} USD, recomputed from the texts it is {again:.6f} USD")
    return table


def _grid() -> Table:
    return Table(
        box=None,
        padding=(0, 1, 0, 0),
        show_header=False,
        header_style="bold",
        title_justify="left",
        title_style="bold",
    )


def _short(report: dict[str, Any], which: str) -> str:
    return str(report["models"][which]).rpartition("/")[2]


def told(share: dict[str, Any], what: str = "count") -> str:
    """A share in words: count, whole, percentage and interval."""
    if not share["of"]:
        return "0 of 0"
    return f"{share[what]} of {share['of']} ({percent(share['share'])}, {between(share['interval_95'])})"


def percent(share: float | None) -> str:
    """A share in percent."""
    return "" if share is None else f"{share * 100:.1f} %"


def between(interval: Sequence[float] | None) -> str:
    """An interval of shares in percent."""
    return "" if interval is None else f"{interval[0] * 100:.1f} to {interval[1] * 100:.1f}"
