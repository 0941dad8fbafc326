"""The tables. ``migrations/`` creates them; a test asserts that both agree.

Append-only, guarded by triggers: ``decision_records``, ``releases``, ``attempts``. Content that may have to be erased
lies apart from them, in ``request_bodies`` and ``attempt_answers``, or in the projections ``requests``, ``reviews``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import DateTime, Dialect, Index, MetaData, Numeric, Table, Text, TypeDecorator, text
from sqlalchemy.types import TypeEngine
from sqlmodel import Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. Only times with a zone go in, and they come back in UTC, also where the database keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """``value`` in UTC; without its zone for SQLite, whose texts then sort as the moments do."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone names no moment; give it one")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The stored moment, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ExactDecimal(TypeDecorator[Decimal]):
    """An exact amount: NUMERIC without limits on PostgreSQL, its digits as text on SQLite, which would round it."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column's type on ``dialect``."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """``value``, or its digits. Raises ``ValueError`` for what is no number."""
        if value is None:
            return None
        if not value.is_finite():
            raise ValueError("an amount must be finite")
        return f"{value:f}" if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """The stored amount."""
        return None if value is None else Decimal(value)


class AnyText(TypeDecorator[str]):
    """Text as models and foreign services write it, kept as a JSON string: PostgreSQL refuses NUL in plain text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The JSON string for ``value``."""
        return None if value is None else json.dumps(value, ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """The stored text, character for character."""
        return None if value is None else cast("str", json.loads(value))


class Row(SQLModel):
    """What all tables share: names of keys and indexes that are the same on every database."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


class RequestRow(Row, table=True):
    """Where a request stands; a projection of what the ledger committed."""

    __tablename__ = "requests"
    request_id: str = Field(primary_key=True)
    tenant: str
    requester: str
    subject: str | None
    policy: str
    policy_version: str
    run_id: str
    """The Workflow run that admitted the request."""
    body_sha256: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    status: str
    outcome: str | None
    risk: str | None
    output: str | None = Field(sa_type=AnyText)
    result_sha256: str | None
    reason: str | None = Field(sa_type=AnyText)
    model: str | None
    model_version_served: str | None = Field(sa_type=AnyText)
    stages_attempted: int = 0
    cost_usd: Decimal = Field(sa_type=ExactDecimal)
    baseline_cost_usd: Decimal = Field(sa_type=ExactDecimal)
    tokens: int = 0
    ended_at: datetime | None = Field(sa_type=UtcDateTime)


class RequestBodyRow(Row, table=True):
    """What the service asked for, as JSON."""

    __tablename__ = "request_bodies"
    request_id: str = Field(primary_key=True, foreign_key="requests.request_id")
    body: str = Field(sa_type=Text)


class DecisionRecordRow(Row, table=True):
    """One entry of the ledger; ``record`` is the whole entry as JSON. Append-only."""

    __tablename__ = "decision_records"
    request_id: str = Field(primary_key=True, foreign_key="requests.request_id")
    sequence: int = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str
    actor: str
    record: str = Field(sa_type=Text)


class ReleaseRow(Row, table=True):
    """The one end of a request; its primary key is the guard against a second. Append-only, without content."""

    __tablename__ = "releases"
    request_id: str = Field(primary_key=True, foreign_key="requests.request_id")
    status: str
    outcome: str
    result_sha256: str | None
    """Hash of the released bytes."""
    ending_sha256: str
    """Hash of the whole result as JSON; tells a repeated ending from a contradicting one."""
    released_at: datetime = Field(sa_type=UtcDateTime)


class AttemptRow(Row, table=True):
    """An attempt at a model call was started, finished or failed; ``attempt`` as JSON. Append-only, without content."""

    __tablename__ = "attempts"
    __table_args__ = (Index(None, "request_id"),)
    call_key: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    state: str = Field(primary_key=True)
    request_id: str
    attempt: str = Field(sa_type=Text)
    recorded_at: datetime = Field(sa_type=UtcDateTime)


class AttemptAnswerRow(Row, table=True):
    """What a model answered, as JSON; apart from the attempt so that it can be erased."""

    __tablename__ = "attempt_answers"
    call_key: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    answer: str = Field(sa_type=Text)


class ReviewRow(Row, table=True):
    """The review of a held request in its newest version; a projection."""

    __tablename__ = "reviews"
    __table_args__ = (
        Index(None, "tenant", "state", "expires_at", "request_id"),
        Index(None, "tenant", "state", "queue", "expires_at", "request_id"),
        Index(None, "tenant", "expires_at", "request_id"),
    )
    request_id: str = Field(primary_key=True, foreign_key="requests.request_id")
    tenant: str
    requester: str
    subject: str | None
    policy: str
    policy_version: str
    queue: str
    risk: str
    why: str = Field(sa_type=AnyText)
    rule: str = Field(sa_type=Text)
    review_version: int
    text: str = Field(sa_type=AnyText)
    result_sha256: str
    stage_index: int | None
    may_escalate: bool
    opened_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    state: str
    reminders: int = 0
    decided_by: str | None
    decided_verdict: str | None
    closed_at: datetime | None = Field(sa_type=UtcDateTime)


class DecisionRow(Row, table=True):
    """A reviewer's decision as the API accepted it: the outbox of its Signal, and what became of it."""

    __tablename__ = "decisions"
    __table_args__ = (
        Index(None, "submitted_at", sqlite_where=text("sent_at IS NULL"), postgresql_where=text("sent_at IS NULL")),
    )
    request_id: str = Field(primary_key=True, foreign_key="requests.request_id")
    decision_id: str = Field(primary_key=True)
    tenant: str
    reviewer: str
    envelope: str = Field(sa_type=Text)
    envelope_sha256: str
    """Hash of everything in the envelope, its signature included; see ``envelope_digest``."""
    status: str
    because: str = Field(sa_type=AnyText)
    submitted_at: datetime = Field(sa_type=UtcDateTime)
    sent_at: datetime | None = Field(sa_type=UtcDateTime)
    settled_at: datetime | None = Field(sa_type=UtcDateTime)


class ApiKeyRow(Row, table=True):
    """An API key: who holds it and a keyed hash of its secret, never the secret."""

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "tenant"),)
    prefix: str = Field(primary_key=True)
    tenant: str
    name: str
    roles: str
    """Roles as a JSON list."""
    mac: str
    """HMAC-SHA256 of the secret under the installation's pepper, in hexadecimal."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(sa_type=UtcDateTime)


metadata: MetaData = Row.metadata
APPEND_ONLY = ("decision_records", "releases", "attempts")


def table(row: type[Row]) -> Table:
    """The table behind ``row``."""
    return metadata.tables[cast("str", row.__tablename__)]
