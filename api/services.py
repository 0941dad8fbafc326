"""What the routes need of the world, as small protocols, and the bundle in which they get it.

The concrete classes are named in ``api/app.py`` only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from starlette.requests import Request

from adapters.decision_keys import EnvelopeT
from adapters.decision_outbox import SubmittedDecision
from adapters.history_events import ProgressEvent
from adapters.ledger_reader import RequestView
from adapters.temporal_requests import StartMemo
from api.review_ports import Claims, Figures, ReviewReader, Roster
from api.sign_in_ports import IdentityProvider, Sessions
from domain.identity import Principal
from domain.ledger import DecisionRecord
from domain.override import OverrideEnvelope
from domain.policy import PolicySnapshot
from domain.progress import Progress
from domain.request import CascadeInput, RequestResult
from domain.review import DecisionEnvelope
from domain.stage import Attempt


class Reader(ReviewReader, Protocol):
    """Reads the ledger; everything is bound to one tenant."""

    async def request(self, request_id: str, tenant: str) -> RequestView | None:
        """Where a request stands."""
        ...

    async def records(self, request_id: str, tenant: str) -> list[DecisionRecord]:
        """Its decision records in order."""
        ...

    async def attempts(self, request_id: str, tenant: str) -> list[Attempt]:
        """Every attempt at a model call."""
        ...


class Outbox(Protocol):
    """Keeps orders of people until they are signalled."""

    async def submit(self, envelope: DecisionEnvelope | OverrideEnvelope) -> tuple[SubmittedDecision, bool]:
        """Store an order; False if it was stored before. Raises ``DecisionConflictError``."""
        ...

    async def refuse(self, envelope: DecisionEnvelope | OverrideEnvelope, because: str) -> SubmittedDecision:
        """Store an order that is not let through, settled as unauthorised. Raises ``DecisionConflictError``."""
        ...

    async def mark_sent(self, request_id: str, decision_id: str) -> None:
        """The Signal was acknowledged."""
        ...

    async def unsent(self, older_than: timedelta, limit: int) -> list[DecisionEnvelope | OverrideEnvelope]:
        """Orders whose Signal was not acknowledged."""
        ...

    async def settle_late(self, envelope: DecisionEnvelope | OverrideEnvelope, because: str) -> None:
        """Record that an order came after the end of its request."""
        ...


class Keys(Protocol):
    """Knows API keys."""

    async def authenticate(self, secret: str) -> Principal | None:
        """Whose key it is."""
        ...


class Requests(Protocol):
    """Requests as Workflows."""

    async def start(self, request: CascadeInput) -> bool:
        """Start a request; False if it runs or ran already. Raises ``IdempotencyConflictError``."""
        ...

    async def wait(self, request_id: str, seconds: float) -> RequestResult | None:
        """Its result, or None while it is open. Raises ``WorkflowEndedError``."""
        ...

    async def cancel(self, request_id: str, reason: str) -> bool:
        """Ask it to end; False if it has ended already."""
        ...

    async def signal(self, envelope: DecisionEnvelope | OverrideEnvelope) -> bool:
        """Send a decision or an override; False if the Workflow has ended."""
        ...

    async def progress(self, request_id: str) -> Progress | None:
        """What it is doing now."""
        ...

    def events(self, request_id: str) -> AsyncIterator[ProgressEvent]:
        """Its progress from the beginning until its end."""
        ...

    async def history(self, request_id: str, run: int | None = None) -> tuple[dict[str, Any], int]:
        """The Temporal event history of a run, the newest if None; and how many runs there are.

        Raises ``NoSuchRunError``.
        """
        ...

    async def memo(self, request_id: str) -> StartMemo | None:
        """Tenant and body hash it was started with; None if there is no such Workflow."""
        ...


class Policies(Protocol):
    """The policies this process accepts requests for."""

    def snapshot(self, name: str) -> PolicySnapshot | None:
        """The current version."""
        ...

    def names(self) -> tuple[str, ...]:
        """All names."""
        ...


class Signer(Protocol):
    """Signs orders, so that the worker knows that this process has checked who gave them."""

    def sign(self, envelope: EnvelopeT) -> EnvelopeT:
        """The envelope with its signature."""
        ...


@dataclass(frozen=True)
class Probe:
    """One thing that must work before requests are taken. ``check`` raises if it does not."""

    name: str
    remedy: str
    check: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes and times in seconds."""

    max_body_bytes: int = 1024 * 1024
    chat_wait_seconds: float = 30.0
    """How long a chat completion waits for its answer unless it says otherwise."""
    decision_wait_seconds: float = 10.0
    """How long a decision waits for what becomes of it unless it says otherwise."""
    cancel_seconds: float = 5.0
    """How long a cancellation waits for the end."""
    start_seconds: float = 10.0
    """Longest time for a start or a Signal before Temporal counts as unavailable."""
    glance_seconds: float = 0.05
    """How long a plain read of an open request lets Temporal object that its Workflow has ended."""
    keep_alive_seconds: float = 15.0


@dataclass(frozen=True)
class Services:
    """Everything the routes use."""

    reader: Reader
    outbox: Outbox
    keys: Keys
    requests: Requests
    policies: Policies
    parse_policy: Callable[[str], PolicySnapshot]
    """Reads the text of a policy file. Raises ``PolicyError``."""
    decision_key: Signer
    clock: Callable[[], datetime]
    roster: Roster
    claims: Claims
    figures: Figures
    sessions: Sessions
    identity_provider: IdentityProvider | None = None
    """Signs people in to the console; None where they have keys only."""
    webhooks: frozenset[str] = frozenset()
    """Names of the webhook channels that a request may have told about its end."""
    public_url: str | None = None
    """Where people reach this API."""
    hasty: timedelta = timedelta(seconds=5)
    """An approval given sooner than this after the review was opened counts as hasty."""
    probes: tuple[Probe, ...] = ()
    limits: Limits = Limits()


def services_of(request: Request) -> Services:
    """The services of the application that serves ``request``."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services
