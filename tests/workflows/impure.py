"""What a line that slipped into ``domain/`` could look like."""

from __future__ import annotations

from datetime import UTC, datetime


def hour() -> int:
    """The hour of the machine's clock: another one when the history is replayed."""
    return datetime.now(UTC).hour
