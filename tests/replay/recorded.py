"""The committed golden histories as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

HISTORIES = Path(__file__).parent / "histories"


def history_files() -> list[Path]:
    """All golden histories: ``<path>.json``, and ``<path>.<what changed>.json`` for those of earlier code."""
    return sorted(HISTORIES.glob("*.json"))


def path_of(file: Path) -> str:
    """The path that ``file`` is a history of."""
    return file.name.split(".")[0]


def read(file: Path) -> WorkflowHistory:
    """The history in ``file``."""
    return WorkflowHistory.from_json(file.stem, file.read_text("utf-8"))


def write(file: Path, history: dict[str, Any]) -> None:
    """Write ``history``, one event a line, so that two versions can be compared; without the paths of stack traces."""
    events = ",\n".join(
        json.dumps(_without_traces(event), sort_keys=True, separators=(",", ":")) for event in history["events"]
    )
    file.write_text(f'{{"events":[\n{events}\n]}}\n', "utf-8")


def _without_traces(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _without_traces(value) for key, value in part.items() if key != "stackTrace"}
    return [_without_traces(value) for value in part] if isinstance(part, list) else part
