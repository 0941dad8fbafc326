"""What the terminal shows while samples arrive, and the summary afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from standalone.feed import Line

_ROWS = 18
_STYLE = {
    "waiting": "dim",
    "running": "cyan",
    "held": "yellow",
    "completed": "green",
    "refused": "magenta",
    "failed": "red",
    "cancelled": "red",
}


class Board:
    """A live table on a terminal; one line for each settled request elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._lines: dict[int, Line] = {}
        self._reported: set[int] = set()
        self._live = Live(self._draw(), console=console, refresh_per_second=8) if console.is_terminal else None

    def __enter__(self) -> Board:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(self._draw(), refresh=True)
            self._live.stop()

    def changed(self, line: Line) -> None:
        """Show the newest state of a sample."""
        key = id(line)
        self._lines.pop(key, None)
        self._lines[key] = line
        if self._live is not None:
            self._live.update(self._draw())
        elif (line.status == "held" or (line.settled and line.outcome)) and key not in self._reported:
            self._reported.add(key)
            self._console.print(
                f"{len(self._reported):>4}/{self._total} {line.sample.policy:<17}{line.sample.id:<34}"
                f"{line.status:<10} {line.outcome}",
                markup=False,
                highlight=False,
            )

    def _draw(self) -> RenderableType:
        table = Table(box=None, expand=True, header_style="bold")
        for heading in ("policy", "sample", "stage", "checks of its answer", "status"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        table.add_column("cost, USD", justify="right", no_wrap=True)
        for line in list(self._lines.values())[-_ROWS:]:
            table.add_row(
                line.sample.policy,
                line.sample.id,
                line.stage,
                Text(", ".join(line.verdicts), style="red" if any("pass" not in v for v in line.verdicts) else ""),
                Text(line.outcome or line.status, style=_STYLE[line.status]),
                f"{line.cost_usd:.6f}" if line.settled else "",
            )
        done = sum(line.settled for line in self._lines.values())
        return Group(table, Text(f"{done} of {self._total} samples have ended or are held", style="dim"))


def summarise(lines: Sequence[Line]) -> dict[str, Any]:
    """The counts and costs of all samples, by policy and in total, with those that did not go as expected."""
    policies = sorted({line.sample.policy for line in lines})
    return {
        "policies": {name: _counts([line for line in lines if line.sample.policy == name]) for name in policies},
        "total": _counts(lines),
        "unexpected": [
            {
                "policy": line.sample.policy,
                "sample": line.sample.id,
                "request_id": line.request_id,
                "expected": line.sample.expect.model_dump(mode="json"),
                "status": line.status,
                "outcome": line.outcome,
                "model": line.model,
                "because": line.because,
            }
            for line in lines
            if not line.as_expected
        ],
        "held": [line.request_id for line in lines if line.status == "held"],
    }


def _counts(lines: Sequence[Line]) -> dict[str, Any]:
    statuses = Counter(line.status for line in lines)
    return {
        "requests": len(lines),
        **{status: statuses[status] for status in ("completed", "held", "refused", "failed", "cancelled")},
        "as_expected": sum(line.as_expected for line in lines),
        "cost_usd": round(sum(line.cost_usd for line in lines), 9),
        "baseline_cost_usd": round(sum(line.baseline_cost_usd for line in lines), 9),
    }


def summary_table(summary: dict[str, Any]) -> Table:
    """The summary for people."""
    table = Table(
        title="Samples, with cost in USD and what the strongest model alone would cost",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1, 0, 0),
        header_style="bold",
        pad_edge=False,
    )
    table.add_column("policy", no_wrap=True)
    for heading in ("all", "completed", "held", "refused", "failed", "expected"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("USD", justify="right", no_wrap=True)
    table.add_column("strongest", justify="right", no_wrap=True)
    rows = [*summary["policies"].items(), ("total", summary["total"])]
    for name, counts in rows:
        table.add_row(
            name,
            *(str(counts[key]) for key in ("requests", "completed", "held", "refused", "failed", "as_expected")),
            f"{counts['cost_usd']:.4f}",
            f"{counts['baseline_cost_usd']:.4f}",
            style="bold" if name == "total" else "",
        )
    return table
