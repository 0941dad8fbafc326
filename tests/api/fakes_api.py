"""A world behind the API without database and Temporal: small classes that keep the same promises in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from temporalio.service import RPCError, RPCStatusCode

from adapters.decision_outbox import SubmittedDecision
from adapters.decision_rows import Order
from adapters.ledger_reader import RequestView
from adapters.review_rows import AnswerView, DeliveryView, ReviewVersion, ReviewView
from adapters.temporal_requests import WorkflowEndedError
from api.services import Limits, Probe, Services
from domain.ledger import DecisionRecord, RecordKind
from domain.request import CascadeInput, Outcome, RequestResult, Status
from domain.review import DecisionEnvelope, DecisionStatus, Proposal, ReviewOffer, ReviewState, ReviewVerdict
from domain.risk import RiskTier
from domain.stage import Attempt, AttemptState
from domain.usage import Usage
from tests.api.fake_services import (
    KEYS,
    FakeKeys,
    FakeOutbox,
    FakePolicies,
    FakeReader,
    FakeRequests,
    FakeSigner,
    parse,
)
from tests.api.fakes_reviews import (
    NOW,
    Desk,
    FakeClaims,
    FakeFigures,
    FakeRoster,
    FakeSessions,
    People,
)
from tests.examples import SAFE

__all__ = ["KEYS", "NOW", "World"]
_UNSURE = {"name": "confidence", "verdict": "fail"}


@dataclass
class World:
    """All state, and everything a test can make happen. ``answer`` is what a started request does by itself."""

    answer: str | None = "accepted"
    temporal_up: bool = True
    database_up: bool = True
    signals_end: bool = False
    """Signals find that the Workflow has ended."""
    inputs: dict[str, CascadeInput] = field(default_factory=dict)
    rows: dict[str, RequestView] = field(default_factory=dict)
    desk: Desk = field(default_factory=Desk)
    people: People = field(
        default_factory=lambda: People(
            roles={person.name: person.roles for person in KEYS.values() if person.tenant == "acme"}
        )
    )
    figures: FakeFigures = field(default_factory=FakeFigures)
    sessions: FakeSessions = field(default_factory=FakeSessions)
    webhooks: frozenset[str] = frozenset({"crm"})
    versions: dict[str, list[ReviewVersion]] = field(default_factory=dict)
    answers: dict[str, list[AnswerView]] = field(default_factory=dict)
    deliveries: dict[str, list[DeliveryView]] = field(default_factory=dict)
    runs: int = 1
    results: dict[str, RequestResult] = field(default_factory=dict)
    broken: dict[str, WorkflowEndedError] = field(default_factory=dict)
    records: dict[str, list[DecisionRecord]] = field(default_factory=dict)
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    decisions: dict[tuple[str, str], SubmittedDecision] = field(default_factory=dict)
    sent: set[tuple[str, str]] = field(default_factory=set)
    signals: list[Order] = field(default_factory=list)
    cancels: list[tuple[str, str]] = field(default_factory=list)
    starts: int = 0
    reads: int = 0
    signalled: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def reviews(self) -> dict[str, ReviewView]:
        return self.desk.reviews

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def admit(self, request: CascadeInput) -> RequestView:
        row = RequestView(
            request_id=request.request_id,
            tenant=request.tenant,
            requester=request.requester,
            subject=request.body.subject,
            policy=request.policy.policy.name,
            policy_version=request.policy.version,
            status=Status.RUNNING,
            outcome=None,
            risk=RiskTier.LOW,
            output=None,
            result_sha256=None,
            reason=None,
            model=None,
            model_version_served=None,
            stages_attempted=0,
            cost_usd=Decimal(0),
            baseline_cost_usd=Decimal(0),
            tokens=0,
            body=request.body,
            body_sha256=request.body.sha256(),
            created_at=request.submitted_at,
            ended_at=None,
        )
        self.rows[row.request_id] = row
        return row

    def change(self, request_id: str, **changes: Any) -> None:
        self.rows[request_id] = self.rows[request_id].model_copy(update=changes)

    def end(self, request_id: str, outcome: Outcome, output: str | None = "Forty-two.") -> RequestResult:
        released = outcome.status is Status.COMPLETED
        text = output if released else SAFE if outcome.status is Status.REFUSED else None
        result = RequestResult(
            request_id=request_id,
            status=outcome.status,
            outcome=outcome,
            output=text,
            result_sha256="ab" * 32 if text is not None else None,
            reason="because",
            risk=RiskTier.LOW,
            policy="plain",
            policy_version="0123456789abcdef",
            model="small" if released else None,
            model_version_served="small-1" if released else None,
            stages_attempted=1,
            cost_usd=Decimal("0.000123"),
            baseline_cost_usd=Decimal("0.00456"),
            tokens=30,
            ended_at=NOW + timedelta(seconds=1),
        )
        used = Usage(input_tokens=20, output_tokens=10)
        self.attempts[request_id] = [
            Attempt(stage="small", number=1, state=AttemptState.FINISHED, usage=used, cost_usd=Decimal("0.000123"))
        ]
        told = result.model_dump(exclude={"request_id", "policy", "policy_version"})
        self.change(request_id, **told)
        self.results[request_id] = result
        return result

    def hold(self, request_id: str, text: str = "Buy it all.", **changes: Any) -> ReviewView:
        row = self.rows[request_id]
        self.change(request_id, status=Status.HELD, reason="risk is high")
        review = ReviewView(
            **row.model_dump(include={"request_id", "tenant", "requester", "subject", "policy", "policy_version"}),
            queue="default",
            risk=RiskTier.HIGH,
            why="risk is high",
            rule="risk.hold_at",
            proposal=Proposal.of(text, 1, 0),
            may_escalate=True,
            opened_at=NOW,
            expires_at=NOW + timedelta(days=1),
            state=ReviewState.PENDING,
            reminders=0,
            decided_by=None,
            decided_verdict=None,
            closed_at=None,
            messages=row.body.conversation(),
            offer=ReviewOffer(safe_output=SAFE, next_stage="large"),
        )
        self.reviews[request_id] = review.model_copy(update=changes)
        self.records[request_id] = []
        self.versions[request_id] = []
        self.record(request_id, RecordKind.OUTPUT_CHECKED, "fail: not sure", "check:confidence", "small", **_UNSURE)
        self.put_forward(request_id)
        return self.reviews[request_id]

    def record(
        self,
        request_id: str,
        kind: RecordKind,
        rationale: str,
        actor: str = "policy",
        stage: str | None = None,
        **data: Any,
    ) -> DecisionRecord:
        """Append a record, one second after the one before; the first ones are a minute old."""
        known = self.records.setdefault(request_id, [])
        at = NOW + timedelta(seconds=len(known) - 60)
        record = DecisionRecord(
            request_id=request_id,
            sequence=len(known) + 1,
            at=at,
            kind=kind,
            rationale=rationale,
            actor=actor,
            stage=stage,
            model=stage,
            data=data,
        )
        known.append(record)
        return record

    def put_forward(self, request_id: str) -> None:
        """Record the newest version of the review, as a Workflow does when it opens it."""
        review = self.reviews[request_id]
        held = self.record(request_id, RecordKind.HELD, review.why, review_version=review.proposal.review_version)
        self.versions[request_id].append(ReviewVersion(**review.proposal.model_dump(), opened_at=held.at))

    def settle(self, envelope: Order, status: DecisionStatus, because: str = "judged") -> None:
        """What a Workflow makes of an order."""
        request_id = envelope.request_id
        key = (request_id, envelope.decision_id)
        settled = {"status": status, "because": because, "settled_at": NOW}
        self.decisions[key] = self.decisions[key].model_copy(update=settled)
        if not isinstance(envelope, DecisionEnvelope):
            self.record(
                request_id,
                RecordKind.OVERRIDE_JUDGED,
                f"{status}: {because}",
                f"operator:{envelope.operator}",
                decision_id=envelope.decision_id,
                status=status,
                action=envelope.action,
            )
            return
        told = envelope.model_dump(include={"decision_id", "verdict", "on_behalf_of", "queue"}, exclude_none=True)
        reviewer = f"reviewer:{envelope.reviewer}"
        rationale = f"{status}: {because}"
        self.record(request_id, RecordKind.DECISION_JUDGED, rationale, reviewer, None, status=status, **told)
        if status is DecisionStatus.APPLIED:
            self._apply(envelope)
        elif status is DecisionStatus.COUNTED:
            self._count(envelope)

    def _apply(self, envelope: DecisionEnvelope) -> None:
        request_id = envelope.request_id
        if envelope.queue is not None:
            self.desk.change(request_id, queue=envelope.queue, senior_only=True, approvals=0)
            return
        outcome = Outcome.REJECTED if envelope.verdict is ReviewVerdict.REJECT else Outcome.APPROVED
        self.end(request_id, outcome)
        self.desk.claimed(request_id, None)
        self.desk.change(
            request_id,
            state=ReviewState.DECIDED,
            decided_by=envelope.reviewer,
            decided_verdict=envelope.verdict,
            closed_at=NOW,
        )

    def _count(self, envelope: DecisionEnvelope) -> None:
        request_id = envelope.request_id
        review = self.reviews[request_id]
        self.desk.claimed(request_id, None)
        if envelope.verdict is ReviewVerdict.EDIT:
            proposal = Proposal.of(envelope.output or "", review.proposal.review_version + 1, 0, edited=True)
            self.desk.change(request_id, proposal=proposal, approvals=1, why="a reviewer wrote this text")
            self.put_forward(request_id)
        else:
            self.desk.change(request_id, approvals=review.approvals + 1)

    def services(self, **limits: Any) -> Services:
        return Services(
            reader=FakeReader(self),
            outbox=FakeOutbox(self),
            keys=FakeKeys(self),
            requests=FakeRequests(self),
            policies=FakePolicies(),
            parse_policy=parse,
            decision_key=FakeSigner(),
            clock=lambda: NOW,
            roster=FakeRoster(self.people, lambda: self.waiting()),
            claims=FakeClaims(self.desk),
            figures=self.figures,
            sessions=self.sessions,
            webhooks=self.webhooks,
            hasty=timedelta(seconds=5),
            probes=(
                Probe("database", "start the database", self.check_database),
                Probe("temporal", "start Temporal", self.check_temporal),
            ),
            limits=Limits(**{"glance_seconds": 0.01, "chat_wait_seconds": 0.1, "cancel_seconds": 1.0, **limits}),
        )

    def waiting(self) -> list[ReviewView]:
        return [review for review in self.reviews.values() if review.state is ReviewState.PENDING]

    async def check_temporal(self) -> None:
        if not self.temporal_up:
            raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")

    async def check_database(self) -> None:
        if not self.database_up:
            raise ConnectionRefusedError("no database")
