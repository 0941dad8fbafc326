"""The protocols of the API's services over a world in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from temporalio.service import RPCError, RPCStatusCode

from adapters.decision_keys import EnvelopeT
from adapters.decision_outbox import DecisionConflictError, SubmittedDecision
from adapters.decision_rows import Order
from adapters.history_events import ProgressEvent
from adapters.ledger_reader import CursorError, RequestView
from adapters.review_rows import AnswerView, DeliveryView, ReviewPage, ReviewQuery, ReviewVersion, ReviewView
from adapters.temporal_requests import IdempotencyConflictError, NoSuchRunError, StartMemo, WorkflowEndedError
from domain.errors import PolicyError
from domain.identity import Principal, Role
from domain.ledger import DecisionRecord
from domain.policy import PolicySnapshot
from domain.progress import Progress
from domain.request import CascadeInput, Outcome, RequestResult, Status
from domain.review import DecisionStatus
from domain.stage import Attempt
from tests.api.fakes_reviews import NOW, meets, row_of
from tests.examples import snapshot

if TYPE_CHECKING:
    from tests.api.fakes_api import World

KEYS = {
    "sk-service": Principal(tenant="acme", name="shop", roles=frozenset({Role.SERVICE})),
    "sk-reviewer": Principal(tenant="acme", name="rita", roles=frozenset({Role.REVIEWER})),
    "sk-otto": Principal(tenant="acme", name="otto", roles=frozenset({Role.REVIEWER})),
    "sk-senior": Principal(tenant="acme", name="sena", roles=frozenset({Role.SENIOR_REVIEWER})),
    "sk-insider": Principal(tenant="acme", name="ines", roles=frozenset({Role.AUDITOR, Role.REVIEWER})),
    "sk-both": Principal(tenant="acme", name="shop", roles=frozenset({Role.SERVICE, Role.REVIEWER})),
    "sk-auditor": Principal(tenant="acme", name="anna", roles=frozenset({Role.AUDITOR})),
    "sk-operator": Principal(tenant="acme", name="olaf", roles=frozenset({Role.OPERATOR})),
    "sk-admin": Principal(tenant="acme", name="paul", roles=frozenset({Role.POLICY_ADMIN})),
    "sk-other": Principal(tenant="other", name="spy", roles=frozenset(Role)),
}


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
    def sign(self, envelope: EnvelopeT) -> EnvelopeT:
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

    async def reviews(self, tenant: str, query: ReviewQuery, limit: int, cursor: str | None) -> ReviewPage:
        if cursor is not None and not cursor.isdigit():
            raise CursorError("'cursor' is none that a list gave out; leave it out")
        found = [item for item in self._world.reviews.values() if item.tenant == tenant and meets(item, query)]
        start = int(cursor or 0)
        more = str(start + limit) if len(found) > start + limit else None
        return ReviewPage(items=tuple(map(row_of, found[start : start + limit])), next_cursor=more)

    async def review(self, request_id: str, tenant: str, now: datetime) -> ReviewView | None:
        review = self._world.reviews.get(request_id)
        if review is None or review.tenant != tenant:
            return None
        if review.claimed_until is not None and review.claimed_until <= now:
            return review.model_copy(update={"claimed_by": None, "claimed_until": None})
        return review

    async def count_pending(self, tenant: str) -> int:
        return len(self._world.waiting())

    async def next_pending(self, tenant: str, after: tuple[datetime, str] | None, query: ReviewQuery) -> str | None:
        waiting = sorted(self._world.waiting(), key=lambda review: (review.expires_at, review.request_id))
        behind = [review for review in waiting if after is None or (review.expires_at, review.request_id) > after]
        return next((review.request_id for review in behind if review.tenant == tenant), None)

    async def versions(self, request_id: str, tenant: str) -> list[ReviewVersion]:
        return self._world.versions.get(request_id, [])

    async def answers(self, request_id: str, tenant: str) -> list[AnswerView]:
        return self._world.answers.get(request_id, [])

    async def deliveries(self, request_id: str, tenant: str) -> list[DeliveryView]:
        return self._world.deliveries.get(request_id, [])

    async def decision(self, request_id: str, decision_id: str) -> SubmittedDecision | None:
        await asyncio.sleep(0)
        return self._world.decisions.get((request_id, decision_id))

    async def decisions(self, request_id: str, tenant: str) -> list[SubmittedDecision]:
        return [found for (request, _), found in self._world.decisions.items() if request == request_id]


class FakeOutbox:
    def __init__(self, world: World) -> None:
        self._world = world

    async def submit(self, envelope: Order) -> tuple[SubmittedDecision, bool]:
        return await self._store(envelope, DecisionStatus.PENDING, "")

    async def refuse(self, envelope: Order, because: str) -> SubmittedDecision:
        return (await self._store(envelope, DecisionStatus.UNAUTHORISED, because))[0]

    async def _store(self, envelope: Order, status: DecisionStatus, because: str) -> tuple[SubmittedDecision, bool]:
        await asyncio.sleep(0)
        key = (envelope.request_id, envelope.decision_id)
        known = self._world.decisions.get(key)
        if known is None:
            settled_at = None if status is DecisionStatus.PENDING else NOW
            self._world.decisions[key] = SubmittedDecision(
                envelope=envelope, status=status, because=because, submitted_at=NOW, settled_at=settled_at
            )
            return self._world.decisions[key], True
        incidental = {"decided_at", "signature"}
        if known.envelope.model_dump(exclude=incidental) != envelope.model_dump(exclude=incidental):
            raise DecisionConflictError("used before")
        return known, False

    async def mark_sent(self, request_id: str, decision_id: str) -> None:
        self._world.sent.add((request_id, decision_id))

    async def unsent(self, older_than: timedelta, limit: int) -> list[Order]:
        return [
            found.envelope
            for key, found in self._world.decisions.items()
            if key not in self._world.sent and found.status is DecisionStatus.PENDING
        ][:limit]

    async def settle_late(self, envelope: Order, because: str) -> None:
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

    async def signal(self, envelope: Order) -> bool:
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
        for number, _ in enumerate(self._world.signals):
            yield ProgressEvent(id=8 + number, name="review.signalled", at=NOW, data={})
        yield ProgressEvent(id=19, name="request.ended", at=NOW, data={})

    async def history(self, request_id: str, run: int | None = None) -> tuple[dict[str, Any], int]:
        runs = self._world.runs
        if request_id not in self._world.inputs:
            raise RPCError("gone", RPCStatusCode.NOT_FOUND, b"")
        if run is not None and run > runs:
            raise NoSuchRunError(runs)
        return {"run": run or runs, "events": [{"eventId": "1"}]}, runs

    async def memo(self, request_id: str) -> StartMemo | None:
        await self._world.check_temporal()
        request = self._world.inputs.get(request_id)
        return None if request is None else StartMemo(tenant=request.tenant, body_sha256=request.body.sha256())
