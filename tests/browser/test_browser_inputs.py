"""Other ways to use the console: without its script, and with nothing but a keyboard."""

from __future__ import annotations

import random

import pytest
from playwright.async_api import expect

from api.console.diff import changes
from tests.browser.stack import ConsoleStack, Person
from tests.e2e.live import climbs, says


async def without_script(person: Person, request_id: str, verdict: str) -> str:
    """Decide in a browser without JavaScript; the message of the page that follows."""
    page = person.page
    await person.review(request_id)
    await person.choose(verdict)
    if verdict == "edit":
        await page.fill("#output", "Another answer,\nin two lines.")
        await page.click("[data-decide]")
        await expect(page.locator("h1")).to_have_text("What you change")
        await expect(page.locator(".diff ins").first).to_contain_text("Another")
        await page.click("text=Go on writing")
        await expect(page.locator("#output")).to_have_value("Another answer,\nin two lines.")
        await page.click("[data-decide]")
        await page.click("text=Send my text")
        await page.wait_for_url("**decision=**")
        return await page.locator(".notice").first.inner_text()
    if verdict == "revise":
        await page.fill("#instruction", "Be brief.")
    return await person.send()


@pytest.mark.parametrize(
    ("verdict", "said", "becomes"),
    [
        ("approve", "The answer has been released.", ("completed", "approved", "The first answer.")),
        ("edit", "Your text has been released.", ("completed", "edited", "Another answer,\nin two lines.")),
        ("reject", "The safe output has been sent.", ("refused", "rejected", "A person will answer you.")),
        ("escalate", "A stronger model is asked.", ("held", None, None)),
        ("escalate-seniors", "it is with the seniors of seniors now.", ("held", None, None)),
        ("revise", "The model answers again", ("held", None, None)),
    ],
)
async def test_every_verdict_works_without_javascript(
    console: ConsoleStack, verdict: str, said: str, becomes: tuple[str, str | None, str | None]
) -> None:
    request_id = await console.hold(says("The first answer."))
    async with console.person("rita", java_script_enabled=False) as rita:
        assert said in await without_script(rita, request_id, verdict)
    found = await console.in_state(request_id, becomes[0])
    assert (found["status"], found["outcome"], found["output"]) == becomes


async def test_taking_giving_back_and_searching_work_without_javascript(console: ConsoleStack) -> None:
    request_id = await console.hold(says("Taken."), subject="needle-in-the-queue")
    async with console.person("rita", java_script_enabled=False) as rita:
        page = rita.page
        await page.fill("#q", "NEEDLE-in")
        await page.click("text=Filter")
        await expect(page.locator("tr[data-id]")).to_have_count(1)
        await page.click("a.open")
        await page.click("text=Take it")
        await expect(page.locator("#holder")).to_contain_text("You have it")
        await page.click("[data-back]")
        await expect(page.locator("#q")).to_have_value("NEEDLE-in")
        await expect(page.locator("tr[data-id] strong")).to_have_text("you")
        await page.click("a.open")
        await page.click("text=Give it back")
        await expect(page.locator("#holder")).to_contain_text("Nobody has taken it")
        assert "/console/reviews/" + request_id in page.url


async def test_a_whole_review_with_the_keyboard_alone(console: ConsoleStack) -> None:
    request_id = await console.hold(says("We admit liability, by key."), subject="by-keyboard")
    async with console.person("rita") as rita:
        page, press = rita.page, rita.page.keyboard.press
        await press("/")
        await page.keyboard.type("by-keyboard")
        await press("Enter")
        await page.wait_for_url("**q=by-keyboard**")
        await press("j")
        await press("Enter")
        await page.wait_for_url(f"**/console/reviews/{request_id}**")
        await press("c")
        await expect(page.locator("#holder")).to_contain_text("You have it")
        await press("?")
        await expect(page.locator("#keys")).to_be_visible()
        await press("r")
        await press("Escape")
        await expect(page.locator("#keys")).to_be_hidden()
        await expect(page.locator("[name=verdict]:checked")).to_have_count(0)
        await press("e")
        await press("Control+A")
        await page.keyboard.type("are we certain? A clear answer.")
        await expect(page.locator("[name=verdict]:checked")).to_have_value("edit")
        await press("Escape")
        await press("w")
        await page.keyboard.type("clearer")
        await press("Control+Enter")
        await page.wait_for_url("**decision=**")
        await expect(page.locator(".notice").first).to_contain_text("Your text has been released.")
    assert (await console.in_state(request_id, "completed"))["output"] == "are we certain? A clear answer."


async def test_no_key_acts_while_somebody_types_or_has_switched_keys_off(console: ConsoleStack) -> None:
    request_id = await console.hold(says("Typed."))
    async with console.person("rita") as rita:
        page = rita.page
        await rita.review(request_id)
        await page.focus("#reason")
        await page.keyboard.type("are rare cases usable? never, see")
        await expect(page.locator("[name=verdict]:checked")).to_have_count(0)
        await expect(page.locator("#keys")).to_be_hidden()
        await page.keyboard.press("Escape")
        await page.keyboard.press("Control+r")
        await page.wait_for_load_state()
        await expect(page.locator("[name=verdict]:checked")).to_have_count(0)
        await page.keyboard.press("?")
        await page.uncheck("#keys-on")
        await page.click("#keys >> text=Close")
        await page.keyboard.press("a")
        await expect(page.locator("[name=verdict]:checked")).to_have_count(0)
        await page.click("[data-keys]")
        await page.check("#keys-on")
        await page.click("#keys >> text=Close")
        await page.keyboard.press("a")
        await expect(page.locator("[name=verdict]:checked")).to_have_value("approve")
        await expect(page.locator("[data-decide]")).to_have_text("Approve and release")


async def test_nothing_is_sent_without_a_choice_or_a_needed_reason(console: ConsoleStack) -> None:
    request_id = await console.hold(says("Incomplete."))
    async with console.person("rita") as rita:
        page = rita.page
        await rita.review(request_id)
        await page.click("[data-decide]")
        await page.check("#verdict-reject")
        await page.click("[data-decide]")
        await expect(page.locator("#reason")).to_be_focused()
        assert page.url.endswith(request_id)
    assert (await console.shown(request_id))["status"] == "held"


async def test_the_script_finds_the_differences_that_the_server_finds(console: ConsoleStack) -> None:
    source = random.Random(7)
    pairs = [
        tuple(
            "".join(source.choice(["a", "b", " ", "\n", ".", "word", "\u00e4"]) for _ in range(source.randrange(14)))
            for _ in "12"
        )
        for _ in range(400)
    ]
    pairs += [("x" * 50, ""), ("", "y"), ("a b c d", "a x y d"), ("one\ntwo\nthree", "one\n2\nthree")]
    async with console.person("rita") as rita:
        found = await rita.page.evaluate(
            """pairs => pairs.map(([before, after]) => joined(differences(before, after)).flatMap(
                run => ["same", "gone", "new"].filter(kind => run[kind]).map(kind => [kind, run[kind]])))""",
            pairs,
        )
    for (before, after), told in zip(pairs, found, strict=True):
        assert [[change.kind, change.text] for change in changes(before, after)] == told


async def test_attempts_stand_side_by_side(console: ConsoleStack) -> None:
    request_id = await console.hold(climbs("We admit liability after two tries."))
    async with console.person("rita") as rita:
        await rita.review(request_id)
        tries = rita.page.locator(".try")
        await expect(tries).to_have_count(2)
        await expect(tries.nth(0)).to_contain_text("confidence 0.30")
        await expect(tries.nth(1)).to_contain_text("proposed")
        boxes = [await tries.nth(index).bounding_box() for index in (0, 1)]
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[0]["y"] == boxes[1]["y"]
