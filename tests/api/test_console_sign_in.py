"""Signing in to the console with a key: who gets in, where they go, and what nobody learns on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.console.failed_sign_ins import MOST_FAILURES, WITHIN, FailedSignIns
from api.console.forms import local_path
from api.console.session import LIFETIME
from tests.api.console_house import ELSEWHERE, NOBODY, PUBLIC, RITA, Browser, House, built, hidden, leads_to


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with built(tmp_path) as house:
        yield house


@pytest.fixture
async def browser(house: House) -> AsyncIterator[Browser]:
    async with house.browser() as browser:
        yield browser


async def test_a_key_signs_its_holder_in(house: House, browser: Browser) -> None:
    assert leads_to(await browser.sign_in(await house.key())) == "/console/reviews"
    assert (await browser.get("/console/reviews")).text.split()[0] == RITA.name
    assert leads_to(await browser.get("/console/sign-in")) == "/console/reviews"


async def test_the_cookie_is_for_this_host_over_https_and_not_for_scripts(house: House, browser: Browser) -> None:
    answer = await browser.sign_in(await house.key())
    (cookie,) = [line for line in answer.headers.get_list("set-cookie") if line.startswith("__Host-sluice=")]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "secure", "samesite=lax", "path=/", f"max-age={8 * 3600}"}
    assert timedelta(hours=8) == LIFETIME


@pytest.mark.parametrize("public_url", [None, "http://127.0.0.1:8080"])
async def test_without_https_the_cookie_still_works(house: House, public_url: str | None) -> None:
    async with house.browser(house.app(public_url), "http://127.0.0.1:8080") as browser:
        answer = await browser.sign_in(await house.key(), origin="http://127.0.0.1:8080")
        assert leads_to(answer) == "/console/reviews"
        (cookie,) = [line for line in answer.headers.get_list("set-cookie") if line.startswith("sluice=")]
        assert "secure" not in cookie.lower()
        assert "httponly" in cookie.lower()
        assert (await browser.get("/console/reviews")).status_code == 200


async def test_no_page_repeats_a_key_and_none_is_taken_from_the_address(house: House, browser: Browser) -> None:
    key = await house.key()
    page = await browser.get(f"/console/sign-in?key={key}")
    assert page.status_code == 200
    assert key not in page.text
    fields = hidden(page)
    answer = await browser.post(f"/console/sign-in?key={key}", fields)
    assert answer.status_code == 403
    assert key not in answer.text
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    for refused in (wrong, "x" * 513, "é", "", "<script>alert(1)</script>"):
        answer = await browser.post("/console/sign-in", {**fields, "key": refused})
        assert answer.status_code == 403
        assert "unknown, revoked or expired" in answer.text
        assert not refused or refused not in answer.text
    assert "__Host-sluice" not in browser.cookies


async def test_pages_for_signing_in_are_kept_by_nobody(browser: Browser) -> None:
    page = await browser.get("/console/sign-in")
    assert page.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_a_database_that_is_away_is_said_to_be(house: House, browser: Browser) -> None:
    fields = await browser.form()
    await house.database.write(lambda connection: connection.exec_driver_sql("ALTER TABLE api_keys RENAME TO gone"))
    answer = await browser.post("/console/sign-in", {**fields, "key": "sk-sluice-aaaaaaaa-" + "A" * 43})
    assert answer.status_code == 503
    assert "text/html" in answer.headers["content-type"]


async def test_expired_and_revoked_keys_sign_nobody_in(house: House, browser: Browser) -> None:
    expired = await house.key(expires_at=house.now - timedelta(seconds=1))
    revoked = await house.key()
    await house.keys.revoke(revoked[10:18])
    for key in (expired, revoked):
        assert (await browser.sign_in(key)).status_code == 403


async def test_a_key_without_a_page_signs_nobody_in(house: House, browser: Browser) -> None:
    answer = await browser.sign_in(await house.key(NOBODY), "/console/sign-in?next=/console/reviews")
    assert answer.status_code == 403
    assert "Ask an operator" in answer.text
    assert "__Host-sluice" not in browser.cookies


async def test_whoever_comes_from_a_page_goes_back_to_it(house: House, browser: Browser) -> None:
    asked = leads_to(await browser.get("/console/reviews?queue=legal&state=held"))
    assert parse_qs(urlsplit(asked).query) == {"next": ["/console/reviews?queue=legal&state=held"]}
    answer = await browser.sign_in(await house.key(), asked)
    assert leads_to(answer) == "/console/reviews?queue=legal&state=held"


@pytest.mark.parametrize("target", ELSEWHERE)
async def test_nobody_is_sent_elsewhere(house: House, browser: Browser, target: str) -> None:
    assert local_path(target) is None
    page = await browser.http.get("/console/sign-in", params={"next": target})
    fields = hidden(page)
    assert "next" not in fields
    answer = await browser.post("/console/sign-in", {**fields, "key": await house.key(), "next": target})
    assert leads_to(answer) == "/console/reviews"
    again = await browser.http.get("/console/sign-in", params={"next": target})
    assert leads_to(again) == "/console/reviews"


@given(st.text(max_size=40).map(lambda tail: f"/console{tail}") | st.text(max_size=40))
def test_whatever_passes_stays_in_the_console(target: str) -> None:
    passed = local_path(target)
    if passed is not None:
        joined = httpx.URL(PUBLIC).join(passed)
        assert (joined.host, joined.scheme) == ("sluice.example", "https")
        assert joined.path == "/console" or joined.path.startswith("/console/")
        assert passed.isascii()


async def test_whoever_tries_too_many_keys_has_to_wait(house: House) -> None:
    app, key = house.app(), await house.key()
    async with house.browser(app) as browser:
        for _ in range(MOST_FAILURES):
            assert (await browser.sign_in("sk-wrong")).status_code == 403
        house.now += timedelta(seconds=20)
        answer = await browser.sign_in(key)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "40")
        assert "Wait 40 seconds" in answer.text
        async with house.browser(app, address="192.0.2.2") as elsewhere:
            assert leads_to(await elsewhere.sign_in(key)) == "/console/reviews"
        house.now += timedelta(seconds=40)
        assert leads_to(await browser.sign_in(key)) == "/console/reviews"


async def test_good_keys_do_not_count(house: House) -> None:
    app, key = house.app(), await house.key()
    for _ in range(MOST_FAILURES + 1):
        async with house.browser(app) as browser:
            assert leads_to(await browser.sign_in(key)) == "/console/reviews"


async def test_a_network_of_ipv6_counts_as_one_address(house: House) -> None:
    app = house.app()
    for number in range(MOST_FAILURES):
        async with house.browser(app, address=f"2001:db8::{number + 1}") as browser:
            assert (await browser.sign_in("sk-wrong")).status_code == 403
    async with house.browser(app, address="2001:db8::ffff") as browser:
        assert (await browser.sign_in("sk-wrong")).status_code == 429
    async with house.browser(app, address="2001:db8:0:1::1") as browser:
        assert (await browser.sign_in("sk-wrong")).status_code == 403


def test_counts_do_not_grow_without_end() -> None:
    counts, now = FailedSignIns(), datetime.now(UTC)
    for _ in range(MOST_FAILURES):
        assert counts.begin("first", now) == timedelta(0)
    assert counts.begin("first", now) == WITHIN
    for number in range(10_000):
        counts.begin(f"address {number}", now)
    assert counts.begin("first", now) == timedelta(0)
