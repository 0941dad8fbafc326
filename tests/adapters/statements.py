"""Watches which statements reach a database, and how SQLite would carry them out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, event

from adapters.database import Database


@contextmanager
def watched() -> Iterator[list[tuple[str, Any]]]:
    """Every statement that is executed meanwhile, on any database, with its (first) parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        seen.append((statement, parameters[0] if many else parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def plan_of(database: Database, work: Callable[[], Awaitable[object]]) -> list[list[str]]:
    """The steps in which SQLite finds the rows for each statement of ``work``."""
    with watched() as seen:
        await work()
    return [
        [row[3] for row in await database.read(partial(_explain, statement=statement, parameters=parameters))]
        for statement, parameters in seen
        if statement.startswith(("SELECT", "WITH", "UPDATE"))
    ]


def _explain(connection: Connection, statement: str, parameters: Any) -> Sequence[Any]:
    return connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
