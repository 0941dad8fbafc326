"""The tables. ``migrations/`` creates them; a test asserts that both agree.

Append-only, guarded by triggers: ``decision_records``, ``releases``, ``attempts``, ``review_versions`` and
``review_events``. Content that may have to be erased lies apart from them, in ``request_bodies`` and
``attempt_answers``, or in the projections ``requests``, ``reviews``. The exception is ``review_versions``: nobody may
change afterwards what a person was asked to judge.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import Index, MetaData, Table, Text, text
from sqlmodel import Field, SQLModel

from adapters.columns import AnyText, ExactDecimal, UtcDateTime


class Row(SQLModel):
    """What all tables share: names of keys and indexes that are the same on every database."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


def _where(condition: str) -> dict[str, Any]:
    """The arguments that make an index hold only the rows that meet ``condition``."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


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
        Index(None, "tenant", "state", "policy", "expires_at", "request_id"),
        Index(None, "tenant", "state", "risk", "expires_at", "request_id"),
        Index(None, "tenant", "expires_at", "request_id"),
        Index(None, "tenant", "claimed_by", "expires_at", "request_id", **_where("claimed_by IS NOT NULL")),
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
    offer: str = Field(sa_type=Text)
    """What reviewers may do, as JSON of ``ReviewOffer``; ``{}`` for reviews from before it was told."""
    senior_only: bool = False
    barred: str = Field(sa_type=Text)
    """Names that may not decide, as a JSON list."""
    edited: bool = False
    approvals: int = 0
    approvals_needed: int = 1
    claimed_by: str | None
    claimed_until: datetime | None = Field(sa_type=UtcDateTime)
    """When the claim ends by itself; whoever reads has to compare, for nothing runs at that moment."""
    subject_folded: str | None
    """The subject for searches without regard to case, which databases know for some alphabets only."""


class ReviewVersionRow(Row, table=True):
    """The text that a version of a review showed. Append-only."""

    __tablename__ = "review_versions"
    request_id: str = Field(primary_key=True, foreign_key="requests.request_id")
    review_version: int = Field(primary_key=True)
    text: str = Field(sa_type=AnyText)
    result_sha256: str
    stage_index: int | None
    edited: bool
    opened_at: datetime = Field(sa_type=UtcDateTime)


class ReviewEventRow(Row, table=True):
    """A human step beside the protocol: a page opened, a review claimed, released or reassigned. Append-only."""

    __tablename__ = "review_events"
    __table_args__ = (Index(None, "request_id"),)
    id: str = Field(primary_key=True)
    request_id: str = Field(foreign_key="requests.request_id")
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str
    kind: str
    data: str = Field(sa_type=Text)
    """More about it, as a JSON object."""


class ViewerRow(Row, table=True):
    """Who has the page of a review open, and when that page last told so."""

    __tablename__ = "viewers"
    request_id: str = Field(primary_key=True, foreign_key="requests.request_id")
    name: str = Field(primary_key=True)
    seen_at: datetime = Field(sa_type=UtcDateTime)


class DecisionRow(Row, table=True):
    """A person's order as the API accepted it: the outbox of its Signal, and what became of it."""

    __tablename__ = "decisions"
    __table_args__ = (
        Index(None, "submitted_at", **_where("status = 'pending'")),
        Index(None, "tenant", "settled_at"),
    )
    request_id: str = Field(primary_key=True, foreign_key="requests.request_id")
    decision_id: str = Field(primary_key=True)
    tenant: str
    reviewer: str
    """Who gave it, a reviewer or an operator."""
    envelope: str = Field(sa_type=Text)
    envelope_sha256: str
    """Hash of everything in the envelope, its signature included; see ``envelope_digest``."""
    status: str
    because: str = Field(sa_type=AnyText)
    submitted_at: datetime = Field(sa_type=UtcDateTime)
    sent_at: datetime | None = Field(sa_type=UtcDateTime)
    settled_at: datetime | None = Field(sa_type=UtcDateTime)
    kind: str
    """``decision`` or ``override``."""
    on_behalf_of: str | None


class ApiKeyRow(Row, table=True):
    """An API key: who holds it and a keyed hash of its secret, never the secret."""

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "tenant", "name"),)
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


class IdentityRow(Row, table=True):
    """A person as an identity provider named them when they last signed in."""

    __tablename__ = "identities"
    tenant: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    roles: str = Field(sa_type=Text)
    """Roles as a JSON list."""
    source: str
    seen_at: datetime = Field(sa_type=UtcDateTime)


class SessionRow(Row, table=True):
    """A person signed in to the console: a keyed hash of their cookie, never the cookie."""

    __tablename__ = "sessions"
    token_sha256: str = Field(primary_key=True)
    tenant: str
    name: str
    roles: str = Field(sa_type=Text)
    """Roles as a JSON list."""
    source: str
    """``key:<prefix>`` or ``oidc:<issuer>``."""
    csrf: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(sa_type=UtcDateTime)


class QueueMemberRow(Row, table=True):
    """A person who decides over a queue. A queue without any is open to every reviewer of its tenant."""

    __tablename__ = "queue_members"
    tenant: str = Field(primary_key=True)
    queue: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    added_by: str
    added_at: datetime = Field(sa_type=UtcDateTime)


class DelegationRow(Row, table=True):
    """A reviewer lets another decide in their place for a time."""

    __tablename__ = "delegations"
    __table_args__ = (Index(None, "tenant", "delegate"),)
    id: str = Field(primary_key=True)
    tenant: str
    delegator: str
    delegate: str
    queue: str | None
    """None: every queue that is the delegator's."""
    starts_at: datetime = Field(sa_type=UtcDateTime)
    ends_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(sa_type=UtcDateTime)


class DeliveryRow(Row, table=True):
    """What became of a notice to one channel. Without content."""

    __tablename__ = "deliveries"
    __table_args__ = (Index(None, "request_id"),)
    delivery_id: str = Field(primary_key=True)
    request_id: str
    channel: str
    event: str
    delivered: bool
    attempts: int
    detail: str = Field(sa_type=AnyText)
    at: datetime = Field(sa_type=UtcDateTime)


metadata: MetaData = Row.metadata
APPEND_ONLY = ("decision_records", "releases", "attempts", "review_versions", "review_events")


def table(row: type[Row]) -> Table:
    """The table behind ``row``."""
    return metadata.tables[cast("str", row.__tablename__)]
