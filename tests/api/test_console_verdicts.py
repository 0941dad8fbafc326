"""The form of a verdict: what it offers, what each choice sends, and what cannot be sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.review import ReviewVerdict
from tests.api.console_browser import hidden, leads_to
from tests.api.console_desk import Desk, found, opened

ALL = ["approve", "edit", "reject", "escalate", "revise"]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path) as desk:
        yield desk


async def test_nothing_is_chosen_for_anybody(desk: Desk) -> None:
    request_id = await desk.hold(offer={"verdicts": ALL, "revisions_left": 1, "senior_queues": ["seniors"]})
    async with desk.browser("rita") as browser:
        page = await browser.shown(f"/console/reviews/{request_id}")
        assert re.findall(r'name="verdict"[^>]*value="([^"]+)"', page) == [
            *("approve", "edit", "reject", "escalate", "escalate:seniors", "revise")
        ]
        assert not re.search(r'type="radio"[^>]*checked', page)
        answer = await browser.decide(request_id, "")
        assert answer.status_code == 400
        assert "Choose what shall happen." in answer.text
    assert desk.judge.signals == []


async def test_a_page_offers_only_what_the_policy_lets_reviewers_do(desk: Desk) -> None:
    request_id = await desk.hold(offer={"verdicts": ["edit", "reject"], "overrule": ["terms"]})
    empty = await desk.hold("", offer={"verdicts": ["approve", "reject", "revise"]}, checks=[found("", "terms", "x")])
    async with desk.browser("rita") as browser:
        page = await browser.shown(f"/console/reviews/{request_id}")
        assert re.findall(r'name="verdict"[^>]*value="([^"]+)"', page) == ["edit", "reject"]
        assert 'name="overrule" value="terms"' in page
        assert re.findall(r'value="(\w+)" required', await browser.shown(f"/console/reviews/{empty}")) == ["reject"]
        refused = await browser.decide(request_id, "approve")
        assert leads_to(refused).startswith(f"/console/reviews/{request_id}?")
        assert "does not let reviewers approve" in await browser.shown(leads_to(refused))


async def test_the_page_says_why_it_is_held_until_when_and_what_each_choice_does(desk: Desk) -> None:
    request_id = await desk.hold(offer={"verdicts": ALL, "revisions_left": 2, "approvals_needed": 3})
    async with desk.browser("rita") as browser:
        page = await browser.shown(f"/console/reviews/{request_id}")
    for told in (
        "Held because terms failed: forbidden term &#39;we admit&#39;.",
        "<code>guardrails.output.terms.on_fail: hold</code>",
        "4 h left",
        "expires: the safe output is sent",
        "Counts as one of the 3 approvals",
        "We will come back to you.",
        "Ask large",
        "2 revisions are left",
        "confidence 0.90",
    ):
        assert told in page


@pytest.mark.parametrize(
    ("verdict", "fields", "said"),
    [
        ("approve", {"reason": ""}, "The answer has been released."),
        ("edit", {"output": "Other words.", "diff_shown": "yes"}, "Your text has been released."),
        ("reject", {}, "The safe output has been sent."),
        ("escalate", {}, "A stronger model is asked."),
        ("escalate:seniors", {}, "it is with the seniors of seniors now."),
        ("revise", {"instruction": "Be brief."}, "The model answers again"),
    ],
)
async def test_every_verdict_is_sent_as_chosen_and_the_next_review_follows(
    desk: Desk, verdict: str, fields: dict[str, str], said: str
) -> None:
    offer = {"verdicts": ALL, "revisions_left": 1, "senior_queues": ["seniors"]}
    first = await desk.hold(offer=offer, lasts=timedelta(hours=1), body={"subject": "s-1"})
    second = await desk.hold(lasts=timedelta(hours=2))
    async with desk.browser("rita") as browser:
        target = leads_to(await browser.decide(first, verdict, filters="risk=high", **fields))
        assert target.startswith(f"/console/reviews/{second}?risk=high&decided={first}&decision=")
        page = await browser.shown(target)
        assert f"plain, s-1: {said}" in page
    (envelope,) = desk.judge.signals
    word, _, queue = verdict.partition(":")
    assert envelope.signature
    assert envelope.model_dump(include={"verdict", "queue", "output", "instruction", "reviewer", "review_version"}) == {
        "verdict": ReviewVerdict(word),
        "queue": queue or None,
        "output": fields.get("output"),
        "instruction": fields.get("instruction"),
        "reviewer": "rita",
        "review_version": 1,
    }


async def test_without_another_review_the_queue_follows(desk: Desk) -> None:
    request_id = await desk.hold()
    async with desk.browser("rita") as browser:
        target = leads_to(await browser.decide(request_id, "approve"))
        assert target.startswith(f"/console/reviews?decided={request_id}&")
        page = await browser.shown(target)
        assert "The answer has been released." in page
        assert "Nothing waits" in page


@pytest.mark.parametrize(
    ("verdict", "fields", "problem"),
    [
        ("reject", {"reason": " "}, "“Reject” needs a reason."),
        ("edit", {"output": " ", "diff_shown": "yes"}, "Write the text that shall be released."),
        ("edit", {"output": "Other.", "reason": "", "diff_shown": "yes"}, "“Edit” needs a reason."),
        ("revise", {"instruction": ""}, "Say what the model shall do otherwise."),
        ("dance", {}, "Choose what shall happen."),
        ("approve", {"reason": "x" * 4001}, "reason: "),
        ("approve", {"decision_id": "no id!"}, "decision_id: "),
        ("approve", {"result_sha256": "beef"}, "result_sha256: "),
        ("escalate:Not A Queue", {}, "queue: "),
        ("reject", {"reason": "\x00"}, "reason: "),
    ],
)
async def test_what_cannot_be_sent_is_told_and_what_was_written_stays(
    desk: Desk, verdict: str, fields: dict[str, str], problem: str
) -> None:
    request_id = await desk.hold()
    async with desk.browser("rita") as browser:
        answer = await browser.decide(request_id, verdict, **{"reason": "my words", **fields})
        assert answer.status_code == 400
        assert problem in answer.text
        if "reason" not in fields:
            assert "my words</textarea>" in answer.text
    assert desk.judge.signals == []


async def test_without_our_script_an_edit_is_shown_before_it_is_sent(desk: Desk) -> None:
    request_id = await desk.hold("First line.\nWe admit liability.\nLast line.")
    async with desk.browser("rita") as browser:
        edited = "First line.\r\nWe are sorry.\r\nLast line."
        shown = await browser.decide(request_id, "edit", output=edited, reason="softer", overrule=[])
        assert shown.status_code == 200
        assert "<del>admit liability</del><ins>are sorry</ins>" in shown.text
        assert desk.judge.signals == []
        again = await browser.send(request_id, {**hidden(shown), "output": edited, "edit_on": "yes"})
        assert "We are sorry." in again.text
        assert re.search(r'value="edit"[^>]*checked', again.text)
        assert desk.judge.signals == []
        assert leads_to(await browser.send(request_id, {**hidden(shown), "output": edited}))
    (envelope,) = desk.judge.signals
    assert envelope.model_dump(include={"output", "reason"}) == {
        "output": "First line.\nWe are sorry.\nLast line.",
        "reason": "softer",
    }


@pytest.mark.parametrize("character", ["a", "\n", "\U0001f600"])
async def test_the_longest_edit_goes_through_and_a_longer_one_is_refused(desk: Desk, character: str) -> None:
    longest = "x" + character * (256 * 1024 // len(character.encode()) - 2)
    request_id = await desk.hold()
    async with desk.browser("rita") as browser:
        too_long = await browser.decide(request_id, "edit", output=longest + 2 * character, diff_shown="yes")
        assert too_long.status_code == 400
        assert "is longer than 262144 bytes" in too_long.text
        assert leads_to(
            await browser.decide(request_id, "edit", output=longest.replace("\n", "\r\n"), diff_shown="yes")
        )
        (envelope,) = desk.judge.signals
        assert getattr(envelope, "output", None) == longest
        much = await browser.send(request_id, {"verdict": "edit", "output": "x" * 1024 * 1024})
        assert much.status_code == 413
        assert "shorten it" in much.text


async def test_a_form_that_is_none_is_refused(desk: Desk) -> None:
    request_id = await desk.hold()
    path = f"/console/reviews/{request_id}/decisions"
    async with desk.browser("rita") as browser:
        assert (await browser.post(path, {"verdict": "approve"})).status_code == 415
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        for body in (b"", b"nonsense", b"--x\r\nbroken"):
            answer = await browser.http.post(path, content=body, headers=kind)
            assert answer.status_code in (400, 403)
            assert "<h1>" in answer.text
        file = await browser.http.post(path, files={"output": ("a.txt", b"x")})
        assert file.status_code == 400
    assert desk.judge.signals == []


async def test_a_form_sent_twice_is_one_decision(desk: Desk) -> None:
    request_id = await desk.hold()
    async with desk.browser("rita") as browser:
        form = {**hidden(await browser.get(f"/console/reviews/{request_id}")), "verdict": "approve", "reason": ""}
        assert leads_to(await browser.send(request_id, form)) == leads_to(await browser.send(request_id, form))
        other = await browser.send(request_id, {**form, "verdict": "reject", "reason": "no"})
        assert other.status_code == 409
        assert "used before" in other.text
    assert len(desk.judge.signals) == 1


@pytest.mark.parametrize("csrf", ["", "wrong", None])
async def test_a_form_from_elsewhere_changes_nothing(desk: Desk, csrf: str | None) -> None:
    request_id = await desk.hold()
    async with desk.browser("rita") as browser:
        form = hidden(await browser.get(f"/console/reviews/{request_id}"))
        token = {} if csrf is None else {"csrf": csrf}
        token["filters"] = ""
        sent = {name: value for name, value in form.items() if name != "csrf"} | token | {"verdict": "approve"}
        assert (await browser.send(request_id, sent)).status_code == 403
        for path in ("claim", "release", "look", "reassign"):
            assert (await browser.post(f"/console/reviews/{request_id}/{path}", token)).status_code == 403
        for path in ("members", "members/remove", "delegations", "delegations/revoke"):
            assert (await browser.post(f"/console/people/{path}", token)).status_code == 403
        answer = await browser.post(f"/console/requests/{request_id}/overrides", token)
        assert answer.status_code == 403
        form["verdict"] = "approve"
        browser.http.headers["origin"] = "https://evil.example"
        assert (await browser.send(request_id, form)).status_code == 403
    assert desk.judge.signals == []
