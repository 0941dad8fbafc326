"""A running embedded stack as tests use it: one client for every role, and eyes on provider, database and processes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from shutil import copy
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest

from adapters.api_keys import ApiKeys
from adapters.database import Database
from domain.identity import Principal, Role
from standalone.credentials import TENANT
from standalone.processes import Process, free_port
from standalone.stack import Stack, StackOptions, running

SHIPPED = Path(__file__).parents[2] / "policies"
OWN = Path(__file__).parent / "policies"
POLICY = "durable"
SAFE = "A person will answer you."
INTERIM = "A person is reading our answer before you get it."
ENDED = frozenset({"completed", "refused", "failed", "cancelled"})

Found = TypeVar("Found")
Json = dict[str, Any]


def says(answer: str, *directives: str, confidence: float = 0.95) -> str:
    """A request to which every simulated model gives ``answer``; ``directives`` come before it."""
    ordered = "".join(f"[[simulate: {directive}]] " for directive in directives)
    return f"Please answer. {ordered}[[simulate: confidence={confidence:g} answer={answer}]]"


def climbs(answer: str) -> str:
    """A request of which the first model is unsure and to which the second gives ``answer``."""
    return f"{says(answer)} [[simulate: model=small confidence=0.3 answer=No idea.]]"


async def until(what: str, look: Callable[[], Awaitable[Found | None]], seconds: float = 30.0) -> Found:
    """What ``look`` finds as soon as it finds something true; the test fails after ``seconds``."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = await look()
        if found:
            return found
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"for {seconds:g} s this did not come true: {what}")
        await asyncio.sleep(0.05)


class Live:
    """One running stack. Clients are named after what their keys may do."""

    def __init__(self, stack: Stack, clients: dict[str, httpx.AsyncClient]) -> None:
        self.stack = stack
        self.service = clients["service"]
        self.reviewer = clients["rita"]
        self.other_reviewer = clients["otto"]
        self.auditor = clients["auditor"]
        self.operator = clients["operator"]
        self.requester = clients["requester"]
        """A reviewer who goes by the name of the service that asks."""
        self.stranger = clients["stranger"]
        """Holds every role, in another tenant."""
        self.nobody = clients["nobody"]
        """Sends no key."""

    @property
    def parts(self) -> tuple[Process, ...]:
        """Every process of the stack."""
        parts = (self.stack.temporal, self.stack.provider, self.stack.worker, self.stack.api)
        return tuple(part for part in parts if part is not None)

    @property
    def temporal(self) -> Process:
        """The Temporal dev server."""
        assert self.stack.temporal is not None
        return self.stack.temporal

    async def start_worker(self) -> None:
        """Start the worker again and wait until it polls."""
        self.stack.worker.start()
        await self.stack.worker_ready()

    async def post(self, text: str, *, key: str | None = None, **body: Any) -> httpx.Response:
        """Send a request as a service does."""
        headers = {"Idempotency-Key": key or str(uuid4())}
        return await self.service.post("/v1/requests", json={"policy": POLICY, "input": text, **body}, headers=headers)

    async def submit(self, text: str, *, key: str | None = None, **body: Any) -> str:
        """Send a request that has to be accepted, and give its id."""
        answer = await self.post(text, key=key, **body)
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])

    async def submit_risky(self, text: str, *, key: str | None = None) -> str:
        """Send a request whose answer a person has to approve."""
        return await self.submit(text, key=key, constraints={"risk": "high"})

    async def show(self, request_id: str, wait: float = 0) -> Json:
        """Where a request stands."""
        answer = await self.service.get(f"/v1/requests/{request_id}", params={"wait": wait})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def ended(self, request_id: str, seconds: float = 45.0) -> Json:
        """A request once it has ended."""

        async def look() -> Json | None:
            shown = await self.show(request_id, wait=2)
            return shown if shown["status"] in ENDED else None

        return await until(f"{request_id} has ended", look, seconds)

    async def held(self, request_id: str) -> Json:
        """The review of a request once it waits for a person."""

        async def look() -> Json | None:
            answer = await self.reviewer.get(f"/v1/reviews/{request_id}")
            return dict(answer.json()) if answer.status_code == 200 else None

        return await until(f"{request_id} is held", look)

    async def decide(
        self,
        review: Json,
        verdict: str,
        *,
        by: httpx.AsyncClient | None = None,
        decision_id: str | None = None,
        wait: float | None = None,
        **changes: Any,
    ) -> httpx.Response:
        """Decide over exactly what ``review`` shows."""
        body = {
            "decision_id": decision_id or str(uuid4()),
            "verdict": verdict,
            "reason": "read it",
            "result_sha256": review["proposal"]["result_sha256"],
            "review_version": review["proposal"]["review_version"],
            **changes,
        }
        params = {} if wait is None else {"wait_seconds": wait}
        return await (by or self.reviewer).post(review["links"]["decisions"], json=body, params=params)

    async def record(self, request_id: str) -> Json:
        """The decision record, as an auditor reads it; its sequence has no gaps."""
        answer = await self.auditor.get(f"/v1/requests/{request_id}/record")
        assert answer.status_code == 200, answer.text
        record = dict(answer.json())
        sequence = [entry["sequence"] for entry in record["records"]]
        assert sequence == list(range(1, len(sequence) + 1))
        return record

    async def judged(self, request_id: str) -> list[Json]:
        """The decision records about decisions, in order."""
        record = await self.record(request_id)
        return [entry for entry in record["records"] if entry["kind"] == "decision_judged"]

    async def history(self, request_id: str) -> Json:
        """The Temporal event history, as an auditor reads it."""
        answer = await self.auditor.get(f"/v1/requests/{request_id}/history")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def calls(self, request_id: str) -> dict[str, int]:
        """How often the provider was called for this request, by idempotency key."""
        return await self._counted("by_key", request_id)

    async def answered_calls(self, request_id: str) -> dict[str, int]:
        """The same, only calls that a provider would have billed."""
        return await self._counted("answered_by_key", request_id)

    async def _counted(self, by: str, request_id: str) -> dict[str, int]:
        async with httpx.AsyncClient() as http:
            counts = (await http.get(f"{self.stack.provider_url}/calls")).raise_for_status().json()[by]
        return {key: count for key, count in counts.items() if key.startswith(f"{request_id}/")}

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Rows of the ledger's database, read past all of our own code."""
        connection = sqlite3.connect(self.stack.options.data / "sluice.db", timeout=10)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def write(self, statement: str, *values: Any) -> None:
        """Change the ledger's database past all of our own code."""
        connection = sqlite3.connect(self.stack.options.data / "sluice.db", timeout=10)
        try:
            with connection:
                connection.execute(statement, values)
        finally:
            connection.close()

    def row_counts(self) -> dict[str, int]:
        """How many rows every table holds."""
        tables = [name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: self.rows(f"SELECT count(*) FROM {name}")[0][0] for name in tables}

    def released(self, request_ids: Collection[str]) -> list[str]:
        """The rows of ``releases`` that belong to ``request_ids``, one entry a row."""
        return [row[0] for row in self.rows("SELECT request_id FROM releases") if row[0] in request_ids]


@asynccontextmanager
async def live_stack(folder: Path) -> AsyncIterator[Live]:
    """A stack on free ports that keeps everything in ``folder``."""
    policies = folder / "policies"
    policies.mkdir()
    for file in (*SHIPPED.glob("*.yaml"), *OWN.glob("*.yaml")):
        copy(file, policies)
    api_port, temporal_port, ui_port, provider_port = (free_port() for _ in range(4))
    options = StackOptions(
        data=folder / "var",
        api_port=api_port,
        temporal_port=temporal_port,
        ui_port=ui_port,
        provider_port=provider_port,
        policies=policies,
    )
    async with running(options) as stack, AsyncExitStack() as closing:
        clients = {}
        for name, headers in (await _headers(stack)).items():
            client = httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=60)
            clients[name] = await closing.enter_async_context(client)
        yield Live(stack, clients)


async def _headers(stack: Stack) -> dict[str, dict[str, str]]:
    issued = {role.value: stack.issued.bearer(role) for role in Role}
    principals = {
        "rita": Principal(tenant=TENANT, name="rita", roles=frozenset({Role.REVIEWER})),
        "otto": Principal(tenant=TENANT, name="otto", roles=frozenset({Role.REVIEWER})),
        "requester": Principal(tenant=TENANT, name="demo-service", roles=frozenset({Role.REVIEWER})),
        "stranger": Principal(tenant="elsewhere", name="stranger", roles=frozenset(Role)),
    }
    database = Database(stack.settings.database_url)
    try:
        keys = ApiKeys(database, stack.settings.read_pepper())
        made = {name: await keys.create(principal) for name, principal in principals.items()}
    finally:
        await database.close()
    return {**issued, **{name: {"Authorization": f"Bearer {key}"} for name, key in made.items()}, "nobody": {}}
