"""The runs of one Workflow: a request that is held for long continues as new, and each run has a history of its own."""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode


async def runs_of(client: Client, workflow_id: str) -> tuple[str, ...]:
    """The run ids of a Workflow, first one first. Raises ``RPCError`` (NOT_FOUND) where Temporal knows none.

    Runs whose history Temporal keeps no longer are left out, so that the first one here may not be the first there was.
    """
    newest = (await client.get_workflow_handle(workflow_id).describe()).run_id
    found = [newest]
    while True:
        try:
            first = await _first_event(client, workflow_id, found[0])
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or found[0] == newest:
                raise
            return tuple(found[1:])
        earlier = first.workflow_execution_started_event_attributes.continued_execution_run_id
        if not earlier:
            return tuple(found)
        found.insert(0, earlier)


async def _first_event(client: Client, workflow_id: str, run_id: str) -> HistoryEvent:
    return await anext(client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events(page_size=1))
