"""All writes of one process to a SQLite file, from one thread over one connection.

SQLite has one writer at a time. Queueing inside the process is fair and cheap, where a pool of connections would poll
for the file's lock; and what waits while a commit is on its way to the disk shares the next commit.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

T = TypeVar("T")
_Job = tuple[Callable[[Connection], Any], "Future[Any]"]

_LARGEST_BATCH = 64
"""Transactions that share one commit at most, so that a long queue does not hold the file's lock for long."""


class SqliteWriter:
    """Runs write transactions one after the other. ``engine`` must begin them with ``BEGIN IMMEDIATE``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, work: Callable[[Connection], T]) -> T:
        """The result of ``work``, once it is committed. Raises what ``work`` raises; nothing of it is stored then.

        **Correctness:** a caller that is cancelled does not know whether its transaction took place; it must be
        idempotent.
        """
        if self._closed:
            raise RuntimeError("the database is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="sqlite-writer", daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._jobs.put((work, future))
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Finish what is queued and give up the connection."""
        self._closed = True
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._engine.dispose()

    def _loop(self) -> None:
        connection: Connection | None = None
        open_for_work = True
        while open_for_work:
            batch, open_for_work = self._next_batch()
            if not batch:
                continue
            try:
                connection = connection or self._engine.connect()
                settled = _commit_together(connection, [work for work, _ in batch])
            except Exception as error:
                # The file is locked, full or broken: no job of the batch is stored, and each caller is told.
                settled = [error] * len(batch)
                if connection is not None:
                    connection.invalidate()
                    connection.close()
                    connection = None
            for (_, future), result in zip(batch, settled, strict=True):
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result[0])
        if connection is not None:
            connection.close()

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """What waits now, without the jobs whose callers gave up; and whether more may come."""
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            if job[1].set_running_or_notify_cancel():
                batch.append(job)
            if len(batch) == _LARGEST_BATCH:
                return batch, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False


def _commit_together(
    connection: Connection, jobs: list[Callable[[Connection], Any]]
) -> list[tuple[Any] | BaseException]:
    """Each job's result or error, after one commit of all that succeeded. Raises if nothing could be committed."""
    settled: list[tuple[Any] | BaseException] = []
    with connection.begin():
        for work in jobs:
            # The savepoint also serves a lone job: an error takes back this job's statements and no other's.
            savepoint = connection.begin_nested()
            try:
                result = work(connection)
            except Exception as error:
                savepoint.rollback()
                settled.append(error)
            else:
                savepoint.commit()
                settled.append((result,))
    return settled
