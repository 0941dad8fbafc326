"""Reviews as people work on them: versions, claims, queues, delegations, sessions, notices.

Only adds to tables, so that processes of the version before go on working until they are restarted. The defaults of
new columns stay in the database for the same reason: such a process still writes rows without them.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("review_versions", "review_events")


def upgrade() -> None:
    """Apply this step."""
    _extend_reviews()
    _create_review_versions()
    _create_review_events()
    _extend_decisions()
    _create_people()
    _create_queues()
    _create_deliveries()
    guard = _guard_on_sqlite if op.get_bind().dialect.name == "sqlite" else _guard_on_postgresql
    guard()


def downgrade() -> None:
    """Refused: a ledger is never taken back."""
    raise NotImplementedError("restore a backup instead")


def _text(name: str, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False, server_default=default)


def _name(name: str, nullable: bool = False, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), nullable=nullable, server_default=default)


def _time(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _number(name: str, nullable: bool = False, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=nullable, server_default=default)


def _flag(name: str, default: Any = None) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=default)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _of_request(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["request_id"], ["requests.request_id"], name=f"fk_{table}_request_id")


def _index(table: str, *columns: str, where: str | None = None) -> None:
    only = None if where is None else sa.text(where)
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns), sqlite_where=only, postgresql_where=only)


def _extend_reviews() -> None:
    for column in (
        _text("offer", default="{}"),
        _flag("senior_only", default=sa.false()),
        _text("barred", default="[]"),
        _flag("edited", default=sa.false()),
        _number("approvals", default="0"),
        _number("approvals_needed", default="1"),
        _name("claimed_by", nullable=True),
        _time("claimed_until", nullable=True),
        _name("subject_folded", nullable=True),
    ):
        op.add_column("reviews", column)
    _fold_subjects(op.get_bind())
    _index("reviews", "tenant", "state", "policy", "expires_at", "request_id")
    _index("reviews", "tenant", "state", "risk", "expires_at", "request_id")
    _index("reviews", "tenant", "claimed_by", "expires_at", "request_id", where="claimed_by IS NOT NULL")


def _fold_subjects(connection: sa.Connection) -> None:
    reviews = sa.table("reviews", sa.column("request_id"), sa.column("subject"), sa.column("subject_folded"))
    named = connection.execute(
        sa.select(reviews.c.request_id, reviews.c.subject).where(reviews.c.subject.is_not(None))
    ).all()
    if named:
        connection.execute(
            sa.update(reviews)
            .where(reviews.c.request_id == sa.bindparam("of_request"))
            .values(subject_folded=sa.bindparam("folded")),
            [{"of_request": row.request_id, "folded": row.subject.casefold()} for row in named],
        )


def _create_review_versions() -> None:
    op.create_table(
        "review_versions",
        _name("request_id"),
        _number("review_version"),
        _text("text"),
        _name("result_sha256"),
        _number("stage_index", nullable=True),
        _flag("edited"),
        _time("opened_at"),
        _key("review_versions", "request_id", "review_version"),
        _of_request("review_versions"),
    )
    # Of earlier versions of these reviews no text was kept.
    op.execute(
        "INSERT INTO review_versions "
        "SELECT request_id, review_version, text, result_sha256, stage_index, edited, opened_at FROM reviews"
    )


def _create_review_events() -> None:
    op.create_table(
        "review_events",
        _name("id"),
        _name("request_id"),
        _time("at"),
        _name("actor"),
        _name("kind"),
        _text("data"),
        _key("review_events", "id"),
        _of_request("review_events"),
    )
    _index("review_events", "request_id")
    op.create_table(
        "viewers",
        _name("request_id"),
        _name("name"),
        _time("seen_at"),
        _key("viewers", "request_id", "name"),
        _of_request("viewers"),
    )


def _extend_decisions() -> None:
    op.add_column("decisions", _name("kind", default="decision"))
    op.add_column("decisions", _name("on_behalf_of", nullable=True))
    # What is judged at once is never marked as sent, so an index of the unmarked ones grew with every decision.
    op.drop_index("ix_decisions_submitted_at", "decisions")
    _index("decisions", "submitted_at", where="status = 'pending'")
    _index("decisions", "tenant", "settled_at")


def _create_people() -> None:
    op.drop_index("ix_api_keys_tenant", "api_keys")
    _index("api_keys", "tenant", "name")
    op.create_table(
        "identities",
        _name("tenant"),
        _name("name"),
        _text("roles"),
        _name("source"),
        _time("seen_at"),
        _key("identities", "tenant", "name"),
    )
    op.create_table(
        "sessions",
        _name("token_sha256"),
        _name("tenant"),
        _name("name"),
        _text("roles"),
        _name("source"),
        _name("csrf"),
        _time("created_at"),
        _time("expires_at"),
        _time("ended_at", nullable=True),
        _key("sessions", "token_sha256"),
    )


def _create_queues() -> None:
    op.create_table(
        "queue_members",
        _name("tenant"),
        _name("queue"),
        _name("name"),
        _name("added_by"),
        _time("added_at"),
        _key("queue_members", "tenant", "queue", "name"),
    )
    op.create_table(
        "delegations",
        _name("id"),
        _name("tenant"),
        _name("delegator"),
        _name("delegate"),
        _name("queue", nullable=True),
        _time("starts_at"),
        _time("ends_at"),
        _name("created_by"),
        _time("created_at"),
        _time("revoked_at", nullable=True),
        _key("delegations", "id"),
    )
    _index("delegations", "tenant", "delegate")


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        _name("delivery_id"),
        _name("request_id"),
        _name("channel"),
        _name("event"),
        _flag("delivered"),
        _number("attempts"),
        _text("detail"),
        _time("at"),
        _key("deliveries", "delivery_id"),
    )
    _index("deliveries", "request_id")


def _guard_on_sqlite() -> None:
    for table in APPEND_ONLY:
        for event in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER {table}_refuse_{event} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _guard_on_postgresql() -> None:
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
