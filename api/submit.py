"""The path that native requests and chat completions share: look up, pin, start, wait, answer.

A start that is accepted at once costs one database read and one call of Temporal; the answer of a request that ends
while the caller waits is made from the Workflow's own result.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog
from starlette.requests import Request
from temporalio.service import RPCError, RPCStatusCode

from adapters.ledger_reader import RequestView
from adapters.temporal_requests import IdempotencyConflictError, WorkflowEndedError
from api.errors import ApiError, bad_request, checked_id, is_outage, not_found, temporal_unavailable
from api.services import Services
from api.views import PolicyRef, RequestAnswer, answer_from_result, answer_from_row, answer_running, links_to
from domain.identity import Principal
from domain.policy import PolicySnapshot
from domain.request import CascadeInput, Outcome, RequestBody, RequestResult, Status, request_id

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
BodyT = TypeVar("BodyT", bound=RequestBody)


def idempotency_key(request: Request) -> str | None:
    """The ``Idempotency-Key`` header, or None. Raises ``ApiError`` 400 for one that cannot be used."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        message = "Idempotency-Key: must be 1 to 200 visible ASCII characters, without spaces; a UUID is a good one"
        raise bad_request(message, "Idempotency-Key", "invalid_header")
    return key


def plain_body(body: RequestBody) -> RequestBody:
    """``body`` without what a subclass adds, so that its hash does not depend on how long somebody waits."""
    fields = {name: getattr(body, name) for name in RequestBody.model_fields}
    return RequestBody.model_construct(**fields)


@dataclass(frozen=True)
class Known:
    """What is known of an open request before it is waited for."""

    request_id: str
    tenant: str
    policy: PolicyRef | None
    created_at: datetime | None
    row: RequestView | None = None

    @classmethod
    def of(cls, row: RequestView) -> Known:
        """What the ledger knows."""
        policy = PolicyRef(name=row.policy, version=row.policy_version)
        return cls(row.request_id, row.tenant, policy, row.created_at, row)

    def answer(self) -> RequestAnswer:
        """Where it stands as far as this knows."""
        if self.row is not None:
            return answer_from_row(self.row)
        return answer_running(self.request_id, self.policy, self.created_at)

    def ended_without_result(self, status: Status, reason: str) -> RequestAnswer:
        """The answer for a Workflow that ended and left no end in the ledger."""
        outcome = Outcome.CANCELLED if status is Status.CANCELLED else Outcome.FAILED
        changed = {"status": outcome.status, "outcome": outcome, "reason": reason}
        return self.answer().model_copy(update={**changed, "links": links_to(self.request_id, outcome.status)})


async def submit(
    services: Services, principal: Principal, key: str, body: RequestBody, wait_seconds: float
) -> RequestAnswer:
    """Start the request, or find the one that this key started, and wait for its end. Raises ``ApiError``.

    **Correctness:** tenant and key decide the Workflow's id, and Temporal starts an id once. Running this again with
    the same body, at the same time or later, leads to the same request.
    """
    identifier = request_id(principal.tenant, key)
    row = await services.reader.request(identifier, principal.tenant)
    if row is not None:
        if row.body_sha256 != body.sha256():
            raise _conflict()
        return await follow(services, Known.of(row), wait_seconds)
    snapshot = pinned(services, body.policy, "policy")
    check_channel(services, body.webhook, "webhook")
    request = CascadeInput(
        request_id=identifier,
        tenant=principal.tenant,
        requester=principal.name,
        submitted_at=services.clock(),
        body=body,
        policy=snapshot,
    )
    if await _start(services, request):
        policy = PolicyRef(name=body.policy, version=snapshot.version)
        known = Known(identifier, principal.tenant, policy, request.submitted_at)
        return await follow(services, known, wait_seconds) if wait_seconds > 0 else known.answer()
    earlier = await find(services, identifier, principal.tenant)
    return await follow(services, earlier, wait_seconds)


def pinned(services: Services, policy: str, param: str) -> PolicySnapshot:
    """The current version of ``policy``. Raises ``ApiError`` 400 that names those there are."""
    snapshot = services.policies.snapshot(policy)
    if snapshot is None:
        names = ", ".join(services.policies.names()) or "none"
        raise bad_request(f"{param}: there is no policy {policy!r}; policies are {names}", param, "unknown_policy")
    return snapshot


def check_channel(services: Services, webhook: str | None, param: str) -> None:
    """Raises ``ApiError`` 400 for a webhook that the catalog does not have. Which it has is not for requesters."""
    if webhook is not None and webhook not in services.webhooks:
        raise bad_request(f"{param}: there is no webhook {webhook!r}; ask an operator for its name", param)


async def _start(services: Services, request: CascadeInput) -> bool:
    try:
        async with asyncio.timeout(services.limits.start_seconds):
            return await services.requests.start(request)
    except IdempotencyConflictError:
        raise _conflict() from None
    except Exception as error:
        if is_outage(error):
            structlog.get_logger("api").warning("start_failed", error=type(error).__name__)
            raise temporal_unavailable() from None
        raise


def _conflict() -> ApiError:
    message = "this Idempotency-Key was used before with another body; use a new key for a new request"
    return ApiError(409, "idempotency_conflict", message, param="Idempotency-Key")


async def find(services: Services, identifier: str, tenant: str) -> Known:
    """The request from the ledger, or from Temporal where the ledger does not know it yet. Raises ``ApiError`` 404."""
    row = await services.reader.request(checked_id("request", identifier), tenant)
    if row is not None:
        return Known.of(row)
    try:
        memo = await services.requests.memo(identifier)
    except Exception as error:
        if is_outage(error):
            raise temporal_unavailable() from None
        raise
    if memo is None or memo.tenant != tenant:
        raise not_found("request", identifier)
    return Known(identifier, tenant, None, None)


async def follow(services: Services, known: Known, wait_seconds: float) -> RequestAnswer:
    """Where the request stands once it has ended, or after ``wait_seconds``. An outage of Temporal only costs news."""
    if known.row is not None and known.row.status.ended:
        return known.answer()
    seconds = max(wait_seconds, services.limits.glance_seconds)
    result: RequestResult | None = None
    try:
        result = await services.requests.wait(known.request_id, seconds)
    except WorkflowEndedError as ended:
        return await _ledger_or(services, known, ended.status, ended.reason)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            reason = "its Workflow is no longer known to Temporal; start the request again with another key"
            return await _ledger_or(services, known, Status.FAILED, reason)
        _log_outage(error)
    except (RuntimeError, TimeoutError, ConnectionError) as error:
        _log_outage(error)
    if result is not None and known.created_at is not None:
        return answer_from_result(result, known.created_at)
    row = await services.reader.request(known.request_id, known.tenant)
    if row is not None:
        return answer_from_row(row)
    return known.answer() if result is None else answer_from_result(result, None)


def _log_outage(error: Exception) -> None:
    if not is_outage(error):
        raise error
    structlog.get_logger("api").warning("wait_failed", error=type(error).__name__)


async def _ledger_or(services: Services, known: Known, status: Status, reason: str) -> RequestAnswer:
    """What the ledger says of the end if it says anything; it was committed before the Workflow ended."""
    row = await services.reader.request(known.request_id, known.tenant)
    if row is not None and row.status.ended:
        return answer_from_row(row)
    latest = Known.of(row) if row is not None else known
    return latest.ended_without_result(status, reason)
