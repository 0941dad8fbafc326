"""In the place of Temporal: a few lines that judge at once what is signalled, and commit it to the real ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from adapters.decision_rows import Order
from adapters.sql_ledger import SqlLedger
from domain.ledger import DecisionRecord, Ending, Judgement, RecordKind, ReviewMove, ReviewOpening
from domain.override import JudgedOverride, OverrideEnvelope
from domain.payload import sha256_text
from domain.request import Outcome, RequestResult, Status
from domain.review import (
    Approval,
    DecisionEnvelope,
    DecisionStatus,
    JudgedDecision,
    Proposal,
    ReviewTerms,
    ReviewVerdict,
    approval_of,
    judge,
)
from domain.rights import WhoMayDecide
from tests.api.fake_services import FakeRequests
from tests.api.fakes_api import World
from tests.examples import SAFE

_OUTCOMES = {
    ReviewVerdict.APPROVE: Outcome.APPROVED,
    ReviewVerdict.EDIT: Outcome.EDITED,
    ReviewVerdict.REJECT: Outcome.REJECTED,
}


@dataclass
class Held:
    """A request that is held, as the stand-in for its Workflow remembers it."""

    opening: ReviewOpening
    sequence: int
    seen: set[str] = field(default_factory=set)
    approvals: list[Approval] = field(default_factory=list)
    ended: bool = False


class Records:
    """Records of one request, a second after each other."""

    def __init__(self, request_id: str, at: datetime, sequence: int = 0) -> None:
        self._request_id = request_id
        self._at = at
        self.sequence = sequence
        self.taken: tuple[DecisionRecord, ...] = ()

    def note(self, kind: RecordKind, rationale: str, **fields: Any) -> None:
        self.sequence += 1
        record = DecisionRecord(
            request_id=self._request_id, sequence=self.sequence, at=self._at, kind=kind, rationale=rationale, **fields
        )
        self.taken = (*self.taken, record)

    def judged(self, judged: JudgedDecision) -> None:
        assert judged.envelope is not None
        data = judged.envelope.model_dump(mode="json", include={"decision_id", "verdict", "reason", "review_version"})
        self.note(
            RecordKind.DECISION_JUDGED,
            f"{judged.status}: {judged.because}",
            actor=f"reviewer:{judged.envelope.reviewer}",
            data={"status": judged.status, **data},
        )


def applied(envelope: DecisionEnvelope) -> JudgedDecision:
    return JudgedDecision(envelope=envelope, status=DecisionStatus.APPLIED, because=envelope.reason or "no reason")


class Judge(FakeRequests):
    """Judges orders as the Workflow would. ``up`` is False while nobody takes Signals."""

    def __init__(self, ledger: SqlLedger, clock: Callable[[], datetime]) -> None:
        super().__init__(World())
        self.ledger = ledger
        self.clock = clock
        self.held: dict[str, Held] = {}
        self.signals: list[Order] = []
        self.up = True

    async def signal(self, envelope: Order) -> bool:
        if not self.up:
            raise ConnectionError("Temporal is away")
        self.signals.append(envelope)
        held = self.held[envelope.request_id]
        if held.ended:
            return False
        if isinstance(envelope, OverrideEnvelope):
            await self._override(held, envelope)
        else:
            await self._decide(held, envelope)
        return True

    async def _override(self, held: Held, envelope: OverrideEnvelope) -> None:
        order = JudgedOverride(envelope=envelope, status=DecisionStatus.APPLIED, because=envelope.reason)
        await self._end(held, Outcome.OVERRIDDEN, SAFE, overrides=(order,))

    async def _decide(self, held: Held, envelope: DecisionEnvelope) -> None:
        opening = held.opening
        terms = ReviewTerms(
            request_id=opening.request_id,
            tenant=opening.tenant,
            proposal=opening.proposal,
            may_escalate=opening.may_escalate,
            expires_at=opening.expires_at,
            who=WhoMayDecide(requester=opening.requester, queue=opening.queue),
            offer=opening.offer,
        )
        refused = judge(envelope, terms, frozenset(held.seen), tuple(held.approvals))
        held.seen.add(envelope.decision_id)
        if refused is not None:
            await self._judge(held, refused)
            return
        if envelope.verdict in (ReviewVerdict.APPROVE, ReviewVerdict.EDIT):
            await self._approve(held, envelope)
        elif envelope.verdict is ReviewVerdict.REJECT:
            await self._end(held, Outcome.REJECTED, SAFE, (applied(envelope),))
        elif envelope.queue is not None:
            await self._judge(held, applied(envelope), moved=ReviewMove(queue=envelope.queue, senior_only=True))
        else:
            await self._judge(held, applied(envelope), status=Status.RUNNING)

    async def _approve(self, held: Held, envelope: DecisionEnvelope) -> None:
        edited = envelope.verdict is ReviewVerdict.EDIT
        held.approvals = [*([] if edited else held.approvals), approval_of(envelope)]
        if len(held.approvals) >= held.opening.offer.approvals_needed:
            text = envelope.output if edited else held.opening.proposal.text
            await self._end(held, _OUTCOMES[envelope.verdict], text or "", (applied(envelope),))
            return
        counted = JudgedDecision(envelope=envelope, status=DecisionStatus.COUNTED, because="one of several")
        if not edited:
            await self._judge(held, counted, approvals=len(held.approvals))
            return
        version = held.opening.proposal.review_version + 1
        records = Records(held.opening.request_id, self.clock(), held.sequence)
        records.judged(counted)
        records.note(RecordKind.HELD, held.opening.why, data={"review_version": version})
        held.opening = held.opening.model_copy(
            update={
                "proposal": Proposal.of(envelope.output or "", version, 0, edited=True),
                "records": records.taken,
                "decisions": (counted,),
                "approvals": 1,
            }
        )
        held.sequence = records.sequence
        await self.ledger.open_review(held.opening)

    async def _judge(self, held: Held, judged: JudgedDecision, status: Status = Status.HELD, **changes: Any) -> None:
        records = Records(held.opening.request_id, self.clock(), held.sequence)
        records.judged(judged)
        held.sequence = records.sequence
        await self.ledger.judge(
            Judgement(
                request_id=held.opening.request_id,
                decisions=(judged,),
                records=records.taken,
                status=status,
                **changes,
            )
        )

    async def _end(
        self,
        held: Held,
        outcome: Outcome,
        output: str,
        decisions: tuple[JudgedDecision, ...] = (),
        overrides: tuple[JudgedOverride, ...] = (),
    ) -> None:
        opening, records = held.opening, Records(held.opening.request_id, self.clock(), held.sequence)
        for judged in decisions:
            records.judged(judged)
        records.note(RecordKind.ENDED, "because", data={"outcome": outcome})
        held.ended, held.sequence = True, records.sequence
        result = RequestResult(
            request_id=opening.request_id,
            status=outcome.status,
            outcome=outcome,
            output=output,
            result_sha256=sha256_text(output),
            reason="because",
            risk=opening.risk,
            policy=opening.policy,
            policy_version=opening.policy_version,
            model="small",
            model_version_served="small-2026-11",
            stages_attempted=1,
            cost_usd=Decimal("0.000412"),
            baseline_cost_usd=Decimal("0.00312"),
            tokens=210,
        )
        await self.ledger.end(
            Ending(
                result=result, ended_at=self.clock(), decisions=decisions, overrides=overrides, records=records.taken
            )
        )

    async def expire(self, request_id: str) -> None:
        """End the hold with nobody having decided."""
        await self._end(self.held[request_id], Outcome.EXPIRED, SAFE)
