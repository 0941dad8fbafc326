"""The first Activity of a request: enter it into the ledger and route it."""

from __future__ import annotations

from temporalio import activity

from activities.failures import ledger_conflicts_are_final
from domain.ledger import Admission
from domain.ports import Ledger
from domain.request import CascadeInput
from domain.route import RouteDecision, route


class RoutingActivities:
    """Routes requests. One instance a worker."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @activity.defn(name="route")
    async def route(self, request: CascadeInput) -> RouteDecision:
        """Admit the request to the ledger and choose its path through the cascade.

        **Correctness:** admission is an idempotent insert and routing is pure, so a second run changes nothing. A
        request id that the ledger knows from another Workflow run is a ``LedgerConflict`` and fails the Workflow: the
        idempotency key was used before, longer ago than Temporal remembers.
        """
        run_id = activity.info().workflow_run_id or ""
        with ledger_conflicts_are_final():
            await self._ledger.admit(Admission(request=request, run_id=run_id))
        return route(request)
