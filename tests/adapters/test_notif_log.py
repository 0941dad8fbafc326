"""What became of notices is written once, on both databases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from adapters.database import Database
from adapters.delivery_log import SqlDeliveryLog
from adapters.tables import DeliveryRow, table
from domain.notice import Delivery, DeliveryOutcome
from tests.adapters.notice_examples import delivery

DETAIL = "channel 'ops': answered 503"


def outcome(sent: Delivery, **changes: Any) -> DeliveryOutcome:
    fields = {"delivery_id": sent.delivery_id, "delivered": False, "attempts": 152, "detail": DETAIL}
    return DeliveryOutcome.model_validate(fields | changes)


async def rows(database: Database) -> list[dict[str, Any]]:
    statement = select(table(DeliveryRow)).order_by("delivery_id")
    found = await database.read(lambda connection: connection.execute(statement).mappings().all())
    return [dict(row) for row in found]


async def test_an_outcome_is_kept_as_it_was(database: Database) -> None:
    sent = delivery()
    await SqlDeliveryLog(database).record(sent, outcome(sent))
    (row,) = await rows(database)
    at = row.pop("at")
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert row == {
        "delivery_id": "req_a-1-ops",
        "request_id": "req_a",
        "channel": "ops",
        "event": "review.requested",
        "delivered": False,
        "attempts": 152,
        "detail": DETAIL,
    }


async def test_the_first_outcome_of_a_delivery_stays(database: Database) -> None:
    log, sent, other = SqlDeliveryLog(database), delivery(), delivery(delivery_id="req_a-2-ops")
    await log.record(sent, outcome(sent))
    before = await rows(database)
    late = outcome(sent, delivered=True, attempts=1, detail="")
    await asyncio.gather(*(log.record(sent, late) for _ in range(10)), log.record(other, late))
    after = await rows(database)
    assert after[:1] == before
    assert [(row["delivery_id"], row["delivered"]) for row in after] == [("req_a-1-ops", False), ("req_a-2-ops", True)]
