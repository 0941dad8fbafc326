"""What became of notices, in SQL: one row for each delivery, written once."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.database import Database, insert_new
from adapters.tables import DeliveryRow, table
from domain.notice import Delivery, DeliveryOutcome

_deliveries = table(DeliveryRow)


class SqlDeliveryLog:
    """Implements ``domain.notice.DeliveryLog``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        """Record the outcome. **Correctness:** the first one recorded under a ``delivery_id`` stays."""
        row = {
            "delivery_id": delivery.delivery_id,
            "request_id": delivery.notice.request_id,
            "channel": delivery.channel,
            "event": delivery.notice.event.value,
            "delivered": outcome.delivered,
            "attempts": outcome.attempts,
            "detail": outcome.detail,
            "at": datetime.now(UTC),
        }
        await self._database.write(lambda connection: insert_new(connection, _deliveries, [row], "delivery_id"))
