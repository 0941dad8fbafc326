"""A worker that kills itself once, around the moment in which a model's answer is journalled.

    python -m tests.e2e.fatal_worker ORDERS

The file ORDERS holds ``before`` or ``after``: whether the worker dies just before the answer is written, or when it is
written and the Activity has not returned. The order is used up by dying; without one this is an ordinary worker.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from adapters.database import Database
from adapters.settings import Settings
from adapters.sql_journal import SqlAttemptJournal
from adapters.temporal_connect import connect
from domain.stage import Attempt, StageAnswer
from worker.wiring import all_activities, build_worker, wired_world


class FatalJournal(SqlAttemptJournal):
    """The real journal, in a process that may not survive writing it."""

    def __init__(self, database: Database, orders: Path) -> None:
        super().__init__(database)
        self._orders = orders

    async def finish(self, call_key: str, attempt: Attempt, answer: StageAnswer) -> None:
        """Record the answer, unless the order was to die first."""
        self._die_if_ordered("before")
        await super().finish(call_key, attempt, answer)
        self._die_if_ordered("after")

    def _die_if_ordered(self, moment: str) -> None:
        if self._orders.exists() and self._orders.read_text("utf-8") == moment:
            self._orders.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


async def work(settings: Settings, orders: Path) -> None:
    """Run a worker that is wired like the real one but for its journal, until it is killed."""
    database = Database(settings.database_url)
    client = await connect(settings.temporal_address, settings.temporal_namespace)
    async with wired_world(settings) as world:
        fatal = replace(world, journal=FatalJournal(database, orders))
        await build_worker(client, settings.task_queue, all_activities(fatal)).run()


if __name__ == "__main__":
    asyncio.run(work(Settings.load(), Path(sys.argv[1])))
