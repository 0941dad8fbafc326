"""Orders of people as the table ``decisions`` keeps them: reviewers' decisions and operators' overrides."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from sqlalchemy import Row

from domain.envelope import SignedEnvelope
from domain.override import OverrideEnvelope
from domain.payload import Payload
from domain.review import DecisionEnvelope, DecisionStatus

Order: TypeAlias = DecisionEnvelope | OverrideEnvelope
"""What a person signed off on: a decision over a held answer, or an override."""


class OrderKind(StrEnum):
    """What an order is."""

    DECISION = "decision"
    OVERRIDE = "override"


class SubmittedDecision(Payload):
    """An order that the API took in, and what became of it. ``because`` is empty while it is pending."""

    envelope: Order
    status: DecisionStatus
    because: str
    submitted_at: datetime
    settled_at: datetime | None

    @property
    def kind(self) -> OrderKind:
        """Whether it is a reviewer's decision or an operator's override."""
        return kind_of(self.envelope)


def kind_of(order: Order) -> OrderKind:
    """What ``order`` is."""
    return OrderKind.OVERRIDE if isinstance(order, OverrideEnvelope) else OrderKind.DECISION


def given_by(order: Order) -> str:
    """The name of the person who gave it."""
    return order.operator if isinstance(order, OverrideEnvelope) else order.reviewer


def envelope_digest(envelope: SignedEnvelope) -> str:
    """Hash of the signed fields and the signature. Tells an order from a forgery that uses the same id."""
    return hashlib.sha256(envelope.signed_bytes() + b"\x00" + envelope.signature.encode("utf-8")).hexdigest()


def order_row(order: Order, submitted_at: datetime) -> dict[str, Any]:
    """The row of an order that nothing has become of yet."""
    return {
        "request_id": order.request_id,
        "decision_id": order.decision_id,
        "tenant": order.tenant,
        "reviewer": given_by(order),
        "envelope": order.model_dump_json(),
        "envelope_sha256": envelope_digest(order),
        "status": DecisionStatus.PENDING.value,
        "because": "",
        "submitted_at": submitted_at,
        "settled_at": None,
        "kind": kind_of(order).value,
        "on_behalf_of": order.on_behalf_of if isinstance(order, DecisionEnvelope) else None,
    }


def read_order(kind: str, envelope: str) -> Order:
    """The order in a row's columns ``kind`` and ``envelope``."""
    model = OverrideEnvelope if OrderKind(kind) is OrderKind.OVERRIDE else DecisionEnvelope
    return model.model_validate_json(envelope)


def submitted(row: Row[Any]) -> SubmittedDecision:
    """A stored order out of its row."""
    return SubmittedDecision(
        envelope=read_order(row.kind, row.envelope),
        status=DecisionStatus(row.status),
        because=row.because,
        submitted_at=row.submitted_at,
        settled_at=row.settled_at,
    )
