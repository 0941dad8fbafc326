"""What the benchmark compares with: the same number of Activities in the same shape, and nothing of ours in them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.workflow import ActivityHandle

BARE_QUEUE = "bare"
_TIMEOUT = timedelta(seconds=30)


def _start(name: str, argument: str) -> ActivityHandle[str]:
    handle: ActivityHandle[str] = workflow.start_activity(
        name, argument, result_type=str, start_to_close_timeout=_TIMEOUT
    )
    return handle


@workflow.defn(name="BareCascade")
class BareCascade:
    """Two Activities at once, then twice a model call and ``checks`` at once, then one more."""

    @workflow.run
    async def run(self, prompt: str, checks: int) -> str:
        """The last model's answer."""
        await asyncio.gather(_start("bare_step", prompt), _start("bare_step", prompt))
        answer = ""
        for model in ("simulated-small", "simulated-large"):
            answer = await _start("bare_call", f"{model}\n{prompt}")
            await asyncio.gather(*(_start("bare_step", answer) for _ in range(checks)))
        await _start("bare_step", answer)
        return answer


@workflow.defn(name="BareHold")
class BareHold:
    """Waits for a Signal and ends."""

    def __init__(self) -> None:
        self._decided = False

    @workflow.signal
    def decide(self) -> None:
        """End the Workflow."""
        self._decided = True

    @workflow.run
    async def run(self) -> None:
        """Wait."""
        await workflow.wait_condition(lambda: self._decided)
