"""Telling a channel what happened, and recording what became of it."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain.notice import Delivery, DeliveryLog, DeliveryReport, Notifier, NotifierError

NOTICE_UNDELIVERED = "NoticeUndelivered"
NOTICE_REFUSED = "NoticeRefused"


class NoticeActivities:
    """Tells channels. One instance a worker."""

    def __init__(self, notifier: Notifier, log: DeliveryLog) -> None:
        self._notifier = notifier
        self._log = log

    @activity.defn(name="send_notice")
    async def send_notice(self, delivery: Delivery) -> int:
        """Tell the channel. Returns the number of the attempt that did; a failure carries its own as its detail.

        **Correctness:** a worker that dies between the channel's answer and the return tells it again, under the same
        ``delivery_id``.
        """
        attempt = activity.info().attempt
        try:
            await self._notifier.send(delivery)
        except NotifierError as error:
            raise ApplicationError(
                str(error),
                attempt,
                type=NOTICE_UNDELIVERED if error.transient else NOTICE_REFUSED,
                non_retryable=not error.transient,
                next_retry_delay=error.retry_after,
                category=ApplicationErrorCategory.BENIGN,
            ) from error
        return attempt

    @activity.defn(name="record_delivery")
    async def record_delivery(self, report: DeliveryReport) -> None:
        """Record what became of a delivery. **Correctness:** again is no change."""
        await self._log.record(report.delivery, report.outcome)
