"""Signing in to the console through an identity provider on loopback that behaves and misbehaves."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from starlette.responses import Response
from structlog.testing import capture_logs

from tests.adapters.fake_identity_provider import (
    CLIENT_SECRET,
    FakeIdentityProvider,
    Forgery,
    Loopback,
    confused,
    dripping,
    oversized,
    serving,
    status,
    unsigned,
)
from tests.api.console_house import ELSEWHERE, PUBLIC, RITA, Browser, House, built, leads_to


@pytest.fixture(scope="module")
def loopback() -> Iterator[Loopback]:
    with serving() as loopback:
        yield loopback


@pytest.fixture
def provider(loopback: Loopback) -> FakeIdentityProvider:
    return loopback.fresh()


@pytest.fixture
async def house(provider: FakeIdentityProvider, tmp_path: Path) -> AsyncIterator[House]:
    async with built(tmp_path, provider) as house:
        yield house


@pytest.fixture
async def browser(house: House) -> AsyncIterator[Browser]:
    async with house.browser() as browser:
        yield browser


async def test_a_person_signs_in_through_the_provider(
    house: House, provider: FakeIdentityProvider, browser: Browser
) -> None:
    assert 'href="/console/sign-in/oidc"' in (await browser.get("/console/sign-in")).text
    assert leads_to(await house.through_provider(browser)) == "/console/reviews"
    assert (await browser.get("/console/reviews")).text.split()[0] == RITA.name
    assert set(browser.cookies) == {"__Host-sluice"}
    found = await house.sessions.find(browser.cookies["__Host-sluice"])
    assert found is not None
    assert (found.principal, found.source) == (RITA, f"oidc:{provider.issuer}")


async def test_the_way_back_is_kept_at_the_provider(house: House, browser: Browser) -> None:
    page = await browser.get("/console/sign-in?next=/console/reviews%3Fqueue%3Dlegal")
    (link,) = re.findall(r'href="(/console/sign-in/oidc[^"]*)"', page.text)
    answer = await house.through_provider(browser, link.replace("&amp;", "&"))
    assert leads_to(answer) == "/console/reviews?queue=legal"


@pytest.mark.parametrize("target", ELSEWHERE[:4])
async def test_the_provider_sends_nobody_elsewhere(house: House, browser: Browser, target: str) -> None:
    link = str(httpx.URL("/console/sign-in/oidc", params={"next": target}))
    assert leads_to(await house.through_provider(browser, link)) == "/console/reviews"


async def test_what_the_browser_keeps_sends_nobody_elsewhere_either(house: House, browser: Browser) -> None:
    back = await house.consent(await browser.get("/console/sign-in/oidc"))
    kept = json.loads(base64.urlsafe_b64decode(browser.cookies["__Host-sluice-under-way"]))
    changed = base64.urlsafe_b64encode(json.dumps({**kept, "back": "https://evil.example"}).encode()).decode()
    async with house.browser() as other:
        answer = await other.get(back, cookie=f"__Host-sluice-under-way={changed}")
        assert leads_to(answer) == "/console/reviews"


async def test_what_the_browser_keeps_meanwhile_is_short_and_hidden(browser: Browser) -> None:
    started = await browser.get("/console/sign-in/oidc")
    (cookie,) = started.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-sluice-under-way=")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "secure", "samesite=lax", "path=/", "max-age=600"}
    assert len(cookie) < 2000
    asked = parse_qs(urlsplit(leads_to(started)).query)
    assert asked["redirect_uri"] == [f"{PUBLIC}/console/sign-in/callback"]


async def test_a_wrong_state_signs_nobody_in(house: House, provider: FakeIdentityProvider, browser: Browser) -> None:
    back = await house.consent(await browser.get("/console/sign-in/oidc"))
    code = dict(parse_qsl(urlsplit(back).query))["code"]
    answer = await browser.get(f"/console/sign-in/callback?code={code}&state=wrong")
    assert answer.status_code == 400
    assert "did not begin in this browser" in answer.text
    assert code not in answer.text
    assert (await browser.get(back)).status_code == 400, "what was kept went with the first answer"
    assert provider.forms == []


async def test_a_state_of_another_browser_signs_nobody_in(house: House, browser: Browser) -> None:
    async with house.browser() as attacker:
        theirs = await house.consent(await attacker.get("/console/sign-in/oidc"))
    assert (await browser.get(theirs)).status_code == 400
    await browser.get("/console/sign-in/oidc")
    assert (await browser.get(theirs)).status_code == 400
    assert "__Host-sluice" not in browser.cookies


async def test_a_state_is_used_once(house: House, browser: Browser) -> None:
    started = await browser.get("/console/sign-in/oidc")
    kept = browser.cookies["__Host-sluice-under-way"]
    back = await house.consent(started)
    assert leads_to(await browser.get(back)) == "/console/reviews"
    assert (await browser.get(back)).status_code == 400
    async with house.browser() as other:
        replayed = await other.get(back, cookie=f"__Host-sluice-under-way={kept}")
        assert replayed.status_code == 400
        assert "did not confirm" in replayed.text
        assert "__Host-sluice" not in other.cookies


@pytest.mark.parametrize("query", ["", "?code=x", "?state=", "?state=x&code=x", "?code=x&state=%F0", "?error=x"])
@pytest.mark.parametrize("kept", ["", "x", "e30", "é".encode().decode("latin-1"), "eyJzdGFydGVkIjp7fX0="])
async def test_an_answer_to_nothing_signs_nobody_in(browser: Browser, query: str, kept: str) -> None:
    headers = {"cookie": f"__Host-sluice-under-way={kept}".encode("latin-1")}
    answer = await browser.http.get(f"/console/sign-in/callback{query}", headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 400


@pytest.mark.parametrize("tail", ["", "&code=", "&code=" + "c" * 5000, "&error=access_denied&error_description=<b>"])
async def test_an_answer_without_a_code_signs_nobody_in(
    house: House, provider: FakeIdentityProvider, browser: Browser, tail: str
) -> None:
    started = await browser.get("/console/sign-in/oidc")
    state = parse_qs(urlsplit(leads_to(started)).query)["state"][0]
    answer = await browser.get(f"/console/sign-in/callback?state={state}{tail}")
    assert answer.status_code == 400
    assert "did not sign you in" in answer.text
    assert "access_denied" not in answer.text
    assert "<b>" not in answer.text
    assert provider.forms == []


@pytest.mark.parametrize("where", ["openid-configuration", "token", "keys"])
@pytest.mark.parametrize("answer", [status(503), oversized, dripping, status(302)])
async def test_a_provider_that_is_down_is_said_to_be(
    house: House, provider: FakeIdentityProvider, browser: Browser, where: str, answer: Callable[[], Response]
) -> None:
    provider.answers[where] = answer
    started = await browser.get("/console/sign-in/oidc")
    page = started if where == "openid-configuration" else await browser.get(await house.consent(started))
    assert page.status_code == 503
    assert page.headers["retry-after"]
    assert "identity provider" in page.text
    assert 'name="key"' in page.text, "a key still works"
    assert "__Host-sluice" not in browser.cookies


def claiming(**changes: Any) -> Forgery:
    return lambda provider, claims: provider.signing.sign({**claims, **changes})


@pytest.mark.parametrize(
    "forge",
    [
        claiming(nonce="wrong"),
        claiming(aud="another"),
        claiming(exp=1_000_000_000, iat=1_000_000_000),
        claiming(iss="https://evil.example"),
        unsigned,
        confused,
    ],
)
async def test_a_token_that_does_not_hold_signs_nobody_in(
    house: House, provider: FakeIdentityProvider, browser: Browser, forge: Forgery
) -> None:
    provider.forge = forge
    answer = await house.through_provider(browser)
    assert answer.status_code == 400
    assert "Start the sign-in again" in answer.text
    assert "__Host-sluice" not in browser.cookies


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"roles": ["staff"]}, "Ask whoever runs Sluice"),
        ({"roles": []}, "Ask whoever runs Sluice"),
        ({"email_verified": False}, "not verified"),
        ({"email": None}, "no name"),
    ],
)
async def test_somebody_without_a_right_to_enter_is_told_whom_to_ask(
    house: House, provider: FakeIdentityProvider, browser: Browser, claims: dict[str, Any], says: str
) -> None:
    provider.claims |= claims
    answer = await house.through_provider(browser)
    assert answer.status_code == 403
    assert says in answer.text
    assert "__Host-sluice" not in browser.cookies
    assert (await browser.get("/console/reviews")).status_code == 303


async def test_without_a_provider_there_are_only_keys(tmp_path: Path) -> None:
    async with built(tmp_path) as house, house.browser() as browser:
        assert "/console/sign-in/oidc" not in (await browser.get("/console/sign-in")).text
        assert (await browser.get("/console/sign-in/oidc")).status_code == 404
        assert (await browser.get("/console/sign-in/callback?code=x&state=x")).status_code == 400


async def test_nothing_secret_is_logged(house: House, provider: FakeIdentityProvider, browser: Browser) -> None:
    key = await house.key()
    with capture_logs() as logs:
        await browser.sign_in(key)
        token, csrf = browser.cookies["__Host-sluice"], await browser.csrf()
        await browser.post("/console/sign-out", {"csrf": csrf})
        await browser.sign_in("sk-sluice-wrong-key")
        back = await house.consent(await browser.get("/console/sign-in/oidc"))
        await browser.get(back)
        provider.forge = confused
        await house.through_provider(browser)
        provider.forge = None
        provider.claims["roles"] = ["staff"]
        await house.through_provider(browser)
        provider.answers["token"] = status(503)
        assert (await house.through_provider(browser)).status_code == 503
    assert {entry["event"] for entry in logs} == {"served", "signed_in", "sign_in_refused"}
    assert {entry["by"] for entry in logs if entry["event"] == "signed_in"} == {"key", "oidc"}
    told = repr(logs)
    brought = dict(parse_qsl(urlsplit(back).query))
    private = [key, key[19:], token, csrf, "wrong-key", brought["code"], brought["state"], CLIENT_SECRET]
    private += ["example.com", "248289761001", "sluice-reviewers", "staff", "eyJ"]
    assert [secret for secret in private if secret in told] == []
