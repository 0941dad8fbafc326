"""The API over a world in memory, called through its ASGI interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from domain.review import DecisionStatus
from tests.api.fakes_api import World


class Caller:
    """Calls the API; every call names the key it uses."""

    def __init__(self, http: httpx.AsyncClient, world: World) -> None:
        self.http = http
        self.world = world

    async def get(self, path: str, key: str = "sk-service", **headers: str) -> httpx.Response:
        return await self.http.get(path, headers={"Authorization": f"Bearer {key}", **headers})

    async def post(
        self, path: str, body: object, key: str = "sk-service", idempotency_key: str | None = None, **headers: str
    ) -> httpx.Response:
        sent = {"Authorization": f"Bearer {key}", **headers}
        if idempotency_key is not None:
            sent["Idempotency-Key"] = idempotency_key
        return await self.http.post(path, json=body, headers=sent)

    async def put(self, path: str, key: str) -> httpx.Response:
        return await self.http.put(path, headers={"Authorization": f"Bearer {key}"})

    async def delete(self, path: str, key: str) -> httpx.Response:
        return await self.http.delete(path, headers={"Authorization": f"Bearer {key}"})

    async def start(self, key: str = "k1", **body: object) -> httpx.Response:
        return await self.post("/v1/requests", {"policy": "plain", "input": "Where?", **body}, idempotency_key=key)

    async def held(self) -> str:
        """The id of a request that is held."""
        self.world.answer = "held"
        return str((await self.start()).json()["id"])

    async def decide(self, identifier: str, verdict: str, key: str, wait: float = 5, **fields: Any) -> httpx.Response:
        """A decision on exactly what is held now."""
        proposal = self.world.reviews[identifier].proposal
        body = {
            "decision_id": f"{key}-{verdict}",
            "verdict": verdict,
            "reason": f"{key} has looked at it",
            "result_sha256": proposal.result_sha256,
            "review_version": proposal.review_version,
            **fields,
        }
        return await self.post(f"/v1/reviews/{identifier}/decisions?wait_seconds={wait:g}", body, key=key)

    async def decided(
        self, identifier: str, verdict: str, key: str, status: DecisionStatus, because: str = "judged", **fields: Any
    ) -> httpx.Response:
        """The answer to a decision that the Workflow judges so."""
        before = len(self.world.signals)
        call = asyncio.create_task(self.decide(identifier, verdict, key, **fields))
        await self.judged(before, status, because)
        return await call

    async def judged(self, before: int, status: DecisionStatus, because: str = "judged") -> None:
        """Judge the next Signal after the first ``before`` ones, as the Workflow would."""
        async with asyncio.timeout(10):
            while True:
                if len(self.world.signals) > before:
                    self.world.settle(self.world.signals[before], status, because)
                    return
                await asyncio.sleep(0)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    world = World()
    transport = httpx.ASGITransport(app=create_app(world.services()))
    async with httpx.AsyncClient(transport=transport, base_url="http://sluice.test") as http:
        yield Caller(http, world)
