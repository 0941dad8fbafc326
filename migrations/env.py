"""Run by alembic for every command. The connection, and with it the transaction, comes from the caller."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from adapters.tables import metadata

_WRITTEN_AS = {
    "AutoString": "sa.String()",
    "AnyText": "sa.Text()",
    "UtcDateTime": "sa.DateTime(timezone=True)",
    "ExactDecimal": 'sa.Numeric().with_variant(sa.Text(), "sqlite")',
}


def render_item(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Write our column types as what they are in the database, so that old steps outlive changes to the classes."""
    return _WRITTEN_AS.get(type(item).__name__, False) if kind == "type" else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_item=render_item,
    render_as_batch=True,  # SQLite changes a table only by copying it
)
with context.begin_transaction():
    context.run_migrations()
