"""Commits to a ledger for tests, with every field that a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.ledger import Admission, DecisionRecord, Ending, Judgement, RecordKind, ReviewOpening
from domain.payload import sha256_text
from domain.request import CascadeInput, Outcome, RequestResult, Status
from domain.review import DecisionEnvelope, DecisionStatus, JudgedDecision, Proposal
from domain.risk import RiskTier

START = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


def admission(request: CascadeInput, run_id: str = "run-1") -> Admission:
    """The request's entry."""
    return Admission(request=request, run_id=run_id)


def record(request_id: str, sequence: int, kind: RecordKind = RecordKind.DECIDED, **changes: Any) -> DecisionRecord:
    """One record, a second after the one before it."""
    fields: dict[str, Any] = {
        "request_id": request_id,
        "sequence": sequence,
        "at": START + timedelta(seconds=sequence),
        "kind": kind,
        "rationale": f"reason {sequence}",
        "data": {"score": 0.1 + sequence, "words": ["é", "\x00"]},
    }
    return DecisionRecord(**fields | changes)


def records(request_id: str, first: int, last: int) -> tuple[DecisionRecord, ...]:
    """Records with these sequences, both included."""
    return tuple(record(request_id, sequence) for sequence in range(first, last + 1))


def opening(
    request: CascadeInput, version: int = 1, held: tuple[DecisionRecord, ...] | None = None, **changes: Any
) -> ReviewOpening:
    """A hold of the request; with records 1 to 3 unless others are given."""
    text = changes.pop("text", f"proposal {version}\x00")
    fields: dict[str, Any] = {
        "request_id": request.request_id,
        "tenant": request.tenant,
        "requester": request.requester,
        "subject": request.body.subject,
        "policy": request.policy.policy.name,
        "policy_version": request.policy.version,
        "queue": "default",
        "risk": RiskTier.HIGH,
        "why": "risk is high",
        "rule": "risk.hold_at",
        "proposal": Proposal.of(text, version, 0),
        "may_escalate": True,
        "opened_at": START,
        "expires_at": START + timedelta(hours=24),
        "records": records(request.request_id, 1, 3) if held is None else held,
    }
    return ReviewOpening(**fields | changes)


def judged(envelope: DecisionEnvelope | None, status: DecisionStatus, because: str = "said so") -> JudgedDecision:
    """A decision with what became of it."""
    return JudgedDecision(envelope=envelope, status=status, because=because)


def judgement(
    request_id: str,
    appended: Sequence[DecisionRecord],
    decisions: Sequence[JudgedDecision] = (),
    status: Status = Status.HELD,
) -> Judgement:
    """A commit while the request goes on."""
    return Judgement(request_id=request_id, decisions=tuple(decisions), records=tuple(appended), status=status)


def ending(
    request: CascadeInput,
    outcome: Outcome = Outcome.ACCEPTED,
    appended: Sequence[DecisionRecord] | None = None,
    decisions: Sequence[JudgedDecision] = (),
    output: str = "the answer",
) -> Ending:
    """The end of the request; with records 4 to 5 unless others are given."""
    result = RequestResult(
        request_id=request.request_id,
        status=outcome.status,
        outcome=outcome,
        output=output,
        result_sha256=sha256_text(output),
        reason="because",
        risk=RiskTier.LOW,
        policy=request.policy.policy.name,
        policy_version=request.policy.version,
        model="small",
        model_version_served="fake-2026-11",
        stages_attempted=1,
        cost_usd=Decimal("0.000000000000000000001"),
        baseline_cost_usd=Decimal("12345678901234567890.5"),
        tokens=30,
    )
    return Ending(
        result=result,
        ended_at=START + timedelta(minutes=5),
        decisions=tuple(decisions),
        records=records(request.request_id, 4, 5) if appended is None else tuple(appended),
    )
