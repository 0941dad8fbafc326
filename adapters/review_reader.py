"""What people may read of reviews, each tenant its own: the queue page by page, and one review with all about it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, literal, or_, select, tuple_

from adapters.database import Database
from adapters.review_rows import (
    PREVIEW_STORED,
    AnswerView,
    DeliveryView,
    ReviewPage,
    ReviewQuery,
    ReviewRowView,
    ReviewVersion,
    ReviewView,
    review_view,
    row_view,
)
from adapters.tables import (
    AttemptAnswerRow,
    AttemptRow,
    DeliveryRow,
    RequestBodyRow,
    RequestRow,
    ReviewRow,
    ReviewVersionRow,
    table,
)
from domain.errors import SluiceError
from domain.review import ReviewState
from domain.stage import AttemptState, StageAnswer

_requests = table(RequestRow)
_bodies = table(RequestBodyRow)
_reviews = table(ReviewRow)
_versions = table(ReviewVersionRow)
_attempts = table(AttemptRow)
_answers = table(AttemptAnswerRow)
_deliveries = table(DeliveryRow)

_LONG = ("text", "offer", "subject_folded")
_listed = tuple(column for column in _reviews.columns if column.name not in _LONG)
# On the stored text, whatever its type is in Python: a part of it is no JSON string.
_preview = func.substr(_reviews.c.text, 1, PREVIEW_STORED)
_place = (_reviews.c.expires_at, _reviews.c.request_id)
_folded_subject = func.coalesce(_reviews.c.subject_folded, func.lower(_reviews.c.subject))


class CursorError(SluiceError):
    """A cursor that no list gave out."""


class ReviewReader:
    """Reads reviews; writes nothing. What belongs to another tenant is as if it did not exist."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reviews(self, tenant: str, query: ReviewQuery, limit: int, cursor: str | None) -> ReviewPage:
        """At most ``limit`` reviews, those that expire first at the beginning, after ``cursor``.

        A page goes on where the one before ended, whatever was opened or decided in between. Raises ``CursorError``.
        """
        statement = _of(select(*_listed, _preview.label("preview")), tenant, query)
        if cursor is not None:
            statement = statement.where(_after(*_read_cursor(cursor)))
        rows = await self._all(statement.order_by(*_place).limit(limit + 1))
        items = tuple(row_view(row, query.now) for row in rows[:limit])
        return ReviewPage(items=items, next_cursor=_cursor(items[-1]) if len(rows) > limit and items else None)

    async def next_pending(self, tenant: str, after: tuple[datetime, str] | None, query: ReviewQuery) -> str | None:
        """The first review behind the place ``after`` (expiry and id) that can still be decided; None if there is none.

        Of ``query`` counts everything but its state.
        """
        pending = query.model_copy(update={"state": ReviewState.PENDING})
        statement = _of(select(_reviews.c.request_id), tenant, pending).where(_reviews.c.expires_at > query.now)
        if after is not None:
            statement = statement.where(_after(*after))
        rows = await self._all(statement.order_by(*_place).limit(1))
        return str(rows[0].request_id) if rows else None

    async def count_pending(self, tenant: str) -> int:
        """How many reviews await a decision."""
        pending = (_reviews.c.tenant == tenant, _reviews.c.state == ReviewState.PENDING.value)
        rows = await self._all(select(func.count().label("pending")).select_from(_reviews).where(*pending))
        return int(rows[0].pending)

    async def review(self, request_id: str, tenant: str, now: datetime) -> ReviewView | None:
        """The request's review in its newest version, or None if it was never held."""
        statement = (
            select(_reviews, _bodies.c.body)
            .join(_bodies, _bodies.c.request_id == _reviews.c.request_id)
            .where(_reviews.c.request_id == request_id, _reviews.c.tenant == tenant)
        )
        rows = await self._all(statement)
        return review_view(rows[0], now) if rows else None

    async def versions(self, request_id: str, tenant: str) -> list[ReviewVersion]:
        """Every text that was put before reviewers, the first one first."""
        statement = _of_request(select(_versions), _versions.c.request_id, request_id, tenant)
        rows = await self._all(statement.order_by(_versions.c.review_version))
        return [ReviewVersion(**dict(row._mapping)) for row in rows]

    async def answers(self, request_id: str, tenant: str) -> list[AnswerView]:
        """Every answer of a model to the request, in the order they came."""
        statement = (
            _of_request(
                select(_attempts.c.call_key, _attempts.c.number, _answers.c.answer),
                _attempts.c.request_id,
                request_id,
                tenant,
            )
            .join(_answers, (_answers.c.call_key == _attempts.c.call_key) & (_answers.c.number == _attempts.c.number))
            .where(_attempts.c.state == AttemptState.FINISHED.value)
            .order_by(_attempts.c.recorded_at, _attempts.c.call_key, _attempts.c.number)
        )
        return [_answer_view(row) for row in await self._all(statement)]

    async def deliveries(self, request_id: str, tenant: str) -> list[DeliveryView]:
        """What became of every notice about the request, in the order that was known."""
        statement = _of_request(select(_deliveries), _deliveries.c.request_id, request_id, tenant)
        rows = await self._all(statement.order_by(_deliveries.c.at, _deliveries.c.delivery_id))
        return [DeliveryView(**dict(row._mapping)) for row in rows]

    async def _all(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        def work(connection: Connection) -> Sequence[Row[Any]]:
            return connection.execute(statement).all()

        return await self._database.read(work)


def _of(statement: Select[Any], tenant: str, query: ReviewQuery) -> Select[Any]:
    """``statement`` over the tenant's reviews that meet the query."""
    equal = {"state": query.state, "queue": query.queue, "policy": query.policy, "risk": query.risk}
    wanted = [_reviews.c[name] == str(value) for name, value in equal.items() if value is not None]
    if query.claimed_by is not None:
        wanted.append(_claimed(query.claimed_by, query.now))
    if query.text is not None:
        folded = query.text.casefold()
        wanted.append(
            or_(
                _folded_subject.contains(folded, autoescape=True),
                _reviews.c.request_id.contains(folded, autoescape=True),
            )
        )
    return statement.where(_reviews.c.tenant == tenant, *wanted)


def _claimed(name: str, now: datetime) -> ColumnElement[bool]:
    if name:
        return (_reviews.c.claimed_by == name) & (_reviews.c.claimed_until > now)
    return or_(_reviews.c.claimed_by.is_(None), _reviews.c.claimed_until <= now)


def _after(expires_at: datetime, request_id: str) -> ColumnElement[bool]:
    return tuple_(*_place) > tuple_(literal(expires_at, _reviews.c.expires_at.type), literal(request_id))


def _of_request(statement: Select[Any], column: ColumnElement[Any], request_id: str, tenant: str) -> Select[Any]:
    """``statement`` over what belongs to the request, if it is the tenant's."""
    return statement.join(_requests, _requests.c.request_id == column).where(
        column == request_id, _requests.c.tenant == tenant
    )


def _answer_view(row: Row[Any]) -> AnswerView:
    _, stage, visit = row.call_key.split("/")
    return AnswerView(
        stage=stage, visit=int(visit), number=row.number, answer=StageAnswer.model_validate_json(row.answer)
    )


def _cursor(last: ReviewRowView) -> str:
    place = f"{last.expires_at.isoformat()}|{last.request_id}"
    return base64.urlsafe_b64encode(place.encode("utf-8")).decode("ascii").rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        place = base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8")
        moment, _, request_id = place.partition("|")
        expires_at = datetime.fromisoformat(moment)
    except (ValueError, binascii.Error):
        expires_at, request_id = None, ""
    if expires_at is None or expires_at.tzinfo is None or not request_id or "\x00" in request_id:
        raise CursorError("'cursor' is none that a list gave out; leave it out to start at the beginning")
    return expires_at, request_id
