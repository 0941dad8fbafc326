"""Notices and deliveries for tests, and what no error may ever give away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from domain.catalog import Catalog
from domain.notice import Delivery, Notice, NoticeEvent, NotifierError
from domain.request import Status
from domain.risk import RiskTier

SECRET = "whsec_" + "c2VjcmV0" * 4
HIDDEN = ("c2VjcmV0", "hunter2", "hooks.test", "path-token", "too risky", "127.0.0.1", "10.0.0.1")
"""Parts of secrets, addresses and notices in these tests."""
PUBLIC = "93.184.215.14"

NOTICE: dict[str, Any] = {
    "event": NoticeEvent.REVIEW_REQUESTED,
    "request_id": "req_a",
    "tenant": "acme",
    "policy": "support-triage",
    "policy_version": "0123456789abcdef",
    "risk": RiskTier.HIGH,
    "queue": "legal",
    "status": Status.HELD,
    "outcome": None,
    "why": "too risky to let out",
    "due": datetime(2026, 11, 25, 12, 30, tzinfo=UTC),
    "review_version": 1,
    "result_sha256": "0" * 64,
    "occurred_at": datetime(2026, 11, 24, 12, 30, tzinfo=UTC),
}


def notice(**changes: Any) -> Notice:
    """A notice of a review that was requested, with some of its fields replaced."""
    return Notice.model_validate({**NOTICE, **changes})


def delivery(channel: str = "ops", delivery_id: str = "req_a-1-ops", **changes: Any) -> Delivery:
    """That notice on its way."""
    return Delivery(delivery_id=delivery_id, channel=channel, notice=notice(**changes))


def catalog(**channels: dict[str, Any]) -> Catalog:
    """A catalog with nothing but these channels."""
    return Catalog.model_validate({"providers": {}, "models": (), "channels": channels}, extra="forbid")


class NameServer:
    """Resolves the names it is told of. The answers to one name are given out in turn, the last one for ever."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(given) for name, given in answers.items()}
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        given = self._answers.get(host)
        if given is None:
            raise OSError(f"no such name: {host}")
        return given.pop(0) if len(given) > 1 else given[0]


def assert_discreet(error: NotifierError, channel: str = "ops") -> None:
    """The error names the channel and gives nothing away."""
    assert repr(channel) in str(error)
    told = f"{error!r} {error.__cause__!r}"
    assert [part for part in HIDDEN if part in told] == []
