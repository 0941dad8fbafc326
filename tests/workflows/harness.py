"""A worker with fakes behind it, and the few things a test of the Workflow does with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from domain.override import OVERRIDE_SIGNAL, OverrideAction, OverrideEnvelope
from domain.ports import ModelCall
from domain.request import WORKFLOW_TYPE, CascadeInput, RequestResult
from domain.review import DecisionEnvelope, ReviewVerdict
from domain.stage import StageAnswer
from tests.examples import decision
from tests.fakes import (
    MemoryDeliveries,
    MemoryJournal,
    MemoryLedger,
    MemoryNotifier,
    PaperAuthority,
    ScriptedProvider,
    ScriptedVerifier,
    answer_of,
)
from worker.wiring import World, all_activities
from workflows.cascade import CascadeWorkflow
from workflows.delivery import DeliveryWorkflow

Handle = WorkflowHandle[CascadeWorkflow, RequestResult]


def by_confidence(small: float, large: float = 0.95) -> ScriptedProvider:
    """A provider whose small and large model answer with these confidences."""

    def script(call: ModelCall) -> StageAnswer:
        return answer_of(f"the answer of {call.model.name}", small if call.model.name == "small" else large)

    return ScriptedProvider(script)


class Harness:
    """One worker on its own task queue, with fakes."""

    def __init__(self, client: Client, provider: ScriptedProvider) -> None:
        self.client = client
        self.provider = provider
        self.ledger = MemoryLedger()
        self.journal = MemoryJournal()
        self.verifier = ScriptedVerifier()
        self.authority = PaperAuthority()
        self.notifier = MemoryNotifier()
        self.deliveries = MemoryDeliveries()
        self.task_queue = f"test-{uuid4()}"

    def world(self) -> World:
        """Everything outside, as fakes."""
        return World(
            ledger=self.ledger,
            journal=self.journal,
            provider=self.provider,
            verifier=self.verifier,
            authority=self.authority,
            notifier=self.notifier,
            deliveries=self.deliveries,
        )

    @asynccontextmanager
    async def working(self, **options: Any) -> AsyncIterator[Harness]:
        """A worker, with further ``options`` if any, for as long as the block runs."""
        activities = all_activities(self.world())
        async with Worker(
            self.client,
            task_queue=self.task_queue,
            workflows=[CascadeWorkflow, DeliveryWorkflow],
            activities=activities,
            **options,
        ):
            yield self

    async def start(self, request: CascadeInput) -> Handle:
        """Start a request."""
        return await self.client.start_workflow(
            WORKFLOW_TYPE, request, id=request.request_id, task_queue=self.task_queue, result_type=RequestResult
        )

    async def run(self, request: CascadeInput) -> RequestResult:
        """Run a request to its end."""
        return await (await self.start(request)).result()

    async def order(self, handle: Handle, action: OverrideAction, **changes: object) -> OverrideEnvelope:
        """Send an operator's order."""
        fields = {
            "decision_id": f"order-{uuid4()}",
            "action": action,
            "reason": "the customer called",
            "request_id": handle.id,
            "tenant": "acme",
            "operator": "olaf",
            "decided_at": datetime.now(UTC),
            "signature": "genuine",
        }
        envelope = OverrideEnvelope.model_validate({**fields, **changes})
        await handle.signal(OVERRIDE_SIGNAL, envelope)
        return envelope

    async def decide(self, handle: Handle, verdict: ReviewVerdict, **changes: object) -> DecisionEnvelope:
        """Decide on the newest review of a request."""
        version = int(str(changes.pop("version", 1)))
        envelope = decision(await self.ledger.review_of(handle.id, version), verdict, **changes)
        await handle.signal("decide", envelope)
        return envelope
