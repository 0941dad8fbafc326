"""Sends what the outbox still holds: decisions and overrides that were stored and whose Signal never got through."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from api.orders import deliver
from api.services import Services

_EVERY_SECONDS = 2.0
_OLDER_THAN = timedelta(seconds=3)
"""Younger ones are still being sent by the call that stored them."""
_AT_ONCE = 100


async def resend(services: Services, older_than: timedelta = _OLDER_THAN) -> int:
    """Send every order that is not known to be sent; how many were.

    **Correctness:** several API processes may do this at the same time; the Workflow judges each order once.
    """
    sent = 0
    for envelope in await services.outbox.unsent(older_than, _AT_ONCE):
        if not await deliver(services, envelope):
            break  # Temporal is away for the next one as well
        sent += 1
    return sent


async def keep_resending(services: Services, every_seconds: float = _EVERY_SECONDS) -> None:
    """Resend for as long as the process lives; trouble is logged and tried again."""
    log = structlog.get_logger("api")
    while True:
        await asyncio.sleep(every_seconds)
        try:
            sent = await resend(services)
        except Exception as error:  # the loop has to outlive whatever the database or Temporal does
            log.warning("resend_failed", error=type(error).__name__)
        else:
            if sent:
                log.info("orders_resent", count=sent)
