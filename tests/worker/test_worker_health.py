"""The worker's health check asks Temporal who polls."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from worker.health import LONGEST_SILENCE, main, silent_queues

QUEUE = "health-of-a-worker"


@workflow.defn(sandboxed=False)
class IdleWorkflow:
    """Does nothing."""

    @workflow.run
    async def run(self) -> None:
        """Return at once."""


@activity.defn
async def idle() -> None:
    """Do nothing."""


async def _polled(client: Client, host: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        silent = await silent_queues(client, QUEUE, host, datetime.now(UTC))
        if not silent:
            return
        assert time.monotonic() < deadline, f"nobody polls for {silent}"
        await asyncio.sleep(0.05)


async def test_tells_a_worker_that_polls_from_one_that_does_not(dev_server: WorkflowEnvironment) -> None:
    client, host = dev_server.client, socket.gethostname()
    assert await silent_queues(client, QUEUE, host, datetime.now(UTC)) == ["workflow", "activity"]
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[IdleWorkflow],
        activities=[idle],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        await _polled(client, host)
        assert len(await silent_queues(client, QUEUE, "elsewhere", datetime.now(UTC))) == 2
        assert len(await silent_queues(client, QUEUE, host, datetime.now(UTC) + LONGEST_SILENCE)) == 2


def test_says_that_temporal_is_away(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        assert main() == 1
    assert "TEMPORAL_ADDRESS" in capsys.readouterr().err
