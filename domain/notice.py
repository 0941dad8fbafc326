"""What people and requesting services are told while a request goes on, and what became of telling them.

Telling is never the source of truth: a notice that nobody gets changes nothing, and it holds no content, so that it can
go where answers may not.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from domain.errors import SluiceError
from domain.payload import Name, Payload
from domain.request import Outcome, Status
from domain.risk import RiskTier

DELIVERY_WORKFLOW = "DeliveryWorkflow"


class NoticeEvent(StrEnum):
    """What happened. ``review.*`` is for people, ``request.*`` for the service that asked."""

    REVIEW_REQUESTED = "review.requested"
    REVIEW_REMINDED = "review.reminded"
    REVIEW_REASSIGNED = "review.reassigned"
    REVIEW_ESCALATED = "review.escalated"
    REVIEW_DECIDED = "review.decided"
    REVIEW_EXPIRED = "review.expired"
    REQUEST_HELD = "request.held"
    REQUEST_COMPLETED = "request.completed"
    """The request has ended, in whichever way."""


class Notice(Payload):
    """One event of one request. Never holds text of the request or of an answer."""

    event: NoticeEvent
    request_id: str
    tenant: str
    policy: str
    policy_version: str
    risk: RiskTier | None
    queue: str | None
    status: Status
    outcome: Outcome | None
    why: str
    """One line. Holds no content."""
    due: datetime | None
    """When the hold expires."""
    review_version: int | None
    """None where there is no review."""
    result_sha256: str | None
    """Hash of the bytes that are held or were released."""
    occurred_at: datetime


class Delivery(Payload):
    """One notice for one channel.

    ``delivery_id`` is the same for every attempt, so that a receiver can drop a second one. It is visible ASCII without
    blanks, and nothing in it may be chosen by a requester.
    """

    delivery_id: str
    channel: Name
    notice: Notice


class DeliveryOutcome(Payload):
    """What became of a delivery. ``detail`` is one line without addresses and secrets, empty where all went well.

    ``attempts`` is the number of the last attempt that told how it ended; 0 where none did.
    """

    delivery_id: str
    delivered: bool
    attempts: int
    detail: str


class DeliveryReport(Payload):
    """A delivery with what became of it."""

    delivery: Delivery
    outcome: DeliveryOutcome


class NotifierError(SluiceError):
    """A channel was not told. ``transient`` if trying again may help, ``retry_after`` what the channel asked for.

    Messages name the channel and a status, never address, secret or content.
    """

    def __init__(self, message: str, *, transient: bool, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after = retry_after


class Notifier(Protocol):
    """Tells a channel."""

    async def send(self, delivery: Delivery) -> None:
        """Return once the channel has taken the notice. Raises ``NotifierError``.

        **Correctness:** may be called again with the same delivery, also after it was taken; receivers recognise it by
        its ``delivery_id``.
        """
        ...


class DeliveryLog(Protocol):
    """Remembers what became of deliveries."""

    async def record(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        """Record the outcome. **Correctness:** the first one recorded under a ``delivery_id`` stays."""
        ...
