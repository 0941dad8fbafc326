"""``python -m standalone.bare_worker ADDRESS PROVIDER_URL``: works on the bare Workflows of the benchmark."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import httpx
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from standalone.bare_workflow import BARE_QUEUE, BareCascade, BareHold


@activity.defn(name="bare_step")
async def bare_step(text: str) -> str:
    """Nothing."""
    return text


class BareCalls:
    """The model call with nothing around it."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    @activity.defn(name="bare_call")
    async def bare_call(self, model_and_prompt: str) -> str:
        """POST the prompt to the provider; the text of its answer."""
        model, prompt = model_and_prompt.split("\n", 1)
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "logprobs": True}
        answer = await self._http.post(f"{self._url}/chat/completions", json=body)
        return str(answer.raise_for_status().json()["choices"][0]["message"]["content"])


async def work(address: str, url: str) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(address)
    async with httpx.AsyncClient(timeout=30) as http:
        activities = [bare_step, BareCalls(http, url).bare_call]
        async with Worker(
            client,
            task_queue=BARE_QUEUE,
            workflows=[BareCascade, BareHold],
            activities=activities,
            max_concurrent_activities=200,
            max_concurrent_workflow_tasks=200,
        ):
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2]))
    sys.stdout.flush()
    # A process that used Temporal can abort while the interpreter is torn down; everything is closed by now.
    os._exit(0)
