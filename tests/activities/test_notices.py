"""The Activities of telling: which failures are tried again, and what a repetition does."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment

from activities.notices import NOTICE_REFUSED, NOTICE_UNDELIVERED, NoticeActivities
from domain.notice import Delivery, DeliveryOutcome, DeliveryReport, Notice, NoticeEvent, NotifierError
from domain.request import Status
from domain.risk import RiskTier

DELIVERY = Delivery(
    delivery_id="req_a-1-ops",
    channel="ops",
    notice=Notice(
        event=NoticeEvent.REVIEW_REQUESTED,
        request_id="req_a",
        tenant="acme",
        policy="support-triage",
        policy_version="0123456789abcdef",
        risk=RiskTier.HIGH,
        queue="legal",
        status=Status.HELD,
        outcome=None,
        why="too risky",
        due=None,
        review_version=1,
        result_sha256=None,
        occurred_at=datetime(2026, 11, 24, tzinfo=UTC),
    ),
)
REPORT = DeliveryReport(
    delivery=DELIVERY, outcome=DeliveryOutcome(delivery_id="req_a-1-ops", delivered=True, attempts=1, detail="")
)


class Channel:
    """Takes every notice, or fails as it was told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure
        self.told: list[Delivery] = []

    async def send(self, delivery: Delivery) -> None:
        self.told.append(delivery)
        if self._failure is not None:
            raise self._failure


class Log:
    """Keeps the first outcome of each delivery, or fails as it was told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure
        self.outcomes: dict[str, DeliveryOutcome] = {}

    async def record(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        if self._failure is not None:
            raise self._failure
        self.outcomes.setdefault(delivery.delivery_id, outcome)


async def send(channel: Channel, attempt: int = 1) -> int:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=attempt)
    told: int = await environment.run(NoticeActivities(channel, Log()).send_notice, DELIVERY)
    return told


def test_the_activities_have_the_names_that_are_registered() -> None:
    for name in ("send_notice", "record_delivery"):
        definition = activity._Definition.from_callable(getattr(NoticeActivities, name))
        assert definition is not None
        assert definition.name == name


async def test_the_attempt_that_succeeded_is_returned() -> None:
    channel = Channel()
    assert [await send(channel, attempt) for attempt in (1, 7)] == [1, 7]
    assert channel.told == [DELIVERY, DELIVERY]


async def test_a_failure_that_may_pass_is_tried_again_when_the_channel_asks() -> None:
    for wait in (None, timedelta(seconds=90)):
        with pytest.raises(ApplicationError, match="ops answered 503") as caught:
            await send(Channel(NotifierError("ops answered 503", transient=True, retry_after=wait)), 3)
        error = caught.value
        assert (error.type, error.non_retryable, error.details) == (NOTICE_UNDELIVERED, False, (3,))
        assert (error.next_retry_delay, error.category) == (wait, ApplicationErrorCategory.BENIGN)


async def test_a_failure_for_good_is_not_tried_again() -> None:
    with pytest.raises(ApplicationError, match="ops answered 404") as caught:
        await send(Channel(NotifierError("ops answered 404", transient=False)))
    assert (caught.value.type, caught.value.non_retryable, caught.value.details) == (NOTICE_REFUSED, True, (1,))


async def test_an_unexpected_error_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        await send(Channel(ZeroDivisionError()))


async def test_an_outcome_is_recorded_once() -> None:
    log = Log()
    activities = NoticeActivities(Channel(), log)
    for _ in range(2):
        await ActivityEnvironment().run(activities.record_delivery, REPORT)
    assert log.outcomes == {"req_a-1-ops": REPORT.outcome}


async def test_a_log_that_cannot_be_written_is_tried_again() -> None:
    with pytest.raises(OSError, match="away"):
        await ActivityEnvironment().run(NoticeActivities(Channel(), Log(OSError("away"))).record_delivery, REPORT)


def test_deliveries_survive_the_wire() -> None:
    assert DeliveryReport.model_validate_json(REPORT.model_dump_json()) == REPORT
    assert Delivery.model_validate_json(DELIVERY.model_dump_json()) == DELIVERY
