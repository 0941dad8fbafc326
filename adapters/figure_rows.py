"""What figures are counted from: what waits, and the decisions, ends and orders of a period, in few columns each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import JSON, ColumnElement, Connection, case, cast, func, select, type_coerce

from adapters.claims import ReviewEventKind
from adapters.decision_rows import OrderKind
from adapters.tables import DecisionRow, RequestRow, ReviewEventRow, ReviewRow, ReviewVersionRow, table
from domain.review import DecisionStatus, ReviewState, ReviewVerdict

_requests = table(RequestRow)
_reviews = table(ReviewRow)
_versions = table(ReviewVersionRow)
_events = table(ReviewEventRow)
_decisions = table(DecisionRow)

BANDS = (
    ("under 1 h", timedelta(0)),
    ("1 to 4 h", timedelta(hours=1)),
    ("4 to 24 h", timedelta(hours=4)),
    ("1 to 3 d", timedelta(days=1)),
    ("over 3 d", timedelta(days=3)),
)

Pending: TypeAlias = Sequence[tuple[str, int, int, int]]
"""Queue, band, number of reviews and number of overdue ones."""


@dataclass(frozen=True)
class Decided:
    """A decision that took effect or counted.

    ``edited_before``: a reviewer had written the text it is about. ``waited`` is the time since that text was opened
    for review, ``took`` the time since the person saw it; None where nothing is known of it.
    """

    request_id: str
    policy: str
    reviewer: str
    verdict: ReviewVerdict
    review_version: int
    applied: bool
    edited_before: bool
    decided_at: datetime
    waited: timedelta | None
    took: timedelta | None


def read_pending(connection: Connection, tenant: str, now: datetime) -> Pending:
    """What waits now, by queue and by how long it has."""
    bands = [(_reviews.c.opened_at > now - BANDS[at + 1][1], at) for at in range(len(BANDS) - 1)]
    waiting = (
        select(
            _reviews.c.queue,
            case(*bands, else_=len(BANDS) - 1).label("band"),
            case((_reviews.c.expires_at <= now, 1), else_=0).label("overdue"),
        )
        .where(_reviews.c.tenant == tenant, _reviews.c.state == ReviewState.PENDING.value)
        .subquery()
    )
    counted = select(waiting.c.queue, waiting.c.band, func.count(), func.sum(waiting.c.overdue))
    rows = connection.execute(counted.group_by(waiting.c.queue, waiting.c.band)).all()
    return [(queue, band, count, overdue) for queue, band, count, overdue in rows]


def _in_envelope(connection: Connection, field: str) -> Any:
    """A field of the stored envelope, which is JSON in a column of text."""
    stored = _decisions.c.envelope
    sqlite = connection.dialect.name == "sqlite"
    return (type_coerce(stored, JSON) if sqlite else cast(stored, JSON))[field]


def _effective(tenant: str, since: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        _decisions.c.tenant == tenant,
        _decisions.c.settled_at >= since,
        _decisions.c.kind == OrderKind.DECISION.value,
        _decisions.c.status.in_((DecisionStatus.APPLIED.value, DecisionStatus.COUNTED.value)),
    )


def read_decided(connection: Connection, tenant: str, since: datetime) -> list[Decided]:
    """Every decision that took effect or counted since then."""
    version = _in_envelope(connection, "review_version").as_integer()
    statement = (
        select(
            _decisions.c.request_id,
            _decisions.c.reviewer,
            _decisions.c.status,
            _decisions.c.submitted_at,
            _in_envelope(connection, "verdict").as_string().label("verdict"),
            version.label("review_version"),
            _requests.c.policy,
            _versions.c.opened_at,
            _versions.c.edited,
        )
        .join(_requests, _requests.c.request_id == _decisions.c.request_id)
        .outerjoin(
            _versions,
            (_versions.c.request_id == _decisions.c.request_id) & (_versions.c.review_version == version),
        )
        .where(*_effective(tenant, since))
    )
    opened = _first_looks(connection, tenant, since)
    decided = []
    for row in connection.execute(statement):
        looked = opened.get((row.request_id, row.reviewer, row.review_version))
        decided.append(
            Decided(
                request_id=row.request_id,
                policy=row.policy,
                reviewer=row.reviewer,
                verdict=ReviewVerdict(row.verdict),
                review_version=row.review_version,
                applied=row.status == DecisionStatus.APPLIED.value,
                edited_before=bool(row.edited),
                decided_at=row.submitted_at,
                waited=_between(row.opened_at, row.submitted_at),
                took=_between(_seen(looked, row.opened_at, row.submitted_at), row.submitted_at),
            )
        )
    return decided


def _first_looks(connection: Connection, tenant: str, since: datetime) -> dict[tuple[str, str, int], datetime]:
    """When each person who decided first opened the page of each version."""
    statement = (
        select(_events.c.request_id, _events.c.actor, _events.c.at, _events.c.data)
        .join(
            _decisions,
            (_decisions.c.request_id == _events.c.request_id) & (_decisions.c.reviewer == _events.c.actor),
        )
        .where(_events.c.kind == ReviewEventKind.OPENED_PAGE.value, *_effective(tenant, since))
    )
    first: dict[tuple[str, str, int], datetime] = {}
    for row in connection.execute(statement):
        key = (row.request_id, row.actor, json.loads(row.data)["review_version"])
        first[key] = min(row.at, first.get(key, row.at))
    return first


def _seen(looked: datetime | None, opened_at: datetime | None, decided_at: datetime) -> datetime | None:
    """When the text came before the person who decided; a look after the decision is none."""
    if looked is None or looked > decided_at:
        return opened_at
    return looked if opened_at is None else max(looked, opened_at)


def _between(start: datetime | None, end: datetime) -> timedelta | None:
    return None if start is None else max(end - start, timedelta(0))


def count_overridden(connection: Connection, tenant: str, since: datetime) -> dict[str, int]:
    """Operators' orders that took effect since then, by policy."""
    statement = (
        select(_requests.c.policy, func.count().label("number"))
        .select_from(_decisions)
        .join(_requests, _requests.c.request_id == _decisions.c.request_id)
        .where(
            _decisions.c.tenant == tenant,
            _decisions.c.settled_at >= since,
            _decisions.c.kind == OrderKind.OVERRIDE.value,
            _decisions.c.status == DecisionStatus.APPLIED.value,
        )
        .group_by(_requests.c.policy)
    )
    return {row.policy: row.number for row in connection.execute(statement)}


def count_expired(connection: Connection, tenant: str, since: datetime) -> dict[str, int]:
    """Reviews that nobody decided in time since then, by policy."""
    statement = (
        select(_reviews.c.policy, func.count().label("number"))
        .where(
            _reviews.c.tenant == tenant,
            _reviews.c.state == ReviewState.EXPIRED.value,
            _reviews.c.closed_at >= since,
        )
        .group_by(_reviews.c.policy)
    )
    return {row.policy: row.number for row in connection.execute(statement)}
