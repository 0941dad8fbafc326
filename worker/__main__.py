"""``python -m worker``: works on requests until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from adapters.logs import configure_logs
from adapters.memory import spare_the_collector
from adapters.settings import Settings
from adapters.temporal_connect import connect
from domain.errors import SluiceError
from worker.wiring import wired_worker


async def work(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT; then finish what is under way and return."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    log = configure_logs("worker", settings.log_level)
    client = await connect(settings.temporal_address, settings.temporal_namespace)
    async with wired_worker(settings, client) as worker:
        spare_the_collector()
        running = asyncio.create_task(worker.run())
        stopping = asyncio.create_task(stop.wait())
        log.info("worker started", task_queue=settings.task_queue, temporal=settings.temporal_address)
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            log.info("worker stopping")
            await worker.shutdown()
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stopping
        await running


def main() -> int:
    """Exit code 0 after an orderly stop, 1 when the worker could not start or lost its footing."""
    try:
        asyncio.run(work(Settings.load()))
    except SluiceError as error:
        print(f"worker: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A process that used Temporal can abort while the interpreter is torn down; everything is closed by now.
    os._exit(code)
