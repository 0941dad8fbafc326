"""A production worker against a real server, with fakes for the outside world; what golden histories are made with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from adapters.temporal_requests import start_request
from domain.ledger import Ending, ReviewOpening
from domain.override import OVERRIDE_SIGNAL, OverrideAction, OverrideEnvelope
from domain.ports import ModelCall
from domain.request import CascadeInput, Outcome, request_id
from domain.review import DecisionEnvelope, ReviewVerdict
from domain.stage import StageAnswer
from tests.examples import decision, request
from tests.fakes import (
    MemoryDeliveries,
    MemoryJournal,
    MemoryLedger,
    MemoryNotifier,
    PaperAuthority,
    Script,
    ScriptedProvider,
    ScriptedVerifier,
)
from tests.workflows.harness import by_confidence
from worker.wiring import World, all_activities, build_worker

SUBMITTED_AT = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


class GoldenProvider(ScriptedProvider):
    """Answers by its script; the models in ``silent`` never answer."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.silent: set[str] = set()
        self.called = asyncio.Event()

    async def complete(self, call: ModelCall) -> StageAnswer:
        self.called.set()
        if call.model.name in self.silent:
            await asyncio.Event().wait()
        return await super().complete(call)


class WatchedLedger(MemoryLedger):
    """A ledger whose commits can be waited for, and whose commit of the end can be held up meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.ending = asyncio.Event()

    async def judged_so_many(self, request_id: str, count: int) -> None:
        """Wait until so many decisions have been committed."""
        async with self.held:
            await self.held.wait_for(lambda: len(self.decisions.get(request_id, ())) >= count)

    async def end(self, ending: Ending) -> None:
        self.ending.set()
        await self.may_end.wait()
        await super().end(ending)


class Rig:
    """One request of one golden path. Ids and texts follow from the path's name, so that captures can be compared."""

    def __init__(self, client: Client, path: str) -> None:
        self.client = client
        self.path = path
        self.id = request_id("acme", f"golden/{path}")
        self.provider = GoldenProvider(by_confidence(0.95).script)
        self.verifier = ScriptedVerifier()
        self.authority = PaperAuthority()
        self.ledger = WatchedLedger()
        self.journal = MemoryJournal()
        self._decisions = 0
        self.first_run: str | None = None
        self.captured_run: str | None = None
        """The run whose history is kept; the newest unless named."""

    def world(self) -> World:
        """Everything outside, as fakes."""
        return World(
            ledger=self.ledger,
            journal=self.journal,
            provider=self.provider,
            verifier=self.verifier,
            authority=self.authority,
            notifier=MemoryNotifier(),
            deliveries=MemoryDeliveries(),
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker as in production for as long as the block runs."""
        activities = all_activities(self.world())
        async with build_worker(self.client, self._task_queue, activities, graceful_shutdown=timedelta(seconds=1)):
            yield

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """The path's Workflow."""
        return self.client.get_workflow_handle(self.id)

    def request(self, text: str = "Where is my parcel?", **changes: Any) -> CascadeInput:
        """The path's request."""
        fields = {"request_id": self.id, "submitted_at": SUBMITTED_AT}
        return request(text, **changes).model_copy(update=fields)

    async def start(self, text: str = "Where is my parcel?", **changes: Any) -> None:
        """Start the request as the API does."""
        await start_request(self.client, self._task_queue, self.request(text, **changes))

    async def start_with_decision(self, envelope: DecisionEnvelope, **changes: Any) -> None:
        """Start the request together with a decision, which so arrives before anything else happens."""
        await self.client.start_workflow(
            "CascadeWorkflow",
            self.request(**changes),
            id=self.id,
            task_queue=self._task_queue,
            start_signal="decide",
            start_signal_args=[envelope],
        )

    async def review(self, version: int = 1) -> ReviewOpening:
        """The review once it is open."""
        return await self.ledger.review_of(self.id, version)

    async def decide(self, verdict: ReviewVerdict, version: int = 1, **changes: Any) -> DecisionEnvelope:
        """Signal a genuine decision, changed as given."""
        self._decisions += 1
        fields = {"decision_id": f"decision-{self._decisions}", **changes}
        envelope = decision(await self.review(version), verdict, **fields)
        await self.handle.signal("decide", envelope)
        return envelope

    async def order(self, action: OverrideAction, **changes: Any) -> None:
        """Signal a genuine order of an operator, changed as given."""
        self._decisions += 1
        fields = {
            "decision_id": f"order-{self._decisions}",
            "action": action,
            "reason": "the customer called",
            "request_id": self.id,
            "tenant": "acme",
            "operator": "olaf",
            "decided_at": SUBMITTED_AT,
            "signature": "genuine",
        }
        await self.handle.signal(OVERRIDE_SIGNAL, OverrideEnvelope.model_validate({**fields, **changes}))

    async def judged(self, count: int) -> None:
        """Wait until so many decisions have been judged and committed."""
        async with asyncio.timeout(30):
            await self.ledger.judged_so_many(self.id, count)

    async def ends(self, outcome: Outcome, *statuses: str) -> None:
        """Wait for the end; fails unless it is ``outcome`` and the decisions were judged as ``statuses``."""
        async with asyncio.timeout(60):
            try:
                await self.handle.result()
            except WorkflowFailureError:
                if outcome is not Outcome.CANCELLED:
                    raise
        ended = self.ledger.ended[self.id].outcome
        judged = tuple(self.ledger.statuses(self.id))
        if (ended, judged) != (outcome, statuses):
            raise AssertionError(f"{self.path} went another way: {ended}, {judged}; expected {outcome}, {statuses}")

    async def abandon(self) -> None:
        """End the Workflow whatever it does, so that no server is left with it."""
        try:
            await self.handle.terminate("capture failed")
        except RPCError:
            return

    @property
    def _task_queue(self) -> str:
        return f"golden-{self.path}"
