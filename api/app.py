"""The composition root of the HTTP process: the routes, and the concrete classes behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.api_keys import ApiKeys
from adapters.claims import Claims
from adapters.database import Database
from adapters.decision_outbox import DecisionOutbox
from adapters.ledger_reader import LedgerReader
from adapters.oidc import identity_provider
from adapters.policy_files import load_catalog, load_policies, parse_policy
from adapters.review_figures import ReviewFigures
from adapters.roster import Roster
from adapters.sessions import Sessions
from adapters.settings import Settings
from adapters.temporal_connect import connect
from adapters.temporal_requests import TemporalRequests
from api import chat, claims, health, overrides, policies, queues, requests, reviews, timeline
from api.console import routes as console
from api.console import sign_in
from api.errors import UnexpectedErrors, install_error_answers
from api.openapi import install_openapi
from api.outbox import keep_resending
from api.services import Limits, Probe, Services
from domain.override import OverrideOrder
from domain.review import ReviewDecision

_DESCRIPTION = """Governed, durable use of AI models: a request is answered by the cheapest model that is good enough,
and nothing risky leaves before a person has approved it.

Services start requests, reviewers decide over held answers, auditors read the record, operators override. Every call
needs a key:
`Authorization: Bearer sk-sluice-...`."""
_BODIES = (
    requests.SubmitBody,
    requests.CancelBody,
    OverrideOrder,
    ReviewDecision,
    claims.ClaimBody,
    claims.ReassignBody,
    queues.DelegationBody,
    chat.ChatBody,
    policies.ValidateBody,
    policies.ExplainBody,
)

__all__ = ["Services", "build_services", "create_app"]


def create_app(services: Services) -> FastAPI:
    """The HTTP application over ``services``. While it runs it also sends what the outbox still holds."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        resending = asyncio.create_task(keep_resending(services))
        try:
            yield
        finally:
            resending.cancel()
            with suppress(asyncio.CancelledError):
                await resending

    app = FastAPI(title="Sluice", version="0.1.0", description=_DESCRIPTION, lifespan=lifespan, redirect_slashes=False)
    app.state.services = services
    install_error_answers(app)
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(AccessLog)
    # The console's last route takes every address below /console, so signing in comes before it.
    for part in (requests, overrides, timeline, reviews, queues, chat, policies, health, sign_in, console):
        app.include_router(part.router)
    install_openapi(app, _BODIES)
    return app


class AccessLog:
    """One line a call: the route, the status, the time it took and who called; no path parameters, bodies or keys."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        structlog.contextvars.clear_contextvars()
        started, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            structlog.get_logger("api").info(
                "served",
                method=scope["method"],
                route=str(getattr(scope.get("route"), "path", "unknown")),
                status=status,
                ms=round((time.perf_counter() - started) * 1000, 1),
            )


@asynccontextmanager
async def build_services(settings: Settings) -> AsyncIterator[Services]:
    """The services that ``settings`` describe, closed on leaving.

    Temporal is connected to with the first call, so that the process starts while it is down; readiness tells.
    Raises ``PolicyError``, ``SettingsError`` or ``SecretFileError`` for what an operator has to correct.
    """
    catalog = load_catalog(settings.catalog)
    store = load_policies(settings.policies, catalog)
    pepper, decision_key = settings.read_pepper(), settings.signing_key()
    client = await connect(settings.temporal_address, settings.temporal_namespace, lazy=True)
    temporal = TemporalRequests(client, settings.task_queue)
    database = Database(settings.database_url)
    reader = LedgerReader(database)
    # The identity provider is reached directly: a proxy of the environment would see who signs in.
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        http = await closing.enter_async_context(httpx.AsyncClient(trust_env=False))
        yield Services(
            reader=reader,
            outbox=DecisionOutbox(database),
            keys=ApiKeys(database, pepper),
            requests=temporal,
            policies=store,
            parse_policy=partial(parse_policy, file="policy", catalog=catalog),
            decision_key=decision_key,
            clock=lambda: datetime.now(UTC),
            roster=Roster(database),
            claims=Claims(database),
            figures=ReviewFigures(database),
            sessions=Sessions(database, pepper),
            identity_provider=identity_provider(settings, http),
            webhooks=frozenset(name for name, channel in catalog.channels.items() if channel.kind == "webhook"),
            public_url=settings.public_url,
            hasty=timedelta(seconds=settings.hasty_seconds),
            probes=_probes(reader, temporal.reachable, store.names),
            limits=Limits(max_body_bytes=settings.max_body_bytes),
        )


def _probes(
    reader: LedgerReader, reachable: Callable[[], Awaitable[bool]], policy_names: Callable[[], tuple[str, ...]]
) -> tuple[Probe, ...]:
    async def database() -> None:
        await reader.request("readiness", "readiness")

    async def temporal() -> None:
        if not await reachable():
            raise ConnectionError("Temporal is not serving")

    async def some_policy() -> None:
        if not policy_names():
            raise LookupError("no policy")

    return (
        Probe("database", "start the database, check DATABASE_URL, and run the migrations", database),
        Probe("temporal", "start Temporal, and check TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE", temporal),
        Probe("policies", "put at least one policy file into the folder SLUICE_POLICIES names", some_policy),
    )
