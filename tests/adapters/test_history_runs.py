"""A Workflow that continues as new, read as one: its runs, their histories, and progress that never counts back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from adapters.history_runs import runs_of
from adapters.temporal_requests import NoSuchRunError, TemporalRequests
from domain.override import OVERRIDE_SIGNAL, OverrideAction, OverrideEnvelope
from tests.examples import request as a_request


@workflow.defn(name="Continuing", sandboxed=False)
class Continuing:
    """Begins a new run with every Signal, until one is called ``end``."""

    def __init__(self) -> None:
        self.signals: list[str] = []

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: bool(self.signals))
        if self.signals[0] != "end":
            workflow.continue_as_new()

    @workflow.signal(dynamic=True)
    def receive(self, name: str, _payloads: Sequence[RawValue]) -> None:
        self.signals.append(name)


@asynccontextmanager
async def continuing(client: Client) -> AsyncIterator[tuple[TemporalRequests, WorkflowHandle[Continuing, None]]]:
    queue = f"continuing-{uuid4().hex}"
    async with Worker(client, task_queue=queue, workflows=[Continuing]):
        identifier = f"req_{uuid4().hex}"
        handle = await client.start_workflow(Continuing.run, id=identifier, task_queue=queue)
        yield TemporalRequests(client, queue), handle


async def next_run(client: Client, handle: WorkflowHandle[Continuing, None], signal: str = "decide") -> tuple[str, ...]:
    """All runs once a Signal has led to another one."""
    before = await runs_of(client, handle.id)
    await client.get_workflow_handle(handle.id).signal(signal)
    after = await grown(client, handle.id, len(before) + 1)
    assert after[:-1] == before
    return after


async def grown(client: Client, identifier: str, count: int) -> tuple[str, ...]:
    """All runs once there are so many."""
    async with asyncio.timeout(20):
        while True:
            runs = await runs_of(client, identifier)
            if len(runs) == count:
                return runs
            await asyncio.sleep(0.02)


async def test_every_run_has_its_history_and_the_newest_is_the_default(dev_server: WorkflowEnvironment) -> None:
    client = dev_server.client
    async with continuing(client) as (requests, handle):
        await next_run(client, handle)
        runs = await next_run(client, handle)
        assert runs[0] == handle.first_execution_run_id
        starts = []
        for number in (1, 2, 3, None):
            history, count = await requests.history(handle.id, number)
            assert count == 3
            started = history["events"][0]["workflowExecutionStartedEventAttributes"]
            starts.append(started.get("continuedExecutionRunId"))
        assert starts == [None, runs[0], runs[1], runs[1]]
        for number in (0, 4):
            with pytest.raises(NoSuchRunError) as caught:
                await requests.history(handle.id, number)
            assert caught.value.runs == 3
        await client.get_workflow_handle(handle.id).signal("end")


async def test_progress_runs_on_over_runs_with_ids_that_grow(dev_server: WorkflowEnvironment) -> None:
    client = dev_server.client
    async with continuing(client) as (requests, handle):
        following = asyncio.create_task(_all(requests, handle.id))
        await next_run(client, handle)
        await next_run(client, handle, OVERRIDE_SIGNAL)
        await client.get_workflow_handle(handle.id).signal("end")
        async with asyncio.timeout(20):
            told = await following
        assert told == await _all(requests, handle.id), "the same to whoever comes later"
    assert [name for _, name in told] == [
        "request.started",
        "review.signalled",
        "override.signalled",
        "review.signalled",
        "request.ended",
    ]
    ids = [identifier for identifier, _ in told]
    assert ids == sorted(set(ids))
    assert [identifier // 1_000_000 for identifier in ids] == [0, 0, 2, 3, 3]


async def _all(requests: TemporalRequests, identifier: str) -> list[tuple[int, str]]:
    return [(event.id, event.name) async for event in requests.events(identifier)]


async def test_an_unknown_workflow_is_not_found(dev_server: WorkflowEnvironment) -> None:
    requests = TemporalRequests(dev_server.client, "none")
    for call in (requests.history("req_none"), anext(requests.events("req_none"))):
        with pytest.raises(RPCError) as caught:
            await call
        assert caught.value.status is RPCStatusCode.NOT_FOUND


async def test_decisions_and_orders_come_under_their_own_names(dev_server: WorkflowEnvironment) -> None:
    client = dev_server.client
    async with continuing(client) as (requests, handle):
        held = a_request()
        order = OverrideEnvelope(
            decision_id="o1",
            request_id=handle.id,
            tenant=held.tenant,
            decided_at=held.submitted_at,
            action=OverrideAction.FORCE_REVIEW,
            reason="to be sure",
            operator="olaf",
        )
        assert await requests.signal(order)
        await grown(client, handle.id, 2)
        await client.get_workflow_handle(handle.id).signal("end")
        async with asyncio.timeout(20):
            await client.get_workflow_handle(handle.id).result()
        assert not await requests.signal(order), "it has ended"
        history, _ = await requests.history(handle.id, 1)
    signals = [event["workflowExecutionSignaledEventAttributes"]["signalName"] for event in _signals(history)]
    assert signals == [OVERRIDE_SIGNAL]


def _signals(history: dict[str, list[dict[str, dict[str, str]]]]) -> list[dict[str, dict[str, str]]]:
    return [event for event in history["events"] if "workflowExecutionSignaledEventAttributes" in event]
