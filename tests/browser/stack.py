"""A running stack with people who sign in to its console, and browsers for them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from adapters.api_keys import ApiKeys
from adapters.database import Database
from domain.identity import Principal, Role
from standalone.credentials import TENANT
from standalone.processes import free_port
from standalone.stack import Stack, StackOptions, running
from tests.e2e.live import SHIPPED, until

OWN = Path(__file__).parent / "policies"
PEOPLE = {
    "rita": frozenset({Role.REVIEWER}),
    "otto": frozenset({Role.REVIEWER}),
    "sara": frozenset({Role.SENIOR_REVIEWER}),
    "anna": frozenset({Role.AUDITOR}),
    "olaf": frozenset({Role.OPERATOR}),
    "shop": frozenset({Role.SERVICE}),
}
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
Json = dict[str, Any]


class Person:
    """Somebody signed in in a browser of their own. ``said`` is what the browser complained about."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.said: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        # A page with an error status is what some tests ask for; everything else has no business there.
        if message.type in ("error", "warning") and "the server responded with a status of" not in message.text:
            self.said.append(message.text)

    async def open(self, path: str) -> None:
        """Go to a page, which has to be there."""
        answer = await self.page.goto(f"{self.url}{path}")
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"

    async def review(self, request_id: str) -> None:
        """Go to a review."""
        await self.open(f"/console/reviews/{request_id}")

    async def choose(self, verdict: str, reason: str = "read it") -> None:
        """Choose a verdict and write a reason."""
        await self.page.check(f"#verdict-{verdict}")
        await self.page.fill("#reason", reason)

    async def decide(self, verdict: str, reason: str = "read it") -> str:
        """Choose, send, and give the message of the page that follows."""
        await self.choose(verdict, reason)
        return await self.send()

    async def send(self) -> str:
        """Send the form of the verdict; the message of the page that follows."""
        await self.page.click("[data-decide]")
        await self.page.wait_for_url("**decision=**")
        return await self.page.locator(".notice").first.inner_text()


class ConsoleStack:
    """The stack, a service's client, and one Chromium."""

    def __init__(self, stack: Stack, keys: Mapping[str, str], service: httpx.AsyncClient, browser: Browser) -> None:
        self.stack = stack
        self.keys = keys
        self.service = service
        self.browser = browser

    async def ask(self, text: str, policy: str = "desk", risk: str = "high", **body: Any) -> str:
        """Send a request as a service does; its id."""
        asked = {
            "policy": policy,
            "constraints": {"risk": risk},
            **({} if "messages" in body else {"input": text}),
            **body,
        }
        answer = await self.service.post("/v1/requests", json=asked, headers={"Idempotency-Key": str(uuid4())})
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])

    async def shown(self, request_id: str, wait: float = 0) -> Json:
        """The request as its service sees it."""
        answer = await self.service.get(f"/v1/requests/{request_id}", params={"wait": wait})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def in_state(self, request_id: str, *states: str) -> Json:
        """The request once its status is one of these."""

        async def look() -> Json | None:
            found = await self.shown(request_id)
            return found if found["status"] in states else None

        return await until(f"{request_id} is {' or '.join(states)}", look, 45)

    async def hold(self, text: str, policy: str = "desk", risk: str = "high", **body: Any) -> str:
        """Send a request and wait until a person has to look at it."""
        request_id = await self.ask(text, policy, risk, **body)
        await self.in_state(request_id, "held")
        return request_id

    @asynccontextmanager
    async def browser_page(self, **options: Any) -> AsyncIterator[Page]:
        """A page in a browser in which nobody is signed in."""
        settings = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "timezone_id": "UTC", **options}
        context: BrowserContext = await self.browser.new_context(**settings)
        context.set_default_timeout(15_000)
        try:
            yield await context.new_page()
        finally:
            await context.close()

    @asynccontextmanager
    async def person(self, name: str, **options: Any) -> AsyncIterator[Person]:
        """Somebody in a browser of their own; at the end it must have had nothing to complain about."""
        async with self.browser_page(**options) as page:
            person = Person(page, self.stack.url)
            await person.open("/console/sign-in")
            await page.fill("#key", self.keys[name])
            await page.click("button.main")
            await page.wait_for_url("**/console/re*")
            yield person
        assert person.said == []


def chromium() -> str:
    """The system's Chromium; the test fails with a remedy where it is absent."""
    found = shutil.which("chromium")
    if found is None:
        pytest.fail("chromium is not installed; install it (Debian, Ubuntu: apt-get install chromium)")
    return found


@asynccontextmanager
async def console_stack(folder: Path, *policies: Path) -> AsyncIterator[ConsoleStack]:
    """A stack on free ports that keeps everything in ``folder``, with the policy files of these folders."""
    kept = folder / "policies"
    kept.mkdir()
    for source in (SHIPPED, *policies):
        for file in source.glob("*.yaml"):
            shutil.copy(file, kept)
    api_port, temporal_port, ui_port, provider_port = (free_port() for _ in range(4))
    options = StackOptions(
        data=folder / "var",
        api_port=api_port,
        temporal_port=temporal_port,
        ui_port=ui_port,
        provider_port=provider_port,
        policies=kept,
    )
    async with AsyncExitStack() as closing:
        stack = await closing.enter_async_context(running(options))
        keys = await _keys(stack)
        headers = {"Authorization": f"Bearer {keys['shop']}"}
        service = await closing.enter_async_context(httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=60))
        playwright = await closing.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        closing.push_async_callback(browser.close)
        yield ConsoleStack(stack, keys, service, browser)


async def _keys(stack: Stack) -> dict[str, str]:
    database = Database(stack.settings.database_url)
    try:
        keys = ApiKeys(database, stack.settings.read_pepper())
        return {
            name: await keys.create(Principal(tenant=TENANT, name=name, roles=roles)) for name, roles in PEOPLE.items()
        }
    finally:
        await database.close()
