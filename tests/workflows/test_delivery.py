"""A notice on its way: retried for a day, given up at once where that cannot help, and recorded in any case."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.notices import NoticeActivities
from domain.notice import DELIVERY_WORKFLOW, Delivery, DeliveryOutcome, Notice, NoticeEvent, NotifierError
from domain.request import Outcome, Status
from domain.risk import RiskTier
from tests.workflows.test_sandbox import strict_runner, with_plugin
from workflows.delivery import DeliveryWorkflow

Script = Callable[[int], Exception | None]


def delivery() -> Delivery:
    notice = Notice(
        event=NoticeEvent.REQUEST_COMPLETED,
        request_id="req_a",
        tenant="acme",
        policy="support-triage",
        policy_version="0123456789abcdef",
        risk=RiskTier.LOW,
        queue=None,
        status=Status.COMPLETED,
        outcome=Outcome.ACCEPTED,
        why="accepted at the first stage",
        due=None,
        review_version=None,
        result_sha256="0" * 64,
        occurred_at=datetime(2026, 11, 24, tzinfo=UTC),
    )
    return Delivery(delivery_id=f"delivery-{uuid4()}", channel="ops", notice=notice)


def always(failure: Callable[[], Exception]) -> Script:
    """Fails every time, each time with an error of its own."""
    return lambda _: failure()


def until(attempt: int, failure: Callable[[], Exception]) -> Script:
    """Fails up to this attempt, and not afterwards."""
    return lambda number: failure() if number <= attempt else None


def never(_: int) -> None:
    """Does not fail."""


def answered(status: int, *, transient: bool, retry_after: timedelta | None = None) -> Callable[[], Exception]:
    """A channel that answers this."""
    return lambda: NotifierError(f"channel 'ops': answered {status}", transient=transient, retry_after=retry_after)


class Outside:
    """The channel and the log in one; each answers by a function of how often it was asked."""

    def __init__(self, channel: Script = never, log: Script = never) -> None:
        self._channel = channel
        self._log = log
        self.told: list[Delivery] = []
        self.asked_to_record = 0
        self.recorded: list[DeliveryOutcome] = []

    async def send(self, delivery: Delivery) -> None:
        self.told.append(delivery)
        error = self._channel(len(self.told))
        if error is not None:
            raise error

    async def record(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        self.asked_to_record += 1
        error = self._log(self.asked_to_record)
        if error is not None:
            raise error
        self.recorded.append(outcome)


@asynccontextmanager
async def started(
    client: Client, outside: Outside, sent: Delivery, **options: Any
) -> AsyncIterator[WorkflowHandle[Any, DeliveryOutcome]]:
    activities = NoticeActivities(outside, outside)
    async with Worker(
        client,
        task_queue=sent.delivery_id,
        workflows=[DeliveryWorkflow],
        activities=[activities.send_notice, activities.record_delivery],
        **options,
    ):
        yield await client.start_workflow(
            DELIVERY_WORKFLOW, sent, id=sent.delivery_id, task_queue=sent.delivery_id, result_type=DeliveryOutcome
        )


async def delivered(environment: WorkflowEnvironment, outside: Outside) -> tuple[DeliveryOutcome, timedelta]:
    """The outcome of one delivery, and how long it took by the server's clock."""
    sent = delivery()
    async with started(environment.client, outside, sent) as handle:
        outcome = await handle.result()
        description = await handle.describe()
    assert {one.delivery_id for one in outside.told} == {sent.delivery_id} == {outcome.delivery_id}
    assert outside.recorded == [outcome]
    assert description.close_time is not None
    return outcome, description.close_time - description.start_time


async def test_a_notice_that_is_taken_at_once_is_recorded(time_skipping: WorkflowEnvironment) -> None:
    outside = Outside()
    outcome, _ = await delivered(time_skipping, outside)
    assert (outcome.delivered, outcome.attempts, outcome.detail) == (True, 1, "")


async def test_a_channel_that_is_away_for_hours_is_told_when_it_is_back(time_skipping: WorkflowEnvironment) -> None:
    away = answered(503, transient=True)
    outcome, took = await delivered(time_skipping, Outside(until(30, away)))
    assert (outcome.delivered, outcome.attempts, outcome.detail) == (True, 31, "")
    # Ten pauses of 1 s to 512 s, then one of ten minutes after each attempt.
    assert timedelta(hours=3.5) < took < timedelta(hours=4)


async def test_a_channel_that_stays_away_is_given_up_after_a_day(time_skipping: WorkflowEnvironment) -> None:
    away = answered(503, transient=True)
    outside = Outside(always(away))
    outcome, took = await delivered(time_skipping, outside)
    assert (outcome.delivered, outcome.detail) == (False, "channel 'ops': answered 503")
    assert outcome.attempts == len(outside.told) > 140
    assert timedelta(hours=23) < took < timedelta(hours=25)


async def test_a_channel_is_left_alone_for_as_long_as_it_asks(time_skipping: WorkflowEnvironment) -> None:
    wait = answered(429, transient=True, retry_after=timedelta(minutes=50))
    outcome, took = await delivered(time_skipping, Outside(until(1, wait)))
    assert (outcome.delivered, outcome.attempts) == (True, 2)
    assert timedelta(minutes=50) <= took < timedelta(minutes=55)


async def test_what_cannot_succeed_is_given_up_at_once(time_skipping: WorkflowEnvironment) -> None:
    refused = answered(404, transient=False)
    outcome, took = await delivered(time_skipping, Outside(always(refused)))
    assert (outcome.delivered, outcome.attempts, outcome.detail) == (False, 1, "channel 'ops': answered 404")
    assert took < timedelta(minutes=1)


async def test_an_unexpected_error_is_an_outcome_that_tells_nothing(time_skipping: WorkflowEnvironment) -> None:
    outcome, _ = await delivered(time_skipping, Outside(always(lambda: ZeroDivisionError("content"))))
    assert (outcome.delivered, outcome.attempts, outcome.detail) == (False, 0, "no attempt told how it ended")


async def test_a_log_that_is_away_is_waited_for_and_nobody_is_told_twice(time_skipping: WorkflowEnvironment) -> None:
    outside = Outside(log=until(400, lambda: OSError("the database is away")))
    outcome, took = await delivered(time_skipping, outside)
    assert (outcome.delivered, len(outside.told), outside.asked_to_record) == (True, 1, 401)
    assert took > timedelta(hours=1)


async def test_the_temporal_ui_says_who_is_told_what(time_skipping: WorkflowEnvironment) -> None:
    async with started(time_skipping.client, Outside(), delivery()) as handle:
        await handle.result()
        history = await handle.fetch_history()
    summaries = [
        event.user_metadata.summary.data.decode("utf-8")
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert summaries == ['"tell ops: request.completed"', '"record that it was told"']


async def test_it_runs_with_nothing_passed_through_the_sandbox(time_skipping: WorkflowEnvironment) -> None:
    away = answered(503, transient=True)
    outside = Outside(until(2, away))
    client = with_plugin(time_skipping.client, strict_runner())
    with ThreadPoolExecutor(max_workers=1) as one_at_a_time:
        options = {"workflow_task_executor": one_at_a_time, "max_concurrent_workflow_tasks": 2}
        async with started(client, outside, delivery(), **options) as handle:
            assert (await handle.result()).attempts == 3
