"""The database schema, step by step, with alembic."""
