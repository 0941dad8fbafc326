"""``python -m worker.health``: exit code 0 if the worker on this machine polled its task queue within the last minutes.

A process that is up says little: a worker with a wrong key or a lost connection can hang without a word. Temporal
itself knows who polls.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.settings import Settings
from adapters.temporal_connect import connect
from domain.errors import SluiceError

LONGEST_SILENCE = timedelta(seconds=150)
"""Two polls: each waits up to a minute at the server before the next one begins."""
_SECONDS = 8.0


async def silent_queues(client: Client, task_queue: str, host: str, now: datetime) -> list[str]:
    """Which kinds of task no worker on ``host`` has polled for lately: some of ``workflow`` and ``activity``."""
    silent = []
    for name, kind in (
        ("workflow", TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
        ("activity", TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
    ):
        answer = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=kind
            )
        )
        if not any(
            poller.identity.endswith(f"@{host}")
            and now - poller.last_access_time.ToDatetime(tzinfo=UTC) < LONGEST_SILENCE
            for poller in answer.pollers
        ):
            silent.append(name)
    return silent


async def _check(settings: Settings) -> list[str]:
    async with asyncio.timeout(_SECONDS):
        client = await connect(settings.temporal_address, settings.temporal_namespace)
        return await silent_queues(client, settings.task_queue, socket.gethostname(), datetime.now(UTC))


def main() -> int:
    """Exit code 0 if the worker polls, 1 with a reason if not."""
    try:
        silent = asyncio.run(_check(Settings.load()))
    except SluiceError as error:
        reason = str(error)
    except (RPCError, RuntimeError, TimeoutError):
        reason = "Temporal cannot be reached; look at TEMPORAL_ADDRESS and at the server"
    else:
        if not silent:
            return 0
        reason = f"no worker on this machine polls for {' and '.join(silent)} tasks"
    print(f"worker: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # A process that used Temporal can abort while the interpreter is torn down; everything is closed by now.
    os._exit(code)
