"""The Workflow of one notice to one channel: try for a day, then record what became of it.

It is started beside a request's Workflow and abandoned by it, so that no channel can delay or fail a request.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.workflow import ActivityConfig

from activities.notices import NOTICE_REFUSED, NOTICE_UNDELIVERED, NoticeActivities
from domain.notice import DELIVERY_WORKFLOW, Delivery, DeliveryOutcome, DeliveryReport
from workflows.options import ledger_options


def send_options(delivery: Delivery) -> ActivityConfig:
    """Options of telling: a second between the first attempts, ten minutes between later ones, for a day."""
    return ActivityConfig(
        start_to_close_timeout=timedelta(seconds=30),
        schedule_to_close_timeout=timedelta(hours=24),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=1),
            backoff_coefficient=2,
            maximum_interval=timedelta(minutes=10),
            non_retryable_error_types=[NOTICE_REFUSED],
        ),
        summary=f"tell {delivery.channel}: {delivery.notice.event}",
    )


@workflow.defn(name=DELIVERY_WORKFLOW)
class DeliveryWorkflow:
    """One notice on its way to one channel."""

    @workflow.run
    async def run(self, delivery: Delivery) -> DeliveryOutcome:
        """Tell the channel and record the outcome. A channel that could not be told is an outcome, not a failure."""
        about = f"{delivery.notice.event} of {delivery.notice.request_id}"
        workflow.set_current_details(f"telling **{delivery.channel}** about {about}")
        outcome = await _tell(delivery)
        told = "was told" if outcome.delivered else f"was not told ({outcome.detail})"
        workflow.set_current_details(f"**{delivery.channel}** {told} about {about}")
        await workflow.execute_activity_method(
            NoticeActivities.record_delivery,
            DeliveryReport(delivery=delivery, outcome=outcome),
            **ledger_options("record that it was told" if outcome.delivered else "record that it was not told"),
        )
        return outcome


async def _tell(delivery: Delivery) -> DeliveryOutcome:
    try:
        attempts = await workflow.execute_activity_method(
            NoticeActivities.send_notice, delivery, **send_options(delivery)
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        attempts, detail = _told(error)
        return DeliveryOutcome(delivery_id=delivery.delivery_id, delivered=False, attempts=attempts, detail=detail)
    return DeliveryOutcome(delivery_id=delivery.delivery_id, delivered=True, attempts=attempts, detail="")


def _told(error: ActivityError) -> tuple[int, str]:
    """The number of the last attempt that told how it ended, and what it told."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.type in (NOTICE_UNDELIVERED, NOTICE_REFUSED):
            return int(cause.details[0]), cause.message
        cause = cause.__cause__
    return 0, "no attempt told how it ended"
