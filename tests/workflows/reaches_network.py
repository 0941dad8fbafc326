"""A Workflow that reaches an HTTP client through a module beside it; a worker must refuse it."""

from __future__ import annotations

import httpx
from temporalio import workflow


@workflow.defn
class ReachesTheNetwork:
    """Never runs: what its module imports is enough."""

    @workflow.run
    async def run(self) -> str:
        return httpx.__version__
