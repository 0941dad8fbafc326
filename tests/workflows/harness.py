"""A worker with fakes behind it, and the few things a test of the Workflow does with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from domain.ports import ModelCall
from domain.request import CascadeInput, RequestResult
from domain.review import DecisionEnvelope, ReviewVerdict
from domain.stage import StageAnswer
from tests.examples import decision
from tests.fakes import MemoryJournal, MemoryLedger, ScriptedProvider, ScriptedVerifier, SignedByName, answer_of
from worker.wiring import all_activities
from workflows.cascade import CascadeWorkflow

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
        self.task_queue = f"test-{uuid4()}"

    @asynccontextmanager
    async def working(self, **options: Any) -> AsyncIterator[Harness]:
        """A worker, with further ``options`` if any, for as long as the block runs."""
        activities = all_activities(self.ledger, self.journal, self.provider, self.verifier, SignedByName())
        async with Worker(
            self.client, task_queue=self.task_queue, workflows=[CascadeWorkflow], activities=activities, **options
        ):
            yield self

    async def start(self, request: CascadeInput) -> Handle:
        """Start a request."""
        return await self.client.start_workflow(
            CascadeWorkflow.run, request, id=request.request_id, task_queue=self.task_queue
        )

    async def run(self, request: CascadeInput) -> RequestResult:
        """Run a request to its end."""
        return await (await self.start(request)).result()

    async def decide(self, handle: Handle, verdict: ReviewVerdict, **changes: object) -> DecisionEnvelope:
        """Decide on the newest review of a request."""
        version = int(str(changes.pop("version", 1)))
        envelope = decision(await self.ledger.review_of(handle.id, version), verdict, **changes)
        await handle.signal("decide", envelope)
        return envelope
