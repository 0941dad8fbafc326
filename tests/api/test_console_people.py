"""Several people at one review: claims, quorums, stale and late decisions, delegations; and what they are told."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.identity import Role
from tests.api.console_browser import hidden, leads_to
from tests.api.console_desk import TENANT, Desk, found, opened
from tests.api.console_judge import Records


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path) as desk:
        yield desk


async def test_a_decision_is_bound_to_the_text_its_page_showed(desk: Desk) -> None:
    request_id = await desk.hold(offer={"approvals_needed": 2})
    async with desk.browser("rita") as rita, desk.browser("otto") as otto:
        form = hidden(await rita.get(f"/console/reviews/{request_id}"))
        await otto.decide(request_id, "edit", output="Another text.", diff_shown="yes")
        sent = {**form, "verdict": "edit", "output": "My own draft.", "reason": "better", "diff_shown": "yes"}
        target = leads_to(await rita.send(request_id, sent))
        assert target.startswith(f"/console/reviews/{request_id}?decided={request_id}")
        page = await rita.shown(target)
        assert "this had no effect (stale)" in page
        assert "Another text." in page
        assert "My own draft.</textarea>" in page
        assert 'name="review_version" value="2"' in page


async def test_the_second_approver_sees_nothing_of_the_first_until_they_have_decided(desk: Desk) -> None:
    request_id = await desk.hold(offer={"approvals_needed": 3})
    desk.now += timedelta(seconds=10)
    async with desk.browser("rita") as rita, desk.browser("otto") as otto:
        told = await rita.shown(leads_to(await rita.decide(request_id, "approve", reason="spotless")))
        assert "your approval counts, 1 of 3" in told
        own = await rita.shown(f"/console/reviews/{request_id}")
        assert "Your approval counts: 1 of 3." in own
        assert re.findall(r'name="verdict"[^>]*value="([^"]+)"', own) == ["reject", "escalate"]
        desk.now += timedelta(minutes=1)  # by now rita's page counts as closed
        for path in ("/console/reviews", f"/console/reviews/{request_id}", f"/console/requests/{request_id}"):
            page = await otto.shown(path)
            assert "rita" not in page
            assert "spotless" not in page
            assert "1 of 3" not in page
        assert "2 of 3" in await otto.shown(leads_to(await otto.decide(request_id, "approve")))


async def test_the_next_review_is_one_that_still_waits_for_this_person(desk: Desk) -> None:
    """Not one that they have approved, that somebody else has taken, or whose queue is not theirs."""
    await desk.roster.add_member(TENANT, "closed", "otto", "olaf")
    quorum = {"approvals_needed": 2}
    approved, edited, last = await desk.hold(offer=quorum), await desk.hold(offer=quorum), await desk.hold()
    taken, _closed = await desk.hold(), await desk.hold(queue="closed")
    async with desk.browser("rita") as rita, desk.browser("otto") as otto:
        await otto.claim(taken)
        targets = [
            leads_to(await rita.decide(approved, "approve")),
            leads_to(await rita.decide(edited, "edit", output="Other.", diff_shown="yes")),
            leads_to(await rita.decide(last, "approve")),
        ]
        left = {approved, edited, last}
        for decided, target in zip((approved, edited, last), targets, strict=True):
            left.discard(decided)
            following = target.partition("?")[0].removeprefix("/console/reviews").strip("/")
            assert following in left if left else following == ""


async def test_who_comes_second_learns_who_was_first(desk: Desk) -> None:
    request_id = await desk.hold()
    async with desk.browser("rita") as rita, desk.browser("otto") as otto:
        form = hidden(await rita.get(f"/console/reviews/{request_id}"))
        await otto.decide(request_id, "reject")
        late = leads_to(await rita.send(request_id, {**form, "verdict": "approve", "reason": ""}))
        assert "this had no effect (late)" in await rita.shown(late)
        ended = await rita.shown(f"/console/reviews/{request_id}")
        assert "Rejected by otto" in ended
        assert "We will come back to you." in ended
        assert 'name="verdict"' not in ended


async def test_an_expired_review_offers_nothing(desk: Desk) -> None:
    request_id = await desk.hold(lasts=timedelta(minutes=10))
    async with desk.browser("rita") as browser:
        form = hidden(await browser.get(f"/console/reviews/{request_id}"))
        desk.now += timedelta(minutes=11)
        nearly = await browser.shown(f"/console/reviews/{request_id}")
        await desk.expire(request_id)
        page = await browser.shown(f"/console/reviews/{request_id}")
        for shown in (nearly, page):
            assert 'name="verdict"' not in shown
            assert "Nobody decided in time" in shown
        target = leads_to(await browser.send(request_id, {**form, "verdict": "approve", "reason": ""}))
        assert "this had no effect (late)" in await browser.shown(target)


async def test_what_somebody_has_taken_nobody_else_decides(desk: Desk) -> None:
    request_id = await desk.hold()
    async with desk.browser("rita") as rita, desk.browser("otto") as otto, desk.browser("sara") as sara:
        form = hidden(await otto.get(f"/console/reviews/{request_id}"))
        assert leads_to(await rita.claim(request_id)) == f"/console/reviews/{request_id}"
        assert "You have it" in await rita.shown(f"/console/reviews/{request_id}")
        assert "rita has it" in await otto.shown(f"/console/reviews/{request_id}")
        refused = await otto.send(request_id, {**form, "verdict": "reject", "reason": "my words"})
        assert refused.status_code == 409
        assert "&#39;rita&#39; has claimed this review" in refused.text
        assert (await otto.claim(request_id)).status_code == 409
        unknown = await sara.post(
            f"/console/reviews/{request_id}/reassign", {**await sara.token(), "to": "nobody", "reason": "x"}
        )
        assert unknown.status_code == 400
        given = await sara.post(
            f"/console/reviews/{request_id}/reassign", {**await sara.token(), "to": "otto", "reason": "ill"}
        )
        assert leads_to(given) == f"/console/reviews/{request_id}"
        assert (await otto.post(f"/console/reviews/{request_id}/release", await otto.token())).status_code == 303
        assert "Nobody has taken it" in await rita.shown(f"/console/reviews/{request_id}")
        assert leads_to(await otto.decide(request_id, "approve"))


async def test_an_open_page_learns_who_else_looks_and_that_it_is_out_of_date(desk: Desk) -> None:
    request_id = await desk.hold()
    async with desk.browser("rita") as rita, desk.browser("otto") as otto:
        await rita.shown(f"/console/reviews/{request_id}")
        page = await otto.shown(f"/console/reviews/{request_id}")
        assert "Also looking: rita" in page
        told = (await rita.post(f"/console/reviews/{request_id}/look", await rita.token())).json()
        assert told["others"] == ["otto"]
        assert (told["state"], told["version"]) == ("pending", 1)
        await otto.decide(request_id, "approve")
        told = (await rita.post(f"/console/reviews/{request_id}/look", await rita.token())).json()
        assert (told["state"], told["changed"]) == ("decided", "otto has decided meanwhile.")


async def test_a_decision_in_somebodys_place_names_both(desk: Desk) -> None:
    for member in ("rita", "sara"):
        await desk.roster.add_member(TENANT, "support", member, "olaf")
    first, second = await desk.hold(), await desk.hold()
    async with desk.browser("otto") as otto, desk.browser("rita"), desk.browser("sara"):
        page = await otto.shown(f"/console/reviews/{first}")
        assert "is not a member of queue" in page
        assert 'name="verdict"' not in page
        end = desk.now + timedelta(days=1)
        await desk.roster.delegate(TENANT, "rita", "otto", None, desk.now, end, "rita")
        page = await otto.shown(f"/console/reviews/{first}")
        assert re.findall(r'<option value="(\w*)"', page) == ["rita"]
        assert leads_to(await otto.decide(first, "approve"))
        await desk.roster.delegate(TENANT, "sara", "otto", "support", desk.now, end, "sara")
        assert re.findall(r'<option value="(\w*)"', await otto.shown(f"/console/reviews/{second}")) == ["rita", "sara"]
        assert leads_to(await otto.decide(second, "approve", on_behalf_of="sara"))
    assert [getattr(signal, "on_behalf_of", None) for signal in desk.judge.signals] == ["rita", "sara"]


async def test_the_requester_decides_nothing(desk: Desk) -> None:
    request_id = await desk.hold()
    async with desk.browser("shop", roles=frozenset({Role.SERVICE, Role.REVIEWER})) as browser:
        page = await browser.shown(f"/console/reviews/{request_id}")
        assert "made this request and may not decide" in page
        review = await desk.reader.review(request_id, TENANT, desk.now)
        assert review is not None
        form = {
            **await browser.token(),
            "decision_id": "own",
            "verdict": "approve",
            "result_sha256": review.proposal.result_sha256,
            "review_version": "1",
        }
        refused = await browser.send(request_id, form)
        assert refused.status_code == 403
    assert desk.judge.signals == []
    (kept,) = await desk.reader.decisions(request_id, TENANT)
    assert kept.status == "unauthorised"


async def test_while_temporal_is_away_a_decision_is_stored_and_told_so(desk: Desk) -> None:
    request_id = await desk.hold()
    desk.judge.up = False
    async with desk.browser("rita") as browser:
        target = leads_to(await browser.decide(request_id, "approve"))
        assert "stored, and takes effect as soon as the request takes it in" in await browser.shown(target)


async def test_news_are_only_of_ones_own_decisions(desk: Desk) -> None:
    request_id = await desk.hold()
    async with desk.browser("rita") as rita, desk.browser("otto") as otto:
        target = leads_to(await rita.decide(request_id, "approve"))
        assert "has been released" in await rita.shown(target)
        assert "has been released" not in await otto.shown(target)
        for query in ("decided=x&decision=y", f"decided={request_id}&decision=%00", "decided=&decision="):
            assert (await rita.get(f"/console/reviews?{query}")).status_code == 200


async def test_earlier_versions_show_what_a_reviewer_changed(desk: Desk) -> None:
    request_id = await desk.hold("We admit liability.", offer={"approvals_needed": 2})
    async with desk.browser("rita") as rita, desk.browser("anna") as anna:
        await rita.decide(request_id, "edit", output="We are sorry.", diff_shown="yes")
        page = await anna.shown(f"/console/reviews/{request_id}")
        assert "What rita changed for version 2" in page
        assert "<del>admit liability</del><ins>are sorry</ins>" in page
        assert "a reviewer&#39;s text, after small" in page


async def test_what_a_check_looked_up_stands_beside_the_attempts(desk: Desk) -> None:
    check = found("x", "citations", "absent").model_copy(update={"check": "external", "rationale": "3 rules exist"})
    request_id = await desk.hold(checks=[check])
    async with desk.browser("rita") as browser:
        page = await browser.shown(f"/console/reviews/{request_id}")
    assert "Sources and look-ups" in page
    assert "3 rules exist" in page


async def test_records_of_the_desk_run_on_without_gaps(desk: Desk) -> None:
    """The stand-in for a Workflow keeps the ledger's rules, or what is tested over it would mean little."""
    request_id = await desk.hold(offer={"approvals_needed": 2})
    async with desk.browser("rita") as rita, desk.browser("otto") as otto:
        await rita.decide(request_id, "approve")
        await otto.decide(request_id, "approve")
    kept = await desk.reader.records(request_id, TENANT)
    assert [record.sequence for record in kept] == list(range(1, len(kept) + 1))
    assert Records(request_id, desk.now).sequence == 0
