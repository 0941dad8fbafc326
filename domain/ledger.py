"""Decision records and the four moments at which they are committed: admission, hold, judgement of decisions, end."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import Field

from domain.override import JudgedOverride
from domain.payload import Payload
from domain.request import CascadeInput, RequestResult, Status
from domain.review import JudgedDecision, Proposal, ReviewOffer
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
    REASSIGNED = "reassigned"
    RAISED_TO_SENIORS = "raised_to_seniors"
    NOTIFIED = "notified"
    OVERRIDE_JUDGED = "override_judged"
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
    """``policy``, ``model:<name>``, ``check:<name>``, ``reviewer:<name>`` or ``operator:<name>``."""
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
    offer: ReviewOffer = ReviewOffer()
    senior_only: bool = False
    barred: tuple[str, ...] = ()
    """Names that may not decide over it, beside the requester's."""
    approvals: int = 0
    """Approvals that count already: one where a reviewer's own text needs more of them."""
    decisions: tuple[JudgedDecision, ...] = ()
    """Decisions that were judged and led to this version of the review."""
    records: tuple[DecisionRecord, ...]


class ReviewMove(Payload):
    """Where a review stands after a rung of its ladder or a reviewer's escalation."""

    queue: str
    senior_only: bool


class Judgement(Payload):
    """What happened without ending the request: decisions and orders that were judged, a rung that was reached.

    ``moved`` and ``approvals`` are None where they have not changed.
    """

    request_id: str
    decisions: tuple[JudgedDecision, ...] = ()
    records: tuple[DecisionRecord, ...]
    status: Status
    """Where the request stands afterwards: still held, or running again."""
    overrides: tuple[JudgedOverride, ...] = ()
    moved: ReviewMove | None = None
    approvals: int | None = None


class Ending(Payload):
    """The end of a request: its result, the decisions judged last, and the remaining records.

    ``Ending`` is the release: no answer leaves before it is committed.
    """

    result: RequestResult
    ended_at: datetime
    decisions: tuple[JudgedDecision, ...] = ()
    overrides: tuple[JudgedOverride, ...] = ()
    records: tuple[DecisionRecord, ...]
