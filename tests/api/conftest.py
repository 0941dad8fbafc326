"""The API over a world in memory, called through its ASGI interface."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from api.app import create_app
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

    async def start(self, key: str = "k1", **body: object) -> httpx.Response:
        return await self.post("/v1/requests", {"policy": "plain", "input": "Where?", **body}, idempotency_key=key)

    async def held(self) -> str:
        """The id of a request that is held."""
        self.world.answer = "held"
        return str((await self.start()).json()["id"])


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    world = World()
    transport = httpx.ASGITransport(app=create_app(world.services()))
    async with httpx.AsyncClient(transport=transport, base_url="http://sluice.test") as http:
        yield Caller(http, world)
