"""The report of the bench of many holds: its table, and the limits that decide its exit code."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from standalone.hold_bench import lines, main, missed, table


def report(**changes: Any) -> dict[str, Any]:
    """A run in which everything was well."""
    names = ("queue page", "queue by API", "review page", "decision")
    after = {"held_before": 10, "held_after": 10, "seconds_until_ready": 4.0, "decided_per_second": 20.0}
    return {
        "holds": 10_000,
        "held_per_second": 25.0,
        "few": {name: {"p50_ms": 10.0, "p95_ms": 20.0} for name in names},
        "many": {name: {"p50_ms": 12.0, "p95_ms": 30.0} for name in names},
        "ratios": dict.fromkeys(names, 1.2),
        "resident_mb": {"worker": 200.0, "api": 150.0, "temporal": 600.0},
        "files_mb": {"temporal.db": 218.0, "sluice.db": 60.0},
        "after_kill": {**after, "outcomes": {"approved": 5, "rejected": 5}, "wrong": {}},
        "missed": [],
        **changes,
    }


def test_the_report_is_readable() -> None:
    console = Console(width=120, record=True, file=StringIO())
    console.print(table(report()))
    shown = console.export_text()
    assert "10,000 requests held at once" in shown
    assert "12.0" in shown
    assert any("ready in 4.0 s, 10 still held" in line for line in lines(report()))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"ratios": {"queue page": 1.51, "decision": 1.0}}, "queue page: 1.51 times"),
        ({"ratios": {"queue page": 1.5, "decision": 1.6}}, "decision: 1.60 times"),
        ({"after_kill": {"held_before": 10, "held_after": 9, "wrong": {}}}, "9 after it"),
        ({"after_kill": {"held_before": 9, "held_after": 9, "wrong": {"requests lost": 2}}}, "2 requests lost"),
    ],
)
def test_what_was_missed_is_said(changes: dict[str, Any], said: str | None) -> None:
    found = missed(report(**changes))
    assert (found == []) == (said is None)
    assert said is None or said in found[0]


def test_a_folder_that_was_used_before_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sluice.db").touch()
    assert main(holds=200, drain=False, data=tmp_path) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "name a new folder with --data" in told
    assert [file.name for file in tmp_path.iterdir()] == ["sluice.db"]
