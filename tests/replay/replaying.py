"""Replays a golden history as a worker would, and compares what the request then ends with."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowRunner,
)

from adapters.temporal_plugin import temporal_plugin
from domain.request import RequestResult
from tests.replay.recorded import read
from workflows.cascade import CascadeWorkflow

_BROKEN = """\
{file} no longer replays:
{error}

This history stands for requests that run or are held right now. After a deploy of this code their Workflow Tasks would
fail, again and again, until the code is put right: no request would be lost, and none would be answered.
What to do (CONTRIBUTING.md, "Changing a Workflow that runs"):
- Not meant? Undo it. What domain/ and workflows/ return for an old input is Workflow code.
- Meant? Guard it with workflow.patched("<change>") and keep the old branch, or pin running requests to the old worker
  version; then capture a history of the new branch. Keep this file."""

_ENDS_OTHERWISE = """\
{file} replays, but the request ends otherwise: {field} was {was!r} and is now {now!r}.

A request that is running during a deploy would be decided by other rules than it was started under. A change of what
is released needs workflow.patched("<change>") as a change of steps does (CONTRIBUTING.md, "Changing a Workflow that
runs")."""

_MAY_CHANGE = {"reason"}
"""Words for people may be improved under running requests."""


class ReplayBrokenError(Exception):
    """A history that the code no longer replays. The message says what that means and what to do."""


async def check_replay(file: Path, runner: WorkflowRunner | None = None) -> None:
    """Replay ``file`` with the plugin that production uses, or its like with another ``runner``.

    Raises ``ReplayBrokenError`` if it does not replay or ends otherwise than it did.
    """
    keeper = _ResultKeeper()
    replayer = Replayer(workflows=[CascadeWorkflow], plugins=[temporal_plugin(runner)], interceptors=[keeper])
    try:
        await replayer.replay_workflow(read(file))
    except Exception as error:
        raise ReplayBrokenError(_BROKEN.format(file=file.name, error=_in_short(error))) from None
    recorded = _recorded_result(file)
    replayed = keeper.result.model_dump(mode="json") if keeper.result is not None else {}
    for field in sorted(recorded.keys() - _MAY_CHANGE):
        if replayed.get(field) != recorded[field]:
            was, now = recorded[field], replayed.get(field)
            raise ReplayBrokenError(_ENDS_OTHERWISE.format(file=file.name, field=field, was=was, now=now))


class _ResultKeeper(Interceptor):
    """Keeps what the Workflow returns; the Replayer itself does not compare it."""

    def __init__(self) -> None:
        self.result: RequestResult | None = None

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        keeper = self

        class Inbound(WorkflowInboundInterceptor):
            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                keeper.result = await super().execute_workflow(input)
                return keeper.result

        return Inbound


def _recorded_result(file: Path) -> dict[str, Any]:
    """What the request ended with when it was captured; empty if it was cancelled."""
    last = json.loads(file.read_text("utf-8"))["events"][-1]
    completed = last.get("workflowExecutionCompletedEventAttributes")
    if completed is None:
        return {}
    result: dict[str, Any] = json.loads(b64decode(completed["result"]["payloads"][0]["data"]))
    return result


def _in_short(error: Exception) -> str:
    """The messages in the failure that the SDK prints in full."""
    messages = re.findall(r'message: "((?:[^"\\]|\\.)*)"', str(error))
    return "\n".join(message.replace("\\n", "\n") for message in messages) or repr(error)
