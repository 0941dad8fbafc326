"""A Workflow that does what none of ours may: a function it calls reads the clock of the machine."""

from __future__ import annotations

from temporalio import workflow

from tests.workflows.impure import hour


@workflow.defn
class ReadsTheClock:
    """Fails in a sandbox that looks into the function; elsewhere it returns and cannot be replayed."""

    @workflow.run
    async def run(self) -> int:
        return hour()
