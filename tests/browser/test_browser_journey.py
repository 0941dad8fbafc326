"""From the hold to the release, in browsers over the real stack."""

from __future__ import annotations

import asyncio
import re

from playwright.async_api import expect

from tests.browser.stack import ConsoleStack
from tests.e2e.live import says


async def test_from_hold_to_release_with_an_edit_and_a_second_approver(console: ConsoleStack) -> None:
    """Held, taken, edited with a difference to see, approved by a second person; the waiting service gets that text."""
    request_id = await console.hold(says("We admit liability. You get 50 EUR."), "quorum", subject="customer-1")
    waiting = asyncio.create_task(console.shown(request_id, wait=60))
    async with console.person("rita") as rita, console.person("otto") as otto:
        page = rita.page
        await page.click("tr[data-id] >> text=promises failed")
        await page.wait_for_url("**/console/reviews/req_*")
        await rita.review(request_id)
        await expect(page.locator("mark")).to_have_count(1)
        await page.click("text=Take it")
        await expect(page.locator("#holder")).to_contain_text("You have it")

        await rita.choose("edit", "no liability before legal has looked")
        await page.fill("#output", "We are sorry. You get 50 EUR.")
        await expect(page.locator("#diff ins")).to_have_text("are sorry")
        await expect(page.locator("#diff del")).to_have_text("admit liability")
        assert "your approval counts, 1 of 2" in await rita.send()

        await otto.review(request_id)
        await expect(otto.page.locator(".answer .reading")).to_contain_text("We are sorry. You get 50 EUR.")
        await expect(otto.page.locator("body")).not_to_contain_text("no liability before legal")
        assert not waiting.done()
        assert "The answer has been released." in await otto.decide("approve", "agreed")
    ended = await waiting
    assert (ended["status"], ended["outcome"]) == ("completed", "edited")
    assert ended["output"] == "We are sorry. You get 50 EUR."


async def test_an_expired_review_cannot_be_decided(console: ConsoleStack) -> None:
    async with console.person("rita") as rita, console.person("otto", java_script_enabled=False) as otto:
        request_id = await console.hold(says("Too slow."), "brief")
        for person in (rita, otto):
            await person.review(request_id)
        ended = await console.in_state(request_id, "refused")
        # An open page notices by itself; one without our script is told by the answer to its form.
        await expect(rita.page.locator("#changed")).to_contain_text("The hold has expired")
        await expect(rita.page.locator("[data-decide]")).to_be_disabled()
        assert "this had no effect (late)" in await otto.decide("approve")
        await rita.review(request_id)
        await expect(rita.page.locator("[name=verdict]")).to_have_count(0)
        await expect(rita.page.locator(".verdict")).to_contain_text("Nobody decided in time")
    assert (ended["outcome"], ended["output"]) == ("expired", "A person will answer you.")
    assert await console.shown(request_id) == ended


async def test_of_two_browsers_at_one_review_one_decides_and_the_other_learns_it(console: ConsoleStack) -> None:
    request_id = await console.hold(says("Contested."))
    async with console.person("rita") as rita, console.person("otto") as otto:
        for person in (rita, otto):
            await person.review(request_id)
        await expect(otto.page.locator("#holder")).to_contain_text("rita")
        told = await asyncio.gather(rita.decide("approve"), otto.decide("reject"))
    ended = await console.in_state(request_id, "completed", "refused")
    won = "approved" if ended["outcome"] == "approved" else "rejected"
    assert ended["outcome"] == won
    winner, loser = (told[0], told[1]) if won == "approved" else (told[1], told[0])
    assert "has been released" in winner or "has been sent" in winner
    assert re.search(r"this had no effect \((superseded|late)\)", loser)


async def test_the_queue_keeps_itself_up_to_date(console: ConsoleStack) -> None:
    async with console.person("rita") as rita, console.person("otto") as otto:
        await rita.open("/console/reviews?queue=desk")
        request_id = await console.hold(says("A new one."), subject="appears-by-itself")
        row = rita.page.locator(f"tr[data-id={request_id}]")
        await expect(row).to_contain_text("appears-by-itself")
        await expect(row).to_have_class(re.compile("fresh"))
        await otto.review(request_id)
        await otto.page.click("text=Take it")
        await expect(row).to_contain_text("otto")
        assert "has been released" in await otto.decide("approve")
        await expect(row).to_have_count(0)


async def test_an_operator_orders_the_safe_output(console: ConsoleStack) -> None:
    request_id = await console.hold(says("Never to be seen."))
    async with console.person("olaf") as olaf:
        page = olaf.page
        await olaf.open(f"/console/requests/{request_id}")
        await page.check("#force_safe_output")
        await page.fill("#order-reason", "the campaign is over")
        await page.click("text=Go on")
        await expect(page.locator("h1")).to_have_text("Send the safe output?")
        await page.click("button.grave")
        await expect(page.locator(".notice")).to_have_text("Send the safe output: done.")
        await expect(page.locator(".steps")).to_contain_text("the campaign is over")
        await expect(page.locator(".course")).to_contain_text("held for review")
    ended = await console.in_state(request_id, "refused")
    assert (ended["outcome"], ended["output"]) == ("overridden", "A person will answer you.")


async def test_foreign_text_is_shown_and_not_run(console: ConsoleStack) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)> \u202edesrever " + "W" * 500
    request_id = await console.hold(says(evil), subject=evil[:150])
    async with console.person("rita") as rita:
        ran: list[str] = []
        rita.page.on("dialog", lambda dialog: ran.append(dialog.message))
        for path in (
            "/console/reviews?queue=desk",
            f"/console/requests/{request_id}",
            f"/console/reviews/{request_id}",
        ):
            await rita.open(path)
            await expect(rita.page.locator("main")).to_contain_text("<script>alert(1)</script>")
            await expect(rita.page.locator("main")).to_contain_text("U+202E")
        await rita.choose("edit")
        await rita.page.fill("#output", f"{evil} {evil}")
        await expect(rita.page.locator("#diff ins").first).to_contain_text("<script>")
        assert await rita.page.evaluate("document.querySelectorAll('main script, main img').length") == 0
        assert ran == []
