"""The ledger: requests, records, releases, attempts, reviews, decisions, API keys; and what guards them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("decision_records", "releases", "attempts")


def upgrade() -> None:
    """Apply this step."""
    _create_requests()
    _create_ledger()
    _create_attempts()
    _create_reviews()
    _create_decisions()
    _create_api_keys()
    guard = _guard_on_sqlite if op.get_bind().dialect.name == "sqlite" else _guard_on_postgresql
    guard()


def downgrade() -> None:
    """Refused: a ledger is never taken back."""
    raise NotImplementedError("restore a backup instead")


def _text(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _name(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _time(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _amount(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Numeric().with_variant(sa.Text(), "sqlite"), nullable=False)


def _number(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _of_request(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["request_id"], ["requests.request_id"], name=f"fk_{table}_request_id")


def _create_requests() -> None:
    op.create_table(
        "requests",
        _name("request_id"),
        _name("tenant"),
        _name("requester"),
        _name("subject", nullable=True),
        _name("policy"),
        _name("policy_version"),
        _name("run_id"),
        _name("body_sha256"),
        _time("created_at"),
        _name("status"),
        _name("outcome", nullable=True),
        _name("risk", nullable=True),
        _text("output", nullable=True),
        _name("result_sha256", nullable=True),
        _text("reason", nullable=True),
        _name("model", nullable=True),
        _text("model_version_served", nullable=True),
        _number("stages_attempted"),
        _amount("cost_usd"),
        _amount("baseline_cost_usd"),
        _number("tokens"),
        _time("ended_at", nullable=True),
        _key("requests", "request_id"),
    )
    op.create_table(
        "request_bodies",
        _name("request_id"),
        _text("body"),
        _key("request_bodies", "request_id"),
        _of_request("request_bodies"),
    )


def _create_ledger() -> None:
    op.create_table(
        "decision_records",
        _name("request_id"),
        _number("sequence"),
        _time("at"),
        _name("kind"),
        _name("actor"),
        _text("record"),
        _key("decision_records", "request_id", "sequence"),
        _of_request("decision_records"),
    )
    op.create_table(
        "releases",
        _name("request_id"),
        _name("status"),
        _name("outcome"),
        _name("result_sha256", nullable=True),
        _name("ending_sha256"),
        _time("released_at"),
        _key("releases", "request_id"),
        _of_request("releases"),
    )


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        _name("call_key"),
        _number("number"),
        _name("state"),
        _name("request_id"),
        _text("attempt"),
        _time("recorded_at"),
        _key("attempts", "call_key", "number", "state"),
    )
    op.create_index("ix_attempts_request_id", "attempts", ["request_id"])
    op.create_table(
        "attempt_answers",
        _name("call_key"),
        _number("number"),
        _text("answer"),
        _key("attempt_answers", "call_key", "number"),
    )


def _create_reviews() -> None:
    op.create_table(
        "reviews",
        _name("request_id"),
        _name("tenant"),
        _name("requester"),
        _name("subject", nullable=True),
        _name("policy"),
        _name("policy_version"),
        _name("queue"),
        _name("risk"),
        _text("why"),
        _text("rule"),
        _number("review_version"),
        _text("text"),
        _name("result_sha256"),
        _number("stage_index", nullable=True),
        sa.Column("may_escalate", sa.Boolean(), nullable=False),
        _time("opened_at"),
        _time("expires_at"),
        _name("state"),
        _number("reminders"),
        _name("decided_by", nullable=True),
        _name("decided_verdict", nullable=True),
        _time("closed_at", nullable=True),
        _key("reviews", "request_id"),
        _of_request("reviews"),
    )
    for columns in (
        ["tenant", "state", "expires_at", "request_id"],
        ["tenant", "state", "queue", "expires_at", "request_id"],
        ["tenant", "expires_at", "request_id"],
    ):
        op.create_index(f"ix_reviews_{'_'.join(columns)}", "reviews", columns)


def _create_decisions() -> None:
    op.create_table(
        "decisions",
        _name("request_id"),
        _name("decision_id"),
        _name("tenant"),
        _name("reviewer"),
        _text("envelope"),
        _name("envelope_sha256"),
        _name("status"),
        _text("because"),
        _time("submitted_at"),
        _time("sent_at", nullable=True),
        _time("settled_at", nullable=True),
        _key("decisions", "request_id", "decision_id"),
        _of_request("decisions"),
    )
    unsent = sa.text("sent_at IS NULL")
    op.create_index(
        "ix_decisions_submitted_at", "decisions", ["submitted_at"], sqlite_where=unsent, postgresql_where=unsent
    )


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        _name("prefix"),
        _name("tenant"),
        _name("name"),
        _name("roles"),
        _name("mac"),
        _time("created_at"),
        _time("expires_at", nullable=True),
        _time("revoked_at", nullable=True),
        _key("api_keys", "prefix"),
    )
    op.create_index("ix_api_keys_tenant", "api_keys", ["tenant"])


def _guard_on_sqlite() -> None:
    for table in APPEND_ONLY:
        for event in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER {table}_refuse_{event} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _guard_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
