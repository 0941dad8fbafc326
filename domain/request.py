"""A request as it enters, as it travels through its Workflow, and as it ends."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from domain.duration import Duration
from domain.payload import Name, Payload, Scalar, Text, Usd
from domain.policy import PolicySnapshot
from domain.risk import RiskTier

WORKFLOW_TYPE = "CascadeWorkflow"
TASK_QUEUE = "sluice"
MAX_INPUT_BYTES = 256 * 1024
"""Input text above this is refused at the edge: a history stores it once for every step that reads it."""


class Message(Payload):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Constraints(Payload):
    """What the requester demands. Each can only tighten what the policy allows, never loosen it."""

    max_latency_ms: int | None = Field(default=None, gt=0, le=86_400_000)
    max_cost_usd: Usd | None = None
    min_quality: float | None = Field(default=None, ge=0, le=1)
    risk: RiskTier | None = None
    capabilities: tuple[Name, ...] = Field(default=(), max_length=32)
    data_classes: tuple[Name, ...] = Field(default=(), max_length=32)
    max_hold: Duration | None = None
    """How long the answer may wait for a person; the policy's ``hold.requested_expiry`` limits it."""


ContextKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]


class RequestBody(Payload):
    """What a service asks for. Exactly one of ``input`` and ``messages`` is given."""

    policy: Name
    input: Text | None = Field(default=None, min_length=1)
    messages: tuple[Message, ...] | None = Field(default=None, min_length=1, max_length=200)
    context: dict[ContextKey, Scalar] = Field(default_factory=dict, max_length=64)
    constraints: Constraints = Constraints()
    subject: Text | None = Field(default=None, max_length=200)
    metadata: dict[ContextKey, Annotated[Text, StringConstraints(max_length=500)]] = Field(
        default_factory=dict, max_length=32
    )
    webhook: Name | None = None
    """A channel of the catalog that is told when the request is held and when it has ended."""

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if (self.input is None) == (self.messages is None):
            raise ValueError("give exactly one of 'input' and 'messages'")
        if len(self.input_text().encode("utf-8")) > MAX_INPUT_BYTES:
            raise ValueError(f"'input' or 'messages' is longer than {MAX_INPUT_BYTES} bytes; shorten it")
        return self

    def conversation(self) -> tuple[Message, ...]:
        """The request as messages, whichever way it was given."""
        if self.messages is not None:
            return self.messages
        return (Message(role="user", content=self.input or ""),)

    def input_text(self) -> str:
        """All text the requester sent, one turn a line; what input guardrails read."""
        return "\n".join(message.content for message in self.conversation())

    def sha256(self) -> str:
        """Hash of the body, equal for equal bodies; decides whether an idempotency key was used for another one.

        The order of ``context`` and ``metadata`` does not count: clients write maps in any order.
        """
        fields = self.model_dump(mode="json")
        # Absent in bodies of older versions, whose hashes must stay what they were.
        if self.webhook is None:
            del fields["webhook"]
        if self.constraints.max_hold is None:
            del fields["constraints"]["max_hold"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode("utf-8")).hexdigest()


def request_id(tenant: str, idempotency_key: str) -> str:
    """The id of a request, of its Workflow and of its review.

    Derived from tenant and idempotency key, so that Temporal itself refuses a second start with the same key,
    whichever process or protocol it arrives through.
    """
    digest = hashlib.sha256(f"{tenant}\x00{idempotency_key}".encode()).digest()
    return "req_" + base64.b32encode(digest[:16]).decode("ascii").rstrip("=").lower()


class CascadeInput(Payload):
    """The argument of the Workflow: the request and the policy version it was pinned to."""

    request_id: str
    tenant: str
    requester: str
    submitted_at: datetime
    body: RequestBody
    policy: PolicySnapshot


class Status(StrEnum):
    """Where a request stands."""

    RUNNING = "running"
    HELD = "held"
    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True once nothing more will happen."""
        return self not in (Status.RUNNING, Status.HELD)


class Outcome(StrEnum):
    """How a request ended."""

    ACCEPTED = "accepted"
    APPROVED = "approved"
    EDITED = "edited"
    FELL_BACK = "fell_back"
    REFUSED = "refused"
    REJECTED = "rejected"
    EXPIRED = "expired"
    OVERRIDDEN = "overridden"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def status(self) -> Status:
        """The status that belongs to this outcome. Only an answer that passed or was approved is ``completed``."""
        return _STATUS[self]


_STATUS = {
    Outcome.ACCEPTED: Status.COMPLETED,
    Outcome.APPROVED: Status.COMPLETED,
    Outcome.EDITED: Status.COMPLETED,
    Outcome.FELL_BACK: Status.REFUSED,
    Outcome.REFUSED: Status.REFUSED,
    Outcome.REJECTED: Status.REFUSED,
    Outcome.EXPIRED: Status.REFUSED,
    Outcome.OVERRIDDEN: Status.REFUSED,
    Outcome.FAILED: Status.FAILED,
    Outcome.CANCELLED: Status.CANCELLED,
}


class RequestResult(Payload):
    """What the Workflow returns and what the ledger committed before it did.

    ``output`` is the released answer, or the policy's safe text when no answer was released (``model`` is then None).
    """

    request_id: str
    status: Status
    outcome: Outcome
    output: str | None
    result_sha256: str | None
    reason: str
    risk: RiskTier
    policy: str
    policy_version: str
    model: str | None
    model_version_served: str | None
    stages_attempted: int
    cost_usd: Decimal
    baseline_cost_usd: Decimal
    tokens: int
    """Input and output tokens of all attempts."""
    ended_at: datetime | None = None
    """When the end was committed; None in results written before this was told."""
