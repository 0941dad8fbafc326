"""One installation whose console people sign in to: real keys and sessions, a real identity provider, and browsers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import httpx
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from adapters.api_keys import ApiKeys
from adapters.database import Database, migrate
from adapters.oidc import OidcClient, OpenIdConnect
from adapters.sessions import Sessions
from api.app import AccessLog
from api.console import sign_in, static_files
from api.console.forms import read_form
from api.console.session import require_csrf, require_role, signed_in
from api.errors import install_error_answers
from domain.identity import Principal, Role
from tests.adapters.fake_identity_provider import CLIENT_ID, CLIENT_SECRET, FakeIdentityProvider
from tests.api.fakes_api import World

PEPPER = b"p" * 32
PUBLIC = "https://sluice.example"
RITA = Principal(tenant="acme", name="rita@example.com", roles=frozenset({Role.REVIEWER}))
NOBODY = Principal(tenant="acme", name="nobody", roles=frozenset())
ROLES = {"sluice-reviewers": frozenset({Role.REVIEWER})}
_FIELD = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


async def read_queue(request: Request) -> Response:
    session = await signed_in(request)
    return PlainTextResponse(f"{session.principal.name} {session.csrf}")


async def change_something(request: Request) -> Response:
    session = await signed_in(request)
    form = await read_form(request)
    require_csrf(request, form)
    return PlainTextResponse(f"changed by {session.principal.name}")


async def read_figures(request: Request) -> Response:
    require_role(await signed_in(request), Role.SENIOR_REVIEWER, Role.OPERATOR)
    return PlainTextResponse("figures")


def hidden(page: httpx.Response) -> dict[str, str]:
    """The hidden fields of the page."""
    return {name: unescape(value) for name, value in _FIELD.findall(page.text)}


class Browser:
    """Keeps cookies and follows no redirect by itself, so that a test sees every answer."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    @property
    def cookies(self) -> dict[str, str]:
        return dict(self.http.cookies)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers=headers)

    async def post(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        return await self.http.post(path, data=form, headers=headers)

    async def form(self, path: str = "/console/sign-in") -> dict[str, str]:
        """The hidden fields of the page."""
        page = await self.get(path)
        assert page.status_code == 200
        return hidden(page)

    async def sign_in(self, key: str, path: str = "/console/sign-in", **headers: str) -> httpx.Response:
        return await self.post("/console/sign-in", {**await self.form(path), "key": key}, **headers)

    async def csrf(self) -> str:
        """The token in the forms of somebody who is signed in."""
        return (await self.get("/console/reviews")).text.split()[1]


class House:
    """One installation: its keys, its sessions, its clock, and browsers that come to it."""

    def __init__(self, database: Database, provider: FakeIdentityProvider | None, network: httpx.AsyncClient) -> None:
        self.now = datetime.now(UTC)
        self.database = database
        self.keys = ApiKeys(database, PEPPER, cache_seconds=0)
        self.sessions = Sessions(database, PEPPER, lambda: self.now)
        self.network = network
        self.identities: OpenIdConnect | None = None
        if provider is not None:
            client = OidcClient(provider.issuer, CLIENT_ID, "acme", ROLES, CLIENT_SECRET)
            self.identities = OpenIdConnect(client, network, seconds=0.5)

    def app(self, public_url: str | None = PUBLIC) -> FastAPI:
        app = FastAPI()
        app.state.services = replace(
            World().services(),
            keys=self.keys,
            sessions=self.sessions,
            identity_provider=self.identities,
            public_url=public_url,
            clock=lambda: self.now,
        )
        install_error_answers(app)
        app.add_middleware(AccessLog)
        app.include_router(sign_in.router)
        app.include_router(static_files.router)
        app.add_api_route("/console/reviews", read_queue)
        app.add_api_route("/console/change", change_something, methods=["POST"])
        app.add_api_route("/console/figures", read_figures)
        return app

    @asynccontextmanager
    async def browser(
        self, app: FastAPI | None = None, origin: str = PUBLIC, address: str = "192.0.2.1"
    ) -> AsyncIterator[Browser]:
        transport = httpx.ASGITransport(app=app or self.app(), client=(address, 50000))
        async with httpx.AsyncClient(transport=transport, base_url=origin) as http:
            yield Browser(http)

    async def key(self, principal: Principal = RITA, expires_at: datetime | None = None) -> str:
        return await self.keys.create(principal, expires_at)

    async def consent(self, started: httpx.Response) -> str:
        """The path that the provider sends the browser back to."""
        answer = await self.network.get(started.headers["location"])
        assert answer.status_code == 302, answer.text
        back: str = answer.headers["location"]
        assert back.startswith(f"{PUBLIC}/console/sign-in/callback?")
        return back.removeprefix(PUBLIC)

    async def through_provider(self, browser: Browser, path: str = "/console/sign-in/oidc") -> httpx.Response:
        return await browser.get(await self.consent(await browser.get(path)))


@asynccontextmanager
async def built(folder: Path, provider: FakeIdentityProvider | None = None) -> AsyncIterator[House]:
    """A house with a database of its own in ``folder``."""
    url = f"sqlite+aiosqlite:///{folder}/sluice.db"
    migrate(url)
    database = Database(url)
    async with httpx.AsyncClient(trust_env=False) as network:
        yield House(database, provider, network)
    await database.close()


def leads_to(answer: httpx.Response) -> str:
    assert answer.status_code == 303
    return str(answer.headers["location"])


ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/console//evil.example",
    "/console/../evil",
    "/console/..//evil.example",
    "/console/.%2e/evil",
    "/console\\evil",
    "/consolevil",
    "/v1/requests",
    "/",
    "",
    "console/reviews",
    "javascript:alert(1)",
    "/console/reviews\r\nSet-Cookie: a=b",
    "/console/reviews#x",
    "/console/reviews\u2028",
    " /console/reviews",
    "/console/sign-in",
    "/console/sign-out",
    "/console/sign-in/oidc?next=/console",
    "/console/" + "a" * 2000,
]
"""Where nobody may be sent after signing in."""
