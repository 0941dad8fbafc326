"""The Workflow tests again, with nothing of ours passed through the sandbox.

In production ``domain``, ``activities`` and ``workflows`` are passed through, because importing them anew for every run
is slow. Inside them the sandbox then checks nothing. Here it checks everything, so that a clock, a random number or a
file that slipped into ``domain/`` past the lint is noticed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import (
    RestrictedWorkflowAccessError,
    SandboxedWorkflowRunner,
    UnintentionalPassthroughError,
)
from temporalio.workflow import SandboxImportNotificationPolicy

from adapters.temporal_plugin import sandbox_runner, temporal_plugin
from tests.replay.recorded import history_files
from tests.replay.replaying import check_replay
from tests.workflows.harness import Harness, by_confidence
from tests.workflows.reaches_network import ReachesTheNetwork
from tests.workflows.reads_clock import ReadsTheClock

# The tests themselves: collected here once more, they find this module's ``harness``.
from tests.workflows.test_cascade_paths import (  # noqa: F401
    test_a_finding_that_holds_stops_the_cascade,
    test_a_reviewer_can_escalate,
    test_accepts_at_the_first_stage,
    test_cancelling_in_a_hold_is_recorded,
    test_escalates_on_low_confidence,
    test_high_risk_is_held_and_the_query_tells,
    test_nobody_deciding_fails_closed,
    test_transient_failures_are_retried_and_counted,
)


def strict_runner() -> SandboxedWorkflowRunner:
    """The sandbox with every module of ours imported anew inside it, and so under its restrictions."""
    restrictions = sandbox_runner().restrictions
    return SandboxedWorkflowRunner(
        restrictions=restrictions.with_import_notification_policy(SandboxImportNotificationPolicy.SILENT)
    )


def with_plugin(client: Client, runner: SandboxedWorkflowRunner) -> Client:
    """``client`` with its plugin's sandbox replaced."""
    config: Any = client.config()
    return Client(**{**config, "plugins": [temporal_plugin(runner)]})


@pytest.fixture
def one_at_a_time() -> Any:
    """Python 3.11 can trip over two threads that import the same module into two sandboxes; so there is one thread."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield executor


@pytest.fixture
async def harness(time_skipping: WorkflowEnvironment, one_at_a_time: ThreadPoolExecutor) -> AsyncIterator[Harness]:
    client = with_plugin(time_skipping.client, strict_runner())
    async with Harness(client, by_confidence(0.95)).working(
        workflow_task_executor=one_at_a_time, max_concurrent_workflow_tasks=2
    ) as harness:
        yield harness


@pytest.mark.parametrize("file", history_files(), ids=lambda file: file.stem)
async def test_golden_histories_replay(file: Path) -> None:
    await check_replay(file, strict_runner())


async def test_a_clock_is_noticed(time_skipping: WorkflowEnvironment, one_at_a_time: ThreadPoolExecutor) -> None:
    client = with_plugin(time_skipping.client, strict_runner())
    queue = f"test-{uuid4()}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[ReadsTheClock],
        workflow_task_executor=one_at_a_time,
        workflow_failure_exception_types=[RestrictedWorkflowAccessError],
    ):
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow(ReadsTheClock.run, id=queue, task_queue=queue)
    assert "datetime.datetime.now" in str(caught.value.cause)


async def test_a_worker_refuses_a_workflow_that_reaches_the_network(time_skipping: WorkflowEnvironment) -> None:
    with pytest.raises(RuntimeError, match="Failed validating workflow ReachesTheNetwork") as caught:
        Worker(time_skipping.client, task_queue=f"test-{uuid4()}", workflows=[ReachesTheNetwork])
    assert isinstance(caught.value.__cause__, UnintentionalPassthroughError)
    assert "httpx" in str(caught.value.__cause__)
