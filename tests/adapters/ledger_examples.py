"""Commits to a ledger for tests, with every field that a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from adapters.database import Database
from adapters.sql_ledger import SqlLedger
from domain.ledger import Admission, DecisionRecord, Ending, Judgement, RecordKind, ReviewOpening
from domain.override import JudgedOverride, OverrideAction, OverrideEnvelope
from domain.payload import sha256_text
from domain.request import CascadeInput, Outcome, RequestResult, Status
from domain.review import DecisionEnvelope, DecisionStatus, JudgedDecision, Proposal
from domain.risk import RiskTier
from tests.examples import request

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


def order(review: ReviewOpening, action: OverrideAction, **changes: Any) -> OverrideEnvelope:
    """A genuine order of an operator on the request of ``review``."""
    fields: dict[str, Any] = {
        "decision_id": str(uuid4()),
        "action": action,
        "stage": "large" if action is OverrideAction.FORCE_MODEL else None,
        "reason": "the provider is down",
        "request_id": review.request_id,
        "tenant": review.tenant,
        "operator": "olga",
        "decided_at": review.opened_at,
        "signature": "genuine",
    }
    return OverrideEnvelope.model_validate({**fields, **changes})


def overridden(
    envelope: OverrideEnvelope | None, status: DecisionStatus = DecisionStatus.APPLIED, because: str = "said so"
) -> JudgedOverride:
    """An order with what became of it."""
    return JudgedOverride(envelope=envelope, status=status, because=because)


def judgement(
    request_id: str,
    appended: Sequence[DecisionRecord],
    decisions: Sequence[JudgedDecision] = (),
    status: Status = Status.HELD,
    **changes: Any,
) -> Judgement:
    """A commit while the request goes on."""
    return Judgement(
        request_id=request_id, decisions=tuple(decisions), records=tuple(appended), status=status, **changes
    )


def ending(
    request: CascadeInput,
    outcome: Outcome = Outcome.ACCEPTED,
    appended: Sequence[DecisionRecord] | None = None,
    decisions: Sequence[JudgedDecision] = (),
    output: str = "the answer",
    overrides: Sequence[JudgedOverride] = (),
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
        overrides=tuple(overrides),
        records=records(request.request_id, 4, 5) if appended is None else tuple(appended),
    )


async def hold(database: Database, tenant: str = "acme", subject: str | None = None, **changes: Any) -> ReviewOpening:
    """A request that is admitted and held."""
    asked = request(subject=subject).model_copy(update={"tenant": tenant})
    ledger, review = SqlLedger(database), opening(asked, **changes)
    await ledger.admit(admission(asked))
    await ledger.open_review(review)
    return review


def held_request(review: ReviewOpening) -> CascadeInput:
    """A request with the id of ``review``'s, for commits that need no more of it."""
    return request().model_copy(update={"request_id": review.request_id, "tenant": review.tenant})
