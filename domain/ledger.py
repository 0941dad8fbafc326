"""Decision records and the four moments at which they are committed: admission, hold, judgement of decisions, end."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import Field

from domain.payload import Payload
from domain.request import CascadeInput, RequestResult, Status
from domain.review import JudgedDecision, Proposal
from domain.risk import RiskTier
from domain.stage import Spent


class RecordKind(StrEnum):
    """What a decision record is about."""

    ADMITTED = "admitted"
    INPUT_CHECKED = "input_checked"
    ROUTED = "routed"
    STAGE_ANSWERED = "stage_answered"
    STAGE_FAILED = "stage_failed"
    OUTPUT_CHECKED = "output_checked"
    DECIDED = "decided"
    HELD = "held"
    REMINDED = "reminded"
    DECISION_JUDGED = "decision_judged"
    EDIT_CHECKED = "edit_checked"
    HOLD_EXPIRED = "hold_expired"
    ENDED = "ended"


class DecisionRecord(Payload):
    """One entry of a request's ledger: what was decided or found, when, by whom or which model version, and why.

    ``sequence`` counts from 1 without gaps within a request.
    """

    request_id: str
    sequence: int
    at: datetime
    kind: RecordKind
    rationale: str
    actor: str = "policy"
    """``policy``, ``model:<name>``, ``check:<name>`` or ``reviewer:<name>``."""
    stage: str | None = None
    model: str | None = None
    model_version_served: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class Admission(Payload):
    """A request enters the ledger."""

    request: CascadeInput
    run_id: str


class ReviewOpening(Payload):
    """An answer is held: the review as reviewers will see it, and all records up to it."""

    request_id: str
    tenant: str
    requester: str
    subject: str | None
    policy: str
    policy_version: str
    queue: str
    risk: RiskTier
    why: str
    rule: str
    proposal: Proposal
    may_escalate: bool
    opened_at: datetime
    expires_at: datetime
    spent: Spent = Spent()
    baseline_cost_usd: Decimal = Decimal(0)
    stages_attempted: int = 0
    records: tuple[DecisionRecord, ...]


class Judgement(Payload):
    """Decisions that were judged without ending the request, or a reminder; with the records to append."""

    request_id: str
    decisions: tuple[JudgedDecision, ...] = ()
    records: tuple[DecisionRecord, ...]
    status: Status
    """Where the request stands afterwards: still held, or running again."""


class Ending(Payload):
    """The end of a request: its result, the decisions judged last, and the remaining records.

    ``Ending`` is the release: no answer leaves before it is committed.
    """

    result: RequestResult
    ended_at: datetime
    decisions: tuple[JudgedDecision, ...] = ()
    records: tuple[DecisionRecord, ...]
