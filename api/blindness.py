"""What a reviewer may not see while a quorum is incomplete: that anybody has decided, who, and why.

A second approver who has read the first one's verdict adds a signature and no judgement. So until they have decided
themselves they are shown the record as it was when the text they judge was put forward, whatever has happened since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.decision_outbox import SubmittedDecision
from adapters.decision_rows import given_by
from adapters.review_rows import ReviewView
from api.entitlement import is_reviewer
from domain.identity import Principal
from domain.ledger import DecisionRecord, RecordKind
from domain.review import DecisionStatus, ReviewState, ReviewVerdict

_JUDGED = (RecordKind.DECISION_JUDGED, RecordKind.OVERRIDE_JUDGED)


@dataclass(frozen=True)
class Sight:
    """What of a request's record somebody may see. ``until`` is None where that is all of it."""

    records: tuple[DecisionRecord, ...]
    until: datetime | None = None

    @property
    def blind(self) -> bool:
        """Whether something may be hidden."""
        return self.until is not None

    def orders(self, orders: Sequence[SubmittedDecision], name: str) -> tuple[SubmittedDecision, ...]:
        """Those decisions and overrides that ``name`` may see: their own, and those in the visible record."""
        if not self.blind:
            return tuple(orders)
        told = {record.data.get("decision_id") for record in self.records if record.kind in _JUDGED}
        return tuple(
            order for order in orders if given_by(order.envelope) == name or order.envelope.decision_id in told
        )

    def shows(self, at: datetime) -> bool:
        """Whether a step of somebody else at this moment may be seen."""
        return self.until is None or at <= self.until


def incomplete(state: ReviewState, approvals_needed: int) -> bool:
    """Whether several people have to decide over a review and it still awaits some of them."""
    return state is ReviewState.PENDING and approvals_needed > 1


def sight(principal: Principal, review: ReviewView | None, records: Sequence[DecisionRecord]) -> Sight:
    """What ``principal`` may see of a request with this review and these records."""
    if review is None or not is_reviewer(principal) or not incomplete(review.state, review.approvals_needed):
        return Sight(tuple(records))
    quorum = _Quorum()
    for index, record in enumerate(records):
        quorum.read(index, record)
    if f"reviewer:{principal.name}" in quorum.counted:
        return Sight(tuple(records))
    return Sight(tuple(records[: quorum.visible]), until=quorum.until or review.opened_at)


class _Quorum:
    """Follows the record of a request to the text that is held now: who has approved it, and what came before that."""

    def __init__(self) -> None:
        self.counted: set[str] = set()
        self.visible = 0
        self.until: datetime | None = None
        self._edited = False
        self._hidden = False

    def read(self, index: int, record: DecisionRecord) -> None:
        """Take in the next record."""
        if record.kind is RecordKind.HELD:
            # A reviewer's own text is held anew, and its author's approval stands.
            if not self._edited:
                self.counted.clear()
                self._show(index, record)
            self._edited = False
        elif record.kind is RecordKind.RAISED_TO_SENIORS:
            self._raised(index, record)
        elif record.kind is RecordKind.DECISION_JUDGED:
            self._judged(index, record)

    def _judged(self, index: int, record: DecisionRecord) -> None:
        status, verdict = record.data.get("status"), record.data.get("verdict")
        if status == DecisionStatus.COUNTED:
            self._hidden = True
            if verdict == ReviewVerdict.EDIT:
                self._edited = True
                self.counted.clear()
            self.counted.add(record.actor)
        elif status == DecisionStatus.APPLIED and verdict == ReviewVerdict.ESCALATE:
            self._raised(index, record)

    def _raised(self, index: int, record: DecisionRecord) -> None:
        """Senior reviewers' approvals count from nothing, and why it was raised is for them to read."""
        self.counted.clear()
        if not self._hidden:
            self._show(index, record)

    def _show(self, index: int, record: DecisionRecord) -> None:
        self.visible, self.until, self._hidden = index + 1, record.at, False
