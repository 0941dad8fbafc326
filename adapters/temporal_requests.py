"""Starts, follows and signals the Workflows of requests.

This is also the way in for a service that already speaks Temporal: ``start_request`` validates, pins the policy
version and makes the start idempotent exactly as the HTTP API does, because the API calls it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import CancelledError, TerminatedError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.history_events import ProgressEvent, progress_events
from adapters.history_runs import runs_of
from domain.attributes import MEMO_BODY_SHA256, MEMO_TENANT, POLICY, POLICY_VERSION, TENANT
from domain.errors import SluiceError
from domain.override import OVERRIDE_SIGNAL, OverrideEnvelope
from domain.payload import Payload
from domain.progress import Progress
from domain.request import WORKFLOW_TYPE, CascadeInput, RequestResult, Status
from domain.review import DecisionEnvelope

_START_TIMEOUT = timedelta(seconds=10)
_QUERY_TIMEOUT = timedelta(seconds=2)
_DECISION_SIGNAL = "decide"


class IdempotencyConflictError(SluiceError):
    """The idempotency key was used before, with another body."""


class WorkflowEndedError(SluiceError):
    """The Workflow ended without a result: it failed, was cancelled, or was terminated by an operator."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class NoSuchRunError(SluiceError):
    """A Workflow has fewer runs than the one that was asked for; ``runs`` is how many."""

    def __init__(self, runs: int) -> None:
        super().__init__(f"the Workflow has {runs} runs")
        self.runs = runs


class StartMemo(Payload):
    """What a Workflow was started with, as far as it may be known without decoding its input."""

    tenant: str
    body_sha256: str


async def start_request(client: Client, task_queue: str, request: CascadeInput) -> bool:
    """Start the Workflow of ``request``; True if this call did, False if it had been started with the same body.

    Raises ``IdempotencyConflictError`` for another body under the same key, ``RPCError`` when Temporal is unavailable.

    **Correctness:** the Workflow id is derived from tenant and idempotency key, and Temporal refuses an id it knows.
    However often and wherever this runs, one Workflow exists. The start is durable once this returns.
    """
    sha256 = request.body.sha256()
    policy = request.policy
    try:
        await client.start_workflow(
            WORKFLOW_TYPE,
            request,
            id=request.request_id,
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            memo={MEMO_TENANT: request.tenant, MEMO_BODY_SHA256: sha256},
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(SearchAttributeKey.for_keyword(name), value)
                    for name, value in (
                        (TENANT, request.tenant),
                        (POLICY, policy.policy.name),
                        (POLICY_VERSION, policy.version),
                    )
                ]
            ),
            static_summary=f"{policy.policy.name} for {request.tenant}",
            rpc_timeout=_START_TIMEOUT,
        )
    except WorkflowAlreadyStartedError:
        memo = await _memo(client.get_workflow_handle(request.request_id))
        if memo is None or memo.tenant != request.tenant or memo.body_sha256 != sha256:
            raise IdempotencyConflictError(
                "this Idempotency-Key was used before with another body; use a new key for a new request"
            ) from None
        return False
    return True


class TemporalRequests:
    """The Workflows of requests, as the API sees them."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def start(self, request: CascadeInput) -> bool:
        """See ``start_request``."""
        return await start_request(self._client, self._task_queue, request)

    async def wait(self, request_id: str, seconds: float) -> RequestResult | None:
        """The result once the Workflow ended, or None if it has not after ``seconds``.

        Raises ``WorkflowEndedError`` if it ended without a result.
        """
        handle = self._client.get_workflow_handle(request_id, result_type=RequestResult)
        try:
            async with asyncio.timeout(seconds):
                result: RequestResult = await handle.result()
        except TimeoutError:
            return None
        except WorkflowFailureError as error:
            raise _ended(error) from error
        return result

    async def cancel(self, request_id: str, reason: str) -> bool:
        """Ask the Workflow to stop; False if it has ended already."""
        return await _unless_ended(self._client.get_workflow_handle(request_id).cancel(reason=reason))

    async def signal(self, envelope: DecisionEnvelope | OverrideEnvelope) -> bool:
        """Deliver a reviewer's decision or an operator's order; False if the Workflow has ended.

        Durable once this returns True.
        """
        name = OVERRIDE_SIGNAL if isinstance(envelope, OverrideEnvelope) else _DECISION_SIGNAL
        handle = self._client.get_workflow_handle(envelope.request_id)
        return await _unless_ended(handle.signal(name, envelope, rpc_timeout=_START_TIMEOUT))

    async def progress(self, request_id: str) -> Progress | None:
        """Where the Workflow stands; None when no worker tells in time."""
        handle = self._client.get_workflow_handle(request_id)
        try:
            progress: Progress = await handle.query("status", result_type=Progress, rpc_timeout=_QUERY_TIMEOUT)
        except RPCError:
            return None
        return progress

    def events(self, request_id: str) -> AsyncIterator[ProgressEvent]:
        """What happened and happens, from the Workflow's history, until it has ended."""
        return progress_events(self._client, request_id)

    async def history(self, request_id: str, run: int | None = None) -> tuple[dict[str, Any], int]:
        """The event history of a run as Temporal writes it, to be replayed from, and how many runs there are.

        ``run`` counts from 1; None means the newest. Raises ``NoSuchRunError``.
        """
        runs = await runs_of(self._client, request_id)
        number = len(runs) if run is None else run
        if not 1 <= number <= len(runs):
            raise NoSuchRunError(len(runs))
        handle = self._client.get_workflow_handle(request_id, run_id=runs[number - 1])
        return dict((await handle.fetch_history()).to_json_dict()), len(runs)

    async def memo(self, request_id: str) -> StartMemo | None:
        """What the Workflow was started with; None if there is no such Workflow."""
        return await _memo(self._client.get_workflow_handle(request_id))

    async def reachable(self) -> bool:
        """Whether the Temporal service answers."""
        return await self._client.service_client.check_health(timeout=_QUERY_TIMEOUT)


async def _memo(handle: WorkflowHandle[Any, Any]) -> StartMemo | None:
    try:
        memo = await (await handle.describe()).memo()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return StartMemo(tenant=str(memo.get(MEMO_TENANT, "")), body_sha256=str(memo.get(MEMO_BODY_SHA256, "")))


async def _unless_ended(call: Any) -> bool:
    try:
        await call
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


def _ended(error: WorkflowFailureError) -> WorkflowEndedError:
    cause = error.cause
    if isinstance(cause, CancelledError):
        return WorkflowEndedError(Status.CANCELLED, "cancelled")
    if isinstance(cause, TerminatedError):
        return WorkflowEndedError(Status.FAILED, "terminated by an operator")
    inner = getattr(cause, "cause", None) or cause
    return WorkflowEndedError(Status.FAILED, f"the Workflow failed: {inner}")
