"""A world behind the API without database and Temporal: small classes that keep the same promises in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from temporalio.service import RPCError, RPCStatusCode

from adapters.decision_outbox import DecisionConflictError, SubmittedDecision
from adapters.history_events import ProgressEvent
from adapters.ledger_reader import CursorError, RequestView, ReviewPage, ReviewView
from adapters.temporal_requests import IdempotencyConflictError, StartMemo, WorkflowEndedError
from api.services import Limits, Probe, Services
from domain.errors import PolicyError
from domain.identity import Principal, Role
from domain.ledger import DecisionRecord, RecordKind
from domain.policy import PolicySnapshot
from domain.progress import Progress
from domain.request import CascadeInput, Outcome, RequestResult, Status
from domain.review import DecisionEnvelope, DecisionStatus, Proposal, ReviewState, ReviewVerdict
from domain.risk import RiskTier
from domain.stage import Attempt, AttemptState
from domain.usage import Usage
from tests.examples import SAFE, snapshot

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
KEYS = {
    "sk-service": Principal(tenant="acme", name="shop", roles=frozenset({Role.SERVICE})),
    "sk-reviewer": Principal(tenant="acme", name="rita", roles=frozenset({Role.REVIEWER})),
    "sk-both": Principal(tenant="acme", name="shop", roles=frozenset({Role.SERVICE, Role.REVIEWER})),
    "sk-auditor": Principal(tenant="acme", name="anna", roles=frozenset({Role.AUDITOR})),
    "sk-operator": Principal(tenant="acme", name="olaf", roles=frozenset({Role.OPERATOR})),
    "sk-admin": Principal(tenant="acme", name="paul", roles=frozenset({Role.POLICY_ADMIN})),
    "sk-other": Principal(tenant="other", name="spy", roles=frozenset(Role)),
}


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
    reviews: dict[str, ReviewView] = field(default_factory=dict)
    results: dict[str, RequestResult] = field(default_factory=dict)
    broken: dict[str, WorkflowEndedError] = field(default_factory=dict)
    records: dict[str, list[DecisionRecord]] = field(default_factory=dict)
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    decisions: dict[tuple[str, str], SubmittedDecision] = field(default_factory=dict)
    sent: set[tuple[str, str]] = field(default_factory=set)
    signals: list[DecisionEnvelope] = field(default_factory=list)
    cancels: list[tuple[str, str]] = field(default_factory=list)
    starts: int = 0
    reads: int = 0
    signalled: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

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

    def hold(self, request_id: str, text: str = "Buy it all.") -> ReviewView:
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
        )
        self.reviews[request_id] = review
        self.records[request_id] = [
            DecisionRecord(
                request_id=request_id,
                sequence=1,
                at=NOW,
                kind=RecordKind.OUTPUT_CHECKED,
                rationale="fail: not sure",
                actor="check:confidence",
                stage="small",
                data={"name": "confidence", "verdict": "fail"},
            )
        ]
        return review

    def settle(self, envelope: DecisionEnvelope, status: DecisionStatus, because: str = "judged") -> None:
        key = (envelope.request_id, envelope.decision_id)
        settled = {"status": status, "because": because, "settled_at": NOW}
        self.decisions[key] = self.decisions[key].model_copy(update=settled)
        if status is DecisionStatus.APPLIED:
            outcome = Outcome.REJECTED if envelope.verdict is ReviewVerdict.REJECT else Outcome.APPROVED
            self.end(envelope.request_id, outcome)
            decided = {
                "state": ReviewState.DECIDED,
                "decided_by": envelope.reviewer,
                "decided_verdict": envelope.verdict,
                "closed_at": NOW,
            }
            self.reviews[envelope.request_id] = self.reviews[envelope.request_id].model_copy(update=decided)

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
            probes=(
                Probe("database", "start the database", self.check_database),
                Probe("temporal", "start Temporal", self.check_temporal),
            ),
            limits=Limits(**{"glance_seconds": 0.01, "chat_wait_seconds": 0.1, "cancel_seconds": 1.0, **limits}),
        )

    async def check_temporal(self) -> None:
        if not self.temporal_up:
            raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")

    async def check_database(self) -> None:
        if not self.database_up:
            raise ConnectionRefusedError("no database")


def parse(text: str) -> PolicySnapshot:
    """A draft: ``good``, or an error in line 3."""
    if text.strip() != "good":
        raise PolicyError("policy", 3, "unknown key 'stagse'; did you mean 'stages'?")
    return snapshot(name="good")


class FakePolicies:
    def snapshot(self, name: str) -> PolicySnapshot | None:
        return snapshot() if name == "plain" else None

    def names(self) -> tuple[str, ...]:
        return ("plain",)


class FakeSigner:
    def sign(self, envelope: DecisionEnvelope) -> DecisionEnvelope:
        return envelope.model_copy(update={"signature": "genuine"})


class FakeKeys:
    def __init__(self, world: World) -> None:
        self._world = world

    async def authenticate(self, secret: str) -> Principal | None:
        return KEYS.get(secret)


class FakeReader:
    def __init__(self, world: World) -> None:
        self._world = world

    async def request(self, request_id: str, tenant: str) -> RequestView | None:
        self._world.reads += 1
        await asyncio.sleep(0)
        await self._world.check_database()
        row = self._world.rows.get(request_id)
        return row if row is not None and row.tenant == tenant else None

    async def records(self, request_id: str, tenant: str) -> list[DecisionRecord]:
        return self._world.records.get(request_id, [])

    async def attempts(self, request_id: str, tenant: str) -> list[Attempt]:
        return self._world.attempts.get(request_id, [])

    async def reviews(
        self, tenant: str, state: ReviewState | None, limit: int, cursor: str | None, queue: str | None = None
    ) -> ReviewPage:
        if cursor is not None and not cursor.isdigit():
            raise CursorError("'cursor' is none that a list gave out; leave it out")
        found = [
            review
            for review in self._world.reviews.values()
            if review.tenant == tenant and state in (None, review.state) and queue in (None, review.queue)
        ]
        start = int(cursor or 0)
        more = str(start + limit) if len(found) > start + limit else None
        return ReviewPage(items=tuple(found[start : start + limit]), next_cursor=more)

    async def review(self, request_id: str, tenant: str) -> ReviewView | None:
        review = self._world.reviews.get(request_id)
        return review if review is not None and review.tenant == tenant else None

    async def decision(self, request_id: str, decision_id: str) -> SubmittedDecision | None:
        await asyncio.sleep(0)
        return self._world.decisions.get((request_id, decision_id))

    async def decisions(self, request_id: str, tenant: str) -> list[SubmittedDecision]:
        return [found for (request, _), found in self._world.decisions.items() if request == request_id]


class FakeOutbox:
    def __init__(self, world: World) -> None:
        self._world = world

    async def submit(self, envelope: DecisionEnvelope) -> tuple[SubmittedDecision, bool]:
        await asyncio.sleep(0)
        key = (envelope.request_id, envelope.decision_id)
        known = self._world.decisions.get(key)
        if known is None:
            self._world.decisions[key] = SubmittedDecision(
                envelope=envelope, status=DecisionStatus.PENDING, because="", submitted_at=NOW, settled_at=None
            )
            return self._world.decisions[key], True
        if known.envelope.model_dump(exclude={"decided_at"}) != envelope.model_dump(exclude={"decided_at"}):
            raise DecisionConflictError("used before")
        return known, False

    async def mark_sent(self, request_id: str, decision_id: str) -> None:
        self._world.sent.add((request_id, decision_id))

    async def unsent(self, older_than: timedelta, limit: int) -> list[DecisionEnvelope]:
        return [
            found.envelope
            for key, found in self._world.decisions.items()
            if key not in self._world.sent and found.status is DecisionStatus.PENDING
        ][:limit]

    async def settle_late(self, envelope: DecisionEnvelope, because: str) -> None:
        key = (envelope.request_id, envelope.decision_id)
        if self._world.decisions[key].status is DecisionStatus.PENDING:
            self._world.settle(envelope, DecisionStatus.LATE, because)


class FakeRequests:
    def __init__(self, world: World) -> None:
        self._world = world

    async def start(self, request: CascadeInput) -> bool:
        world = self._world
        await asyncio.sleep(0)
        await world.check_temporal()
        earlier = world.inputs.get(request.request_id)
        if earlier is not None:
            if earlier.body.sha256() != request.body.sha256():
                raise IdempotencyConflictError("used before")
            return False
        world.inputs[request.request_id] = request
        world.starts += 1
        if world.answer is not None:
            world.admit(request)
            if world.answer == "held":
                world.hold(request.request_id)
            elif world.answer != "running":
                world.end(request.request_id, Outcome(world.answer))
        return True

    async def wait(self, request_id: str, seconds: float) -> RequestResult | None:
        world = self._world
        await world.check_temporal()
        try:
            async with asyncio.timeout(seconds), world.changed:
                await world.changed.wait_for(lambda: request_id in world.results or request_id in world.broken)
        except TimeoutError:
            return None
        if request_id in world.broken:
            raise world.broken[request_id]
        return world.results[request_id]

    async def cancel(self, request_id: str, reason: str) -> bool:
        world = self._world
        await world.check_temporal()
        if request_id in world.results:
            return False
        world.cancels.append((request_id, reason))
        world.end(request_id, Outcome.CANCELLED)
        world.broken[request_id] = WorkflowEndedError(Status.CANCELLED, "cancelled")
        await world.notify()
        return True

    async def signal_decision(self, envelope: DecisionEnvelope) -> bool:
        world = self._world
        await world.check_temporal()
        if world.signals_end:
            return False
        world.signals.append(envelope)
        world.signalled.set()
        return True

    async def progress(self, request_id: str) -> Progress | None:
        return Progress(status=Status.RUNNING, doing="asking small", cost_usd=Decimal("0.5"))

    async def events(self, request_id: str) -> AsyncIterator[ProgressEvent]:
        if request_id not in self._world.inputs:
            raise RPCError("gone", RPCStatusCode.NOT_FOUND, b"")
        yield ProgressEvent(id=1, name="request.started", at=NOW, data={})
        if self._world.answer == "running":
            async with self._world.changed:
                await self._world.changed.wait_for(lambda: request_id in self._world.results)
        yield ProgressEvent(id=7, name="stage.answered", at=NOW, data={"stage": "small", "cost_usd": "0.000123"})
        yield ProgressEvent(id=19, name="request.ended", at=NOW, data={})

    async def history(self, request_id: str) -> dict[str, Any]:
        if request_id not in self._world.inputs:
            raise RPCError("gone", RPCStatusCode.NOT_FOUND, b"")
        return {"events": [{"eventId": "1"}]}

    async def memo(self, request_id: str) -> StartMemo | None:
        await self._world.check_temporal()
        request = self._world.inputs.get(request_id)
        return None if request is None else StartMemo(tenant=request.tenant, body_sha256=request.body.sha256())
