"""Work that cancellation must not tear: commits to the ledger run to their end once begun."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T], *, then_cancel: bool = True) -> T:
    """Await ``work`` even when the Workflow is cancelled meanwhile.

    The cancellation is raised afterwards, unless ``then_cancel`` is False: after the end of a request it has no object.
    """
    task = asyncio.create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            cancelled = True
    if cancelled and then_cancel:
        raise asyncio.CancelledError
    return task.result()
