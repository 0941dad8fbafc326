"""What the ledger's commits change of a review: opened, changed while it is held, closed; and its orders settled.

Called inside the ledger's transactions, after records that were new. That is what keeps a commit which is repeated late
from turning a review back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from adapters.database import insert_new
from adapters.decision_rows import envelope_digest
from adapters.tables import DecisionRow, ReviewRow, ReviewVersionRow, table
from domain.errors import LedgerConflictError
from domain.ledger import Ending, Judgement, RecordKind, ReviewOpening
from domain.override import JudgedOverride, OverrideEnvelope
from domain.request import Outcome, Status
from domain.review import DecisionEnvelope, DecisionStatus, JudgedDecision, ReviewState

_reviews = table(ReviewRow)
_versions = table(ReviewVersionRow)
_decisions = table(DecisionRow)

_STATE = {
    Outcome.APPROVED: ReviewState.DECIDED,
    Outcome.EDITED: ReviewState.DECIDED,
    Outcome.REJECTED: ReviewState.DECIDED,
    Outcome.EXPIRED: ReviewState.EXPIRED,
    Outcome.OVERRIDDEN: ReviewState.OVERRIDDEN,
}
"""In which state the end of a request leaves its review; any other end cancels it."""
_UNCLAIMED = {"claimed_by": None, "claimed_until": None}

# Built once: to build a statement costs more than to run it. What is set comes with the parameters.
_this: BindParameter[str] = bindparam("of_request")
_this_pending_review = update(_reviews).where(
    _reviews.c.request_id == _this, _reviews.c.state == ReviewState.PENDING.value
)
_this_pending_decision = update(_decisions).where(
    _decisions.c.request_id == _this,
    _decisions.c.decision_id == bindparam("of_decision"),
    _decisions.c.envelope_sha256 == bindparam("of_digest"),
    _decisions.c.status == DecisionStatus.PENDING.value,
)


def open_version(connection: Connection, opening: ReviewOpening) -> None:
    """Put a version of the review before reviewers, unclaimed, in place of an earlier one.

    Raises ``LedgerConflictError`` if this version has shown another text.
    """
    _insert_version(connection, opening)
    row = review_row(opening)
    insert = (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(_reviews)
    replaced = {name: insert.excluded[name] for name in row if name != "request_id"}
    newer = insert.excluded["review_version"] > _reviews.c.review_version
    connection.execute(insert.on_conflict_do_update(index_elements=["request_id"], set_=replaced, where=newer), row)
    settle(connection, opening.request_id, opening.decisions, (), opening.opened_at)


def change(connection: Connection, judgement: Judgement, new: set[int], at: datetime) -> None:
    """Change the pending review as the judgement says; close it where the request goes on without it.

    ``new`` holds the sequences of the records that were not there yet.
    """
    request_id = judgement.request_id
    reminders = sum(record.kind is RecordKind.REMINDED for record in judgement.records if record.sequence in new)
    if reminders:
        counted = _this_pending_review.values(reminders=_reviews.c.reminders + reminders)
        connection.execute(counted, {"of_request": request_id})
    applied, order = _applied(judgement.decisions), _ordered(judgement.overrides)
    if judgement.status is Status.HELD:  # a decision that was applied has moved it to a senior queue
        changed = _changed(judgement)
        if changed:
            connection.execute(_this_pending_review, {"of_request": request_id} | changed)
    elif applied is not None:
        _close(connection, request_id, ReviewState.DECIDED, at, applied)
    elif order is not None:
        _close(connection, request_id, ReviewState.OVERRIDDEN, at, order)
    settle(connection, request_id, judgement.decisions, judgement.overrides, at)


def close(connection: Connection, ending: Ending) -> None:
    """Close the review, if it is pending, as the request has ended; and settle what was judged last."""
    request_id, at = ending.result.request_id, ending.ended_at
    state = _STATE.get(ending.result.outcome, ReviewState.CANCELLED)
    by: DecisionEnvelope | OverrideEnvelope | None = None
    if state is ReviewState.DECIDED:
        by = _applied(ending.decisions)
    elif state is ReviewState.OVERRIDDEN:
        by = _ordered(ending.overrides)
    _close(connection, request_id, state, at, by)
    settle(connection, request_id, ending.decisions, ending.overrides, at)


def settle(
    connection: Connection,
    request_id: str,
    decisions: Sequence[JudgedDecision],
    overrides: Sequence[JudgedOverride],
    at: datetime,
) -> None:
    """Give submitted orders their final status. Only pending ones change, so a duplicate never overwrites."""
    orders: tuple[JudgedDecision | JudgedOverride, ...] = (*decisions, *overrides)
    settled = [
        {
            "of_request": request_id,
            "of_decision": judged.envelope.decision_id,
            "of_digest": envelope_digest(judged.envelope),
            "status": judged.status.value,
            "because": judged.because,
            "settled_at": at,
        }
        for judged in orders
        if judged.envelope is not None and judged.status is not DecisionStatus.DUPLICATE
    ]
    if settled:
        connection.execute(_this_pending_decision, settled)


def review_row(opening: ReviewOpening) -> dict[str, Any]:
    """The row of a review that has just been opened."""
    plain = {"request_id", "tenant", "requester", "subject", "policy", "policy_version", "queue", "why", "rule"}
    return {
        **opening.model_dump(include=plain | {"may_escalate", "opened_at", "expires_at", "senior_only", "approvals"}),
        **opening.proposal.model_dump(),
        **_UNCLAIMED,
        "risk": opening.risk.value,
        "state": ReviewState.PENDING.value,
        "reminders": 0,
        "decided_by": None,
        "decided_verdict": None,
        "closed_at": None,
        "offer": opening.offer.model_dump_json(),
        "barred": json.dumps(opening.barred),
        "approvals_needed": opening.offer.approvals_needed,
        "subject_folded": None if opening.subject is None else opening.subject.casefold(),
    }


def _insert_version(connection: Connection, opening: ReviewOpening) -> None:
    proposal = opening.proposal
    row = {"request_id": opening.request_id, "opened_at": opening.opened_at} | proposal.model_dump()
    if insert_new(connection, _versions, [row], "review_version"):
        return
    shown = select(_versions.c.result_sha256).where(
        _versions.c.request_id == opening.request_id, _versions.c.review_version == proposal.review_version
    )
    if connection.execute(shown).scalar_one() != proposal.result_sha256:
        raise LedgerConflictError(
            f"version {proposal.review_version} of the review of {opening.request_id} has shown another text"
        )


def _changed(judgement: Judgement) -> dict[str, Any]:
    """The columns that a judgement changes. Whoever had claimed it has decided, or it is other people's turn now."""
    changed: dict[str, Any] = {}
    if judgement.approvals is not None:
        changed["approvals"] = judgement.approvals
    if judgement.moved is not None:
        changed |= {"queue": judgement.moved.queue, "senior_only": judgement.moved.senior_only} | _UNCLAIMED
    effective = (DecisionStatus.COUNTED, DecisionStatus.APPLIED)
    if any(judged.status in effective for judged in judgement.decisions):
        changed |= _UNCLAIMED
    return changed


def _applied(decisions: Sequence[JudgedDecision]) -> DecisionEnvelope | None:
    """The last decision that took effect: an escalation to a senior queue can stand before it."""
    judged = (decision.envelope for decision in reversed(decisions) if decision.status is DecisionStatus.APPLIED)
    return next((envelope for envelope in judged if envelope is not None), None)


def _ordered(overrides: Sequence[JudgedOverride]) -> OverrideEnvelope | None:
    judged = (override.envelope for override in reversed(overrides) if override.status is DecisionStatus.APPLIED)
    return next((envelope for envelope in judged if envelope is not None), None)


def _close(
    connection: Connection,
    request_id: str,
    state: ReviewState,
    at: datetime,
    by: DecisionEnvelope | OverrideEnvelope | None,
) -> None:
    closing: dict[str, Any] = {"of_request": request_id, "state": state.value, "closed_at": at} | _UNCLAIMED
    if isinstance(by, DecisionEnvelope):
        closing |= {"decided_by": by.reviewer, "decided_verdict": by.verdict.value}
    elif by is not None:
        closing |= {"decided_by": by.operator}
    connection.execute(_this_pending_review, closing)
