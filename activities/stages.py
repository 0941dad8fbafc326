"""The stage Activity: one call of one model, with every attempt journalled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import perf_counter
from typing import NoReturn

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.failures import CEILING_REACHED, PROVIDER_REFUSED, PROVIDER_UNAVAILABLE
from domain.cascade import forbidden_by_ceiling
from domain.duration import words
from domain.errors import ProviderError
from domain.ports import AttemptJournal, ModelCall, ModelProvider
from domain.stage import (
    Attempt,
    AttemptState,
    Budget,
    FailureKind,
    Spent,
    StageFailure,
    StageResult,
    StageTask,
)
from domain.usage import Usage, estimate_tokens

HEARTBEAT_EVERY = 1.0
"""Seconds between heartbeats of a call under way; a dead worker is noticed after the heartbeat time-out."""


class StageActivities:
    """Calls models. One instance a worker."""

    def __init__(self, provider: ModelProvider, journal: AttemptJournal) -> None:
        self._provider = provider
        self._journal = journal

    @activity.defn(name="run_stage")
    async def run_stage(self, task: StageTask) -> StageResult:
        """Call the stage's model once, or return the answer that an earlier attempt already stored.

        Failures carry a ``StageFailure`` as their detail. **Correctness:** the attempt is journalled before the call
        and its answer before the return. A worker that dies before the answer is stored leads to a second, possibly
        billed call; the first then stays ``unconfirmed`` in the journal and counts at its upper estimate.
        """
        earlier: tuple[Attempt, ...] = ()
        number = activity.info().attempt
        if number > 1:
            stored, earlier = await self._journal.recall(task.call_key)
            if stored is not None:
                return StageResult(answer=stored, attempts=earlier)
            number = max(number, *(attempt.number + 1 for attempt in earlier), 1)
        planned = _plan(task, number)
        now = datetime.now(UTC)
        ceiling = forbidden_by_ceiling(_left(task.budget, earlier), planned.usage, planned.cost_usd, now)
        if ceiling is not None:
            _fail(StageFailure(kind=FailureKind.CEILING, message=ceiling, attempts=earlier), CEILING_REACHED)
        stored, known = await self._journal.begin(task.call_key, planned)
        if stored is not None:
            return StageResult(answer=stored, attempts=known)
        async with _heartbeats():
            return await self._attempt(task, planned, earlier, task.budget.deadline - now)

    @activity.defn(name="recall_attempts")
    async def recall_attempts(self, call_key: str) -> tuple[Attempt, ...]:
        """Every attempt journalled for a call whose Activity ended without telling."""
        _, attempts = await self._journal.recall(call_key)
        return attempts

    async def _attempt(
        self, task: StageTask, planned: Attempt, earlier: tuple[Attempt, ...], time_left: timedelta
    ) -> StageResult:
        stage = task.stage.model_copy(update={"timeout": min(task.stage.timeout, time_left)})
        call = ModelCall(call_key=task.call_key, model=task.model, stage=stage, conversation=task.conversation)
        started = perf_counter()
        try:
            answer = await self._provider.complete(call)
        except ProviderError as error:
            failed = _failed(planned, error, _milliseconds(started))
            await self._journal.fail(task.call_key, failed)
            _raise_provider_error(error, (*earlier, failed), task.budget.deadline)
        cost = task.model.price.cost(answer.usage)
        answer = answer.model_copy(update={"cost_usd": cost, "latency_ms": _milliseconds(started)})
        finished = planned.model_copy(
            update={
                "state": AttemptState.FINISHED,
                "usage": answer.usage,
                "cost_usd": cost,
                "latency_ms": answer.latency_ms,
            }
        )
        await self._journal.finish(task.call_key, finished, answer)
        return StageResult(answer=answer, attempts=(*earlier, finished))


def _plan(task: StageTask, number: int) -> Attempt:
    """The attempt before it is made, at the most it may use and cost."""
    text = "\n".join(message.content for message in task.conversation) + (task.stage.system or "")
    usage = Usage(input_tokens=estimate_tokens(text), output_tokens=task.stage.max_output_tokens, estimated=True)
    return Attempt(
        stage=task.stage.name,
        number=number,
        state=AttemptState.UNCONFIRMED,
        usage=usage,
        cost_usd=task.model.price.cost(usage),
    )


def _left(budget: Budget, earlier: tuple[Attempt, ...]) -> Budget:
    used = Spent().plus(earlier)
    return Budget(
        cost_usd=budget.cost_usd - used.cost_usd,
        attempts=budget.attempts - used.attempts,
        tokens=budget.tokens - used.tokens,
        deadline=budget.deadline,
    )


def _failed(planned: Attempt, error: ProviderError, latency_ms: float) -> Attempt:
    """The attempt after it failed. What cannot have been billed costs nothing; what may have keeps its estimate."""
    update: dict[str, object] = {"state": AttemptState.FAILED, "latency_ms": latency_ms, "error": str(error)}
    if not error.maybe_billed:
        update |= {"usage": Usage(), "cost_usd": Decimal(0)}
    return planned.model_copy(update=update)


def _raise_provider_error(error: ProviderError, attempts: tuple[Attempt, ...], deadline: datetime) -> NoReturn:
    failure = StageFailure(kind=error.kind, message=str(error), attempts=attempts)
    if error.kind is FailureKind.PERMANENT:
        _fail(failure, PROVIDER_REFUSED)
    time_left = deadline - datetime.now(UTC)
    if error.retry_after is not None and error.retry_after >= time_left:
        told = f"{error}; it asks to wait {words(error.retry_after)}, longer than the time that is left"
        _fail(failure.model_copy(update={"message": told}), PROVIDER_UNAVAILABLE)
    raise ApplicationError(
        failure.message,
        failure,
        type=PROVIDER_UNAVAILABLE,
        next_retry_delay=error.retry_after,
        category=ApplicationErrorCategory.BENIGN,
    ) from error


def _fail(failure: StageFailure, kind: str) -> NoReturn:
    raise ApplicationError(
        failure.message, failure, type=kind, non_retryable=True, category=ApplicationErrorCategory.BENIGN
    )


def _milliseconds(started: float) -> float:
    return round((perf_counter() - started) * 1000, 3)


@asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_EVERY)
            activity.heartbeat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
