"""The console's pages over real adapters: who sees what, what every form does, and that foreign text stays text."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from api.console.static_files import static_url
from domain.identity import Principal, Role
from tests.api.console_browser import hidden, leads_to
from tests.api.console_desk import Desk, found, opened

POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
POLICY += "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
EVIL = "<script>alert(1)</script>\u202egnp.exe\u2066 &amp; \"'" + "W" * 3000
ALL = ["approve", "edit", "reject", "escalate", "revise"]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path) as desk:
        yield desk


def ids(page: str) -> list[str]:
    return re.findall(r'data-id="(\w+)"', page)


READERS = {"rita", "otto", "sara", "anna", "olaf"}
SEEN = {
    "/console/reviews": READERS,
    "/console/reviews/rows": READERS,
    "/console/reviews/{id}": READERS,
    "/console/requests": READERS | {"shop"},
    "/console/requests/{id}": READERS | {"shop"},
    "/console/figures": READERS - {"rita", "otto"},
    "/console/people": READERS,
}


@pytest.mark.parametrize("name", sorted(READERS | {"shop"}))
async def test_everybody_sees_their_pages_and_no_others(desk: Desk, name: str) -> None:
    request_id = await desk.hold()
    async with desk.browser(name) as browser:
        for path, allowed in SEEN.items():
            page = await browser.get(path.format(id=request_id))
            assert page.status_code == (200 if name in allowed else 403), path
            assert page.headers["content-security-policy"] == POLICY
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["referrer-policy"] == "same-origin"
            assert "no-" in page.headers["cache-control"]
            assert "<style" not in page.text
            assert " style=" not in page.text
            assert not re.search(r"<script(?![^>]* src=)|\son\w+=", page.text)
        for place in re.findall(r'href="(/console/(?:reviews|figures|people|requests))"', page.text):
            assert name in SEEN[place]


async def test_a_role_without_pages_does_not_get_in(desk: Desk) -> None:
    with pytest.raises(AssertionError, match="Your roles open no page of the console: policy-admin"):
        async with desk.browser("paul"):
            pass


async def test_another_tenants_reviews_and_requests_do_not_exist(desk: Desk) -> None:
    request_id = await desk.hold()
    spy = Principal(tenant="other", name="spy", roles=frozenset(Role))
    async with desk.browser("spy", principal=spy) as browser:
        assert ids(await browser.shown("/console/reviews?state=all")) == []
        for path in (f"/console/reviews/{request_id}", f"/console/requests/{request_id}"):
            assert (await browser.get(path)).status_code == 404
        told = await browser.shown(f"/console/reviews?decided={request_id}&decision=x")
        assert 'class="notice' not in told


async def test_nobody_gets_in_without_signing_in(desk: Desk) -> None:
    request_id = await desk.hold()
    transport = httpx.ASGITransport(app=desk.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
        for path in (*SEEN, "/console", "/console/nowhere"):
            assert leads_to(await http.get(path.format(id=request_id))).startswith("/console/sign-in?next=%2Fconsole")
        for path in ("decisions", "claim", "release", "reassign", "look"):
            answer = await http.post(f"/console/reviews/{request_id}/{path}", files={"verdict": (None, "approve")})
            assert leads_to(answer) == "/console/sign-in"
    assert desk.judge.signals == []


async def test_the_style_and_the_script_are_kept_until_they_change(desk: Desk) -> None:
    async with desk.browser("rita") as browser:
        for name in ("console.css", "console.js", "mark.svg"):
            file = await browser.get(static_url(name))
            assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert static_url(name) in await browser.shown("/console/reviews")
        old = await browser.get("/console/static/0123456789abcdef/console.css")
        assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")
        for name in ("..%2fpages.py", "console.html", "templates"):
            assert (await browser.get(f"/console/static/0123456789abcdef/{name}")).status_code == 404
        assert (await browser.get("/console/nowhere")).status_code == 404


async def test_foreign_text_stays_text_everywhere(desk: Desk) -> None:
    short = EVIL[:150]
    request_id = await desk.hold(
        EVIL,
        asked=EVIL,
        why=short,
        checks=[found(EVIL, "terms", "<script>", "gnp.exe")],
        body={"subject": short, "context": {"channel": EVIL}, "metadata": {"label": EVIL[:400]}},
        offer={"safe_output": EVIL, "verdicts": ALL, "revisions_left": 2},
    )
    async with desk.browser("rita") as rita, desk.browser("olaf") as olaf:
        await rita.decide(request_id, "reject", reason="")
        pages = [
            await rita.shown("/console/reviews?q=%3Cscript%3Ealert(1)"),
            await rita.shown(f"/console/reviews/{request_id}"),
            (await rita.decide(request_id, "edit", output=f"{EVIL}!", diff_shown="")).text,
            (await rita.decide(request_id, "reject", reason="", instruction=EVIL, on_behalf_of=EVIL)).text,
            await olaf.shown(f"/console/requests/{request_id}"),
        ]
        following = leads_to(await rita.decide(request_id, "edit", output=EVIL, reason=EVIL, diff_shown="yes"))
        pages += [
            await rita.shown(following),
            await rita.shown(f"/console/reviews/{request_id}"),
            await olaf.shown(f"/console/requests/{request_id}"),
        ]
    for page in pages:
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>" not in page
        # What is sent back exactly as it came stands in fields, which show no direction to anybody.
        read = re.sub(r"<(textarea|template|select)\b.*?</\1>|<input[^>]*>", "", page, flags=re.DOTALL)
        assert re.findall(".{0,80}\u202e", read) == []
        assert "U+202E" in page


async def test_findings_are_marked_where_they_are(desk: Desk) -> None:
    text = "Hello. We admit liability, and a refund is due."
    checks = [found(text, "promises", "We admit", "refund"), found(text, "tone", "admit liability")]
    request_id = await desk.hold(text, checks=checks)
    async with desk.browser("rita") as browser:
        page = await browser.shown(f"/console/reviews/{request_id}")
    marks = re.findall(r"<mark[^>]*>(.*?)</mark>", page)
    assert [re.sub(r'<span class="aloud">.*?</span>', "", mark) for mark in marks] == [
        "We ",
        "admit",
        " liability",
        "refund",
    ]
    assert "finding 1, promises: forbidden term &#39;We admit&#39;; finding 2, tone" in marks[1]
    assert re.findall(r'id="finding-(\d)"', page) == ["1", "2", "3"]


async def test_the_queue_shows_what_is_due_first_and_pages_through_the_rest(desk: Desk) -> None:
    made = [
        await desk.hold(lasts=timedelta(hours=200 - number), body={"subject": f"s{number}"}) for number in range(120)
    ]
    async with desk.browser("rita") as browser:
        seen, path = [], "/console/reviews?risk=high"
        addresses = []
        while True:
            page = await browser.shown(path)
            seen += ids(page)
            addresses.append(path)
            older = re.search(r'href="([^"]+)" rel="next"', page)
            if older is None:
                break
            path = older[1].replace("&amp;", "&")
        assert seen == made[::-1]
        assert len(addresses) == 3
        back = re.search(r'href="([^"]+)" rel="prev"', page)
        assert back is not None
        middle = await browser.shown(back[1].replace("&amp;", "&"))
        assert ids(middle) == seen[50:100]
        first = re.search(r'href="([^"]+)" rel="prev"', middle)
        assert first is not None
        assert first[1] == "/console/reviews?risk=high"
        assert (await browser.get("/console/reviews?cursor=nonsense")).status_code == 400


async def test_filters_narrow_the_queue_and_stay_in_every_address(desk: Desk) -> None:
    low = await desk.hold(risk="low", queue="other", body={"subject": "Ünique 100%"})  # type: ignore[arg-type]
    high = await desk.hold()
    done = await desk.hold()
    async with desk.browser("rita") as browser, desk.browser("otto") as otto:
        await otto.decide(done, "approve")
        await otto.post(f"/console/reviews/{high}/claim", {"csrf": hidden(await otto.get("/console/reviews"))["csrf"]})
        for query, expected in {
            "": {low, high},
            "state=all": {low, high, done},
            "state=decided": {done},
            "risk=low": {low},
            "queue=other": {low},
            "policy=plain": {low, high},
            "policy=absent": set(),
            "q=%C3%BCnique": {low},
            "q=100%25": {low},
            "q=1_0": set(),
            f"q={high[4:20]}": {high},
            "who=none": {low},
            "who=otto": {high},
            "who=me": set(),
        }.items():
            page = await browser.shown(f"/console/reviews?{query}")
            assert set(ids(page)) == expected, query
            for link in re.findall(r'class="open" href="([^"]+)"', page):
                assert query.partition("=")[2].lower() in link.lower(), query
        assert "Nothing fits these filters" in await browser.shown("/console/reviews?policy=absent")


async def test_an_open_queue_is_told_only_what_changed(desk: Desk) -> None:
    request_id = await desk.hold()
    async with desk.browser("rita") as rita, desk.browser("otto") as otto:
        page = await rita.shown("/console/reviews")
        rows, tag = re.findall(r'data-rows="([^"]+)" data-tag="([^"]+)"', page)[0]
        tag = tag.replace("&#34;", '"')
        same = await rita.get(rows, **{"if-none-match": tag})
        assert (same.status_code, same.text) == (304, "")
        desk.now += timedelta(minutes=5)
        assert (await rita.get(rows, **{"if-none-match": tag})).status_code == 304
        await otto.claim(request_id)
        changed = await rita.get(rows, **{"if-none-match": tag})
        assert changed.status_code == 200
        assert "<html" not in changed.text
        assert "otto" in changed.text
        assert changed.headers["etag"] != tag
