"""Many requests held at once on one stack: made, counted past our own code, and decided, each exactly once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, TypeVar

import httpx

from domain.identity import Role
from standalone.processes import StackError
from standalone.stack import Stack

POLICY = "holds"
AT_ONCE = 32
_AGAIN = frozenset({202, 429, 502, 503, 504})
_LONGEST = 60.0
"""Seconds without any progress after which a wait has failed."""

T = TypeVar("T")
Told = Callable[[int], None]


class Crowd:
    """The held requests of one stack."""

    def __init__(self, stack: Stack, http: httpx.AsyncClient) -> None:
        self.stack = stack
        self._http = http

    async def hold(self, first: int, count: int, told: Told) -> None:
        """Submit ``count`` requests, numbered from ``first``, and wait until each is held."""
        before = self.pending()

        async def one(number: int) -> None:
            body = {"policy": POLICY, "input": f"An easy question, number {number}.", "subject": f"held-{number}"}
            headers = self.stack.issued.bearer(Role.SERVICE) | {"Idempotency-Key": f"held-{number}"}
            sent = await self._patiently(lambda: self._http.post("/v1/requests", json=body, headers=headers))
            sent.raise_for_status()

        submitting = asyncio.create_task(_at_once([_call(one, number) for number in range(first, first + count)]))
        try:
            await self._until_pending(before + count, told, before, submitting)
            await submitting
        finally:
            submitting.cancel()

    async def _until_pending(self, wanted: int, told: Told, before: int, submitting: asyncio.Task[Any]) -> None:
        moved, known = perf_counter(), before
        while known < wanted:
            await asyncio.sleep(0.5)
            if submitting.done():
                submitting.result()  # a submit that failed says why; without this the wait would end in silence
            now = await asyncio.to_thread(self.pending)
            if now != known:
                moved, known = perf_counter(), now
                told(known - before)
            elif perf_counter() - moved > _LONGEST:
                raise StackError(f"{wanted - known} requests were not held within {_LONGEST:g} s; see the worker's log")

    async def decide_all(self, told: Told) -> Counter[str]:
        """Decide over every held request, every second one by another verdict; how many ended in which way."""
        reviews = self.rows(
            "SELECT request_id, result_sha256, review_version FROM reviews WHERE state = 'pending' ORDER BY request_id"
        )
        done = 0

        async def one(number: int, review: tuple[Any, ...]) -> str:
            nonlocal done
            verdict = ("approve", "reject")[number % 2]
            answer = await self.decide(review, verdict)
            done += 1
            told(done)
            return str(answer["request"]["outcome"])

        outcomes = await _at_once([_call(one, number, review) for number, review in enumerate(reviews)])
        return Counter(outcomes)

    async def decide(self, review: tuple[Any, ...], verdict: str) -> dict[str, Any]:
        """Decide over one review (id, hash, version); the answer once it was applied. Raises ``StackError`` else.

        **Correctness:** sent again under the same id until it is judged, as every client should.
        """
        request_id, sha256, version = review
        body = {"verdict": verdict, "reason": "read", "result_sha256": sha256, "review_version": version}
        body |= {"decision_id": f"crowd-{request_id}"}
        headers = self.stack.issued.bearer(Role.REVIEWER)
        path = f"/v1/reviews/{request_id}/decisions"
        sent = await self._patiently(lambda: self._http.post(path, json=body, headers=headers))
        answer: dict[str, Any] = sent.json()
        if answer.get("status") != "applied":
            raise StackError(f"a decision on {request_id} was answered {sent.status_code}: {sent.text[:300]}")
        return answer

    async def _patiently(self, send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Send until the answer is final: through outages, and through decisions that are not judged yet."""
        deadline = perf_counter() + _LONGEST
        while True:
            try:
                answer = await send()
            except httpx.TransportError:
                if perf_counter() > deadline:
                    raise
            else:
                decided = "/decisions" in answer.request.url.path
                final = answer.status_code not in _AGAIN or (answer.status_code == 202 and not decided)
                if final or perf_counter() > deadline:
                    return answer
            await asyncio.sleep(0.2)

    def pending(self) -> int:
        """How many reviews wait for a person, read past all of our own code."""
        return int(self.rows("SELECT count(*) FROM reviews WHERE state = 'pending'")[0][0])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the ledger's database."""
        connection = sqlite3.connect(self.stack.options.data / "sluice.db", timeout=30)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def lost_or_doubled(self) -> dict[str, int]:
        """What must not be: requests that did not end, ends without a request, decisions that had no effect."""
        questions = {
            "requests that have not ended": "SELECT count(*) FROM requests WHERE ended_at IS NULL",
            "requests without exactly one release": (
                "SELECT count(*) FROM requests r WHERE (SELECT count(*) FROM releases x "
                "WHERE x.request_id = r.request_id) <> 1"
            ),
            "requests that ended otherwise than they were decided": (
                "SELECT count(*) FROM releases x JOIN decisions d ON d.request_id = x.request_id "
                "WHERE x.outcome <> CASE json_extract(d.envelope, '$.verdict') "
                "WHEN 'approve' THEN 'approved' WHEN 'reject' THEN 'rejected' END"
            ),
            "decisions that were not applied": "SELECT count(*) FROM decisions WHERE status <> 'applied'",
            "requests without exactly one decision": (
                "SELECT count(*) FROM requests r WHERE (SELECT count(*) FROM decisions d "
                "WHERE d.request_id = r.request_id) <> 1"
            ),
        }
        return {what: int(self.rows(query)[0][0]) for what, query in questions.items()}


def _call(work: Callable[..., Awaitable[T]], *arguments: Any) -> Callable[[], Awaitable[T]]:
    return lambda: work(*arguments)


async def _at_once(work: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await item()

    return list(await asyncio.gather(*(one(item) for item in work)))


async def kill_and_start_again(stack: Stack) -> float:
    """SIGKILL to every process of the stack, then start them all; seconds until everything answers again."""
    parts = [part for part in (stack.api, stack.worker, stack.temporal, stack.provider) if part is not None]
    for part in parts:
        part.kill()
    started = perf_counter()
    if stack.temporal is not None:
        stack.temporal.start()
    stack.provider.start()
    await stack.temporal_ready()
    stack.worker.start()
    stack.api.start()
    await asyncio.gather(stack.provider_ready(), stack.worker_ready(), stack.api_ready())
    return perf_counter() - started
