"""How the pages look: to assistive technology, on a phone, at the size of a small laptop, in the dark and on paper."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Page, expect

from tests.browser.stack import ConsoleStack
from tests.e2e.live import climbs, says

TEXT = (
    "Hello, and thank you for writing. I am sorry that nobody has explained the second charge to you. We admit "
    "liability for the delay, and a guaranteed return of the whole amount is on its way. If you would rather settle "
    "this by phone, call us between nine and five. With kind regards, your support team."
)
PAGES = {
    "queue": ("rita", "/console/reviews"),
    "nothing": ("rita", "/console/reviews?q=nothing-like-this"),
    "decided": ("rita", "/console/reviews?state=decided"),
    "review": ("sara", "/console/reviews/{held}"),
    "review to read": ("anna", "/console/reviews/{held}"),
    "ended review": ("rita", "/console/reviews/{ended}"),
    "held request": ("olaf", "/console/requests/{held}"),
    "ended request": ("shop", "/console/requests/{ended}"),
    "find": ("anna", "/console/requests"),
    "figures": ("sara", "/console/figures"),
    "people": ("olaf", "/console/people"),
    "own people": ("rita", "/console/people"),
    "missing": ("rita", "/console/nowhere"),
}
every_page = pytest.mark.parametrize("name", PAGES)


@pytest.fixture(scope="module")
async def held(console: ConsoleStack) -> dict[str, str]:
    """A review that waits, one that was decided, a member and a delegation."""
    found = {"held": await console.hold(climbs(TEXT), subject="customer-4711", context={"channel": "email"})}
    found["ended"] = await console.hold(says("A fine answer."))
    async with console.person("rita") as rita, console.person("olaf") as olaf:
        await rita.review(found["ended"])
        await rita.decide("reject", "not fine at all")
        await olaf.open("/console/people")
        await olaf.page.fill("#member-queue", "seniors")
        await olaf.page.fill("#member-name", "sara")
        await olaf.page.click("text=Add member")
        await expect(olaf.page.locator(".members")).to_contain_text("sara")
        await rita.open("/console/people")
        await rita.page.fill("#delegate", "otto")
        await rita.page.fill("#last-day", "2099-01-01")
        await rita.page.fill("#last-day", await rita.page.get_attribute("#last-day", "min") or "")
        await rita.page.click("button >> text=Delegate")
        await expect(rita.page.locator(".delegations")).to_contain_text("otto")
    return found


async def objections(page: Page) -> list[str]:
    """What axe says against the page, in words."""
    found = await Axe().run(page)
    return [
        f"{rule['id']}: {rule['help']}: {[node['html'][:200] for node in rule['nodes']]}"
        for rule in found.response["violations"]
    ]


async def test_axe_does_object_to_what_is_wrong(console: ConsoleStack) -> None:
    async with console.person("rita") as rita:
        await rita.page.evaluate("document.querySelector('label[for=q]').remove()")
        await rita.page.evaluate("document.querySelector('h1').style.color = '#f0f0f0'")
        assert [told.partition(":")[0] for told in await objections(rita.page)] == ["color-contrast", "label"]


@every_page
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_has_no_objection(console: ConsoleStack, held: dict[str, str], name: str, scheme: str) -> None:
    person, path = PAGES[name]
    async with console.person(person, color_scheme=scheme) as reader:
        await reader.page.goto(f"{console.stack.url}{path.format(**held)}")
        assert await objections(reader.page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_has_no_objection_to_what_opens_on_a_page(
    console: ConsoleStack, held: dict[str, str], scheme: str
) -> None:
    async with console.person("rita", color_scheme=scheme) as rita:
        page = rita.page
        await rita.review(held["held"])
        await rita.choose("edit")
        await page.fill("#output", "Something else altogether.")
        await expect(page.locator("#diff ins").first).to_be_visible()
        assert await objections(page) == []
        await rita.choose("revise")
        assert await objections(page) == []
        await page.click("[data-keys]")
        assert await objections(page) == []
    async with console.person("olaf", color_scheme=scheme) as olaf:
        await olaf.open(f"/console/requests/{held['held']}")
        await olaf.page.check("#force_safe_output")
        await olaf.page.fill("#order-reason", "only looking")
        await olaf.page.click("text=Go on")
        assert await objections(olaf.page) == []
    async with console.browser_page(color_scheme=scheme) as page:
        await page.goto(f"{console.stack.url}/console/sign-in")
        assert await objections(page) == []
    async with console.person("rita", color_scheme=scheme, java_script_enabled=False) as rita:
        await rita.review(held["held"])
        await rita.choose("edit")
        await rita.page.fill("#output", "Something else altogether.")
        await rita.page.click("[data-decide]")
        await expect(rita.page.locator("h1")).to_have_text("What you change")


@every_page
async def test_a_phone_shows_the_whole_width(console: ConsoleStack, held: dict[str, str], name: str) -> None:
    person, path = PAGES[name]
    phone = {"width": 390, "height": 844}
    async with console.person(person, viewport=phone, has_touch=True, is_mobile=True) as reader:
        await reader.page.goto(f"{console.stack.url}{path.format(**held)}")
        assert await reader.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert await objections(reader.page) == []


async def test_a_phone_decides(console: ConsoleStack) -> None:
    request_id = await console.hold(says("On the way."))
    async with console.person("otto", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as otto:
        await otto.review(request_id)
        assert "has been released" in await otto.decide("approve")


async def test_everything_for_the_verdict_fits_a_small_laptop(console: ConsoleStack, held: dict[str, str]) -> None:
    """At 1280 by 800 nothing that a careful person needs lies below the edge, before and after choosing."""
    needed = [".held h1", ".why", ".rule code", ".deadline .left", ".ladder li:last-child", ".asked .text", "mark"]
    needed += [".findings li:first-child", ".try:first-child", ".try.proposed", "#reason", "[data-decide]", "#holder"]
    async with console.person("rita") as rita:
        page = rita.page
        await rita.review(held["held"])
        for chosen in (None, "approve", "escalate-seniors", "reject", "revise", "edit"):
            if chosen is not None:
                await page.check(f"#verdict-{chosen}")
            shown = [place for place in needed if not (chosen == "edit" and place == "mark")]
            shown += [".choice:nth-of-type(1)", ".choice:last-child"]
            shown += ["#output", "#diff"] if chosen == "edit" else ["#instruction"] if chosen == "revise" else []
            for place in shown:
                box = await page.locator(place).first.bounding_box()
                assert box is not None, (chosen, place)
                assert box["y"] >= 0, (chosen, place)
                assert box["y"] + min(box["height"], 40) <= 800, (chosen, place)
        assert await page.evaluate("document.documentElement.scrollHeight") <= 800


async def test_a_hold_for_many_reasons_still_leaves_room_to_decide(console: ConsoleStack) -> None:
    many = " ".join("We admit liability." for _ in range(40))
    request_id = await console.hold(says(many))
    async with console.person("rita") as rita:
        await rita.review(request_id)
        for place in (".answer .text", "[data-decide]", ".try", ".why"):
            box = await rita.page.locator(place).first.bounding_box()
            assert box is not None
            assert box["y"] + min(box["height"], 40) <= 800
        assert await objections(rita.page) == []


async def test_every_page_uses_the_width_it_has(console: ConsoleStack, held: dict[str, str]) -> None:
    async with console.person("olaf") as olaf:
        for path in ("/console/reviews", "/console/people", "/console/figures", "/console/requests/{held}"):
            await olaf.open(path.format(**held))
            box = await olaf.page.locator(".page").bounding_box()
            assert box is not None
            assert box["width"] > 1200
            for cell in await olaf.page.locator(".queue tr:first-child > *").all():
                inside = await cell.bounding_box()
                assert inside is not None
                assert inside["width"] > 60


async def test_the_timeline_prints_without_controls(console: ConsoleStack, held: dict[str, str]) -> None:
    async with console.person("olaf") as olaf:
        await olaf.open(f"/console/requests/{held['held']}")
        await olaf.page.emulate_media(media="print")
        await expect(olaf.page.locator(".steps")).to_be_visible()
        await expect(olaf.page.locator(".course")).to_be_visible()
        for control in (".bar", "#override", "button"):
            await expect(olaf.page.locator(control).first).to_be_hidden()


async def test_no_page_loads_anything_from_elsewhere(console: ConsoleStack, held: dict[str, str]) -> None:
    async with console.person("rita") as rita:
        asked: list[str] = []
        rita.page.on("request", lambda request: asked.append(request.url))
        for person, path in PAGES.values():
            if person == "rita":
                await rita.page.goto(f"{console.stack.url}{path.format(**held)}")
        assert {re.sub(r"(https?://[^/]+).*", r"\1", url) for url in asked} == {console.stack.url}
