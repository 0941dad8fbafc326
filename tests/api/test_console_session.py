"""Sessions of the console: how long they last, and that only their own pages change anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from api.console.session import LIFETIME
from domain.identity import Role
from tests.api.console_house import PUBLIC, RITA, Browser, House, built, leads_to


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with built(tmp_path) as house:
        yield house


@pytest.fixture
async def browser(house: House) -> AsyncIterator[Browser]:
    async with house.browser() as browser:
        yield browser


async def test_a_session_expires(house: House, browser: Browser) -> None:
    await browser.sign_in(await house.key())
    house.now += LIFETIME - timedelta(seconds=1)
    assert (await browser.get("/console/reviews")).status_code == 200
    house.now += timedelta(seconds=1)
    assert leads_to(await browser.get("/console/reviews")) == "/console/sign-in?next=%2Fconsole%2Freviews"


async def test_a_session_ends_with_its_key(house: House, browser: Browser) -> None:
    key = await house.key()
    await browser.sign_in(key)
    await house.keys.revoke(key[10:18])
    assert leads_to(await browser.get("/console/reviews")).startswith("/console/sign-in")


async def test_a_form_of_somebody_who_is_not_signed_in_leads_to_signing_in(browser: Browser) -> None:
    assert leads_to(await browser.post("/console/change", {"csrf": "x"})) == "/console/sign-in"


async def test_signing_out_ends_the_session_for_good(house: House, browser: Browser) -> None:
    await browser.sign_in(await house.key())
    token = browser.cookies["__Host-sluice"]
    assert leads_to(await browser.post("/console/sign-out", {"csrf": await browser.csrf()})) == "/console/sign-in"
    assert "__Host-sluice" not in browser.cookies
    again = await browser.get("/console/reviews", cookie=f"__Host-sluice={token}")
    assert again.status_code == 303
    assert leads_to(await browser.post("/console/sign-out", {})) == "/console/sign-in"
    assert (await browser.get("/console/sign-out")).status_code == 405


async def test_signing_in_again_ends_the_session_before(house: House, browser: Browser) -> None:
    key = await house.key()
    fields = await browser.form()
    await browser.post("/console/sign-in", {**fields, "key": key})
    first = browser.cookies["__Host-sluice"]
    cookies = f"__Host-sluice-form={fields['csrf']}; __Host-sluice={first}"
    async with house.browser() as second:
        answer = await second.post("/console/sign-in", {**fields, "key": key}, cookie=cookies)
        assert leads_to(answer) == "/console/reviews"
        assert second.cookies["__Host-sluice"] != first
    assert (await browser.get("/console/reviews")).status_code == 303


async def test_a_cookie_that_was_chosen_by_somebody_else_is_no_session(house: House, browser: Browser) -> None:
    assert (await browser.get("/console/reviews", cookie="__Host-sluice=chosen")).status_code == 303
    fields = await browser.form()
    cookies = f"__Host-sluice-form={fields['csrf']}; __Host-sluice=chosen"
    await browser.post("/console/sign-in", {**fields, "key": await house.key()}, cookie=cookies)
    assert browser.cookies["__Host-sluice"] != "chosen"
    assert await house.sessions.find("chosen") is None


async def test_a_page_for_another_role_says_whom_to_ask(house: House, browser: Browser) -> None:
    await browser.sign_in(await house.key())
    answer = await browser.get("/console/figures")
    assert answer.status_code == 403
    assert "senior-reviewer or operator" in answer.text
    assert "You have reviewer" in answer.text
    async with house.browser() as other:
        await other.sign_in(await house.key(RITA.model_copy(update={"roles": frozenset({Role.OPERATOR})})))
        assert (await other.get("/console/figures")).text == "figures"


@pytest.mark.parametrize("token", [None, "", "wrong", "é"])
async def test_a_form_for_signing_in_comes_from_its_page(house: House, browser: Browser, token: str | None) -> None:
    await browser.form()
    sent = {"key": await house.key()} | ({} if token is None else {"csrf": token})
    answer = await browser.post("/console/sign-in", sent)
    assert answer.status_code == 403
    assert "__Host-sluice" not in browser.cookies


async def test_a_form_of_another_browser_signs_nobody_in(house: House, browser: Browser) -> None:
    key = await house.key()
    async with house.browser() as attacker:
        theirs = await attacker.form()
    assert (await browser.post("/console/sign-in", {**theirs, "key": key})).status_code == 403
    await browser.form()
    assert (await browser.post("/console/sign-in", {**theirs, "key": key})).status_code == 403


FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "http://sluice.example"},
    {"origin": "https://sluice.example.evil.example"},
    {"origin": "https://sluice.example:8443"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "https://[", "sec-fetch-site": "same-origin"},
    {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"origin": PUBLIC, "sec-fetch-site": "cross-site"},
]
OURS: list[dict[str, str]] = [
    {},
    {"origin": PUBLIC},
    {"origin": PUBLIC, "sec-fetch-site": "same-origin"},
    {"origin": "null", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "same-origin"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_another_site_changes_nothing(house: House, browser: Browser, headers: dict[str, str]) -> None:
    key = await house.key()
    assert (await browser.sign_in(key, **headers)).status_code == 403
    await browser.sign_in(key)
    form = {"csrf": await browser.csrf()}
    for path in ("/console/change", "/console/sign-out"):
        answer = await browser.post(path, form, **headers)
        assert answer.status_code == 403
        assert "Another site" in answer.text
    assert (await browser.get("/console/reviews")).status_code == 200


@pytest.mark.parametrize("headers", OURS)
async def test_our_own_pages_change_something(house: House, browser: Browser, headers: dict[str, str]) -> None:
    await browser.sign_in(await house.key(), **headers)
    answer = await browser.post("/console/change", {"csrf": await browser.csrf()}, **headers)
    assert answer.text == f"changed by {RITA.name}"


async def test_without_a_public_address_the_host_tells_what_is_ours(house: House) -> None:
    async with house.browser(house.app(None), "http://127.0.0.1:8080") as browser:
        key = await house.key()
        assert (await browser.sign_in(key, origin="http://127.0.0.1:9090")).status_code == 403
        assert (await browser.sign_in(key, origin="http://[")).status_code == 403
        assert leads_to(await browser.sign_in(key, origin="http://127.0.0.1:8080")) == "/console/reviews"


@pytest.mark.parametrize("token", [None, "", "wrong", "é"])
async def test_without_the_token_nothing_changes(house: House, browser: Browser, token: str | None) -> None:
    await browser.sign_in(await house.key())
    form = {"other": "x"} if token is None else {"csrf": token}
    answer = await browser.post("/console/change", form)
    assert answer.status_code == 403
    assert "text/html" in answer.headers["content-type"]
    assert RITA.name in answer.text
    assert (await browser.post("/console/sign-out", form)).status_code == 403
    assert (await browser.get("/console/reviews")).status_code == 200


async def test_a_token_of_another_session_changes_nothing(house: House, browser: Browser) -> None:
    key = await house.key()
    await browser.sign_in(key)
    async with house.browser() as other:
        await other.sign_in(key)
        theirs = await other.csrf()
    assert (await browser.post("/console/change", {"csrf": theirs})).status_code == 403


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"csrf=a&csrf=b", 400),
        ("application/x-www-form-urlencoded", b"csrf=%ff", 400),
        ("application/x-www-form-urlencoded", b"\xff", 400),
        ("application/x-www-form-urlencoded", b"&".join(b"f%d=" % number for number in range(101)), 400),
        ("application/x-www-form-urlencoded", b"key=" + b"a" * 17_000, 413),
    ],
)
async def test_what_is_no_form_of_ours_is_refused(browser: Browser, kind: str, body: bytes, code: int) -> None:
    answer = await browser.http.post("/console/sign-in", content=body, headers={"content-type": kind})
    assert answer.status_code == code
