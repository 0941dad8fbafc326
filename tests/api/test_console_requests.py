"""A request's own page with operators' orders, the figures, and the page of queues and delegations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.api.console_browser import hidden, leads_to
from tests.api.console_desk import TENANT, Desk, opened


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path) as desk:
        yield desk


async def test_a_request_tells_its_course_and_a_service_nothing_that_is_kept(desk: Desk) -> None:
    request_id = await desk.hold()
    async with desk.browser("rita") as rita, desk.browser("shop") as shop, desk.browser("anna") as anna:
        await rita.decide(request_id, "approve", reason="spotless")
        whole, kept = (
            await anna.shown(f"/console/requests/{request_id}"),
            await shop.shown(f"/console/requests/{request_id}"),
        )
        for page in (whole, kept):
            assert "held for review, version 1" in page
            assert "412 ms" in page
            assert "We admit liability." in page
            assert "Order otherwise" not in page
        assert "spotless" in whole
        assert "spotless" not in kept
        assert "rita" not in kept
        assert leads_to(await shop.get(f"/console/requests?id={request_id}")) == f"/console/requests/{request_id}"
        assert (await shop.get("/console/requests?id=no%20id")).status_code == 404


async def test_an_operator_orders_otherwise_after_confirming(desk: Desk) -> None:
    request_id = await desk.hold()
    path = f"/console/requests/{request_id}"
    async with desk.browser("olaf") as browser:
        form = {
            **hidden(await browser.get(path)),
            "action": "force_safe_output",
            "stage": "",
            "reason": "the model is ill",
        }
        asked = await browser.post(f"{path}/overrides", form)
        assert asked.status_code == 200
        assert "This cannot be taken back." in asked.text
        assert desk.judge.signals == []
        target = leads_to(await browser.post(f"{path}/overrides", hidden(asked)))
        page = await browser.shown(target)
        assert "Send the safe output: done." in page
        assert "safe output: an operator ordered it" in page.lower()
        assert leads_to(await browser.post(f"{path}/overrides", hidden(asked))) == target
    assert [signal.decision_id for signal in desk.judge.signals] == [form["decision_id"]]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"action": "force_safe_output", "reason": " "}, "Reason: "),
        ({"action": "force_model", "stage": ""}, "goes with"),
        ({"action": ""}, "Choose what shall happen."),
        ({"action": "explode"}, "Choose what shall happen."),
    ],
)
async def test_an_order_that_lacks_something_is_told_so(desk: Desk, fields: dict[str, str], problem: str) -> None:
    request_id = await desk.hold()
    path = f"/console/requests/{request_id}"
    async with desk.browser("olaf") as browser:
        form = {**hidden(await browser.get(path)), "stage": "", "reason": "my words", **fields}
        answer = await browser.post(f"{path}/overrides", form)
        assert answer.status_code == 400
        assert problem in answer.text
    assert desk.judge.signals == []


async def test_only_operators_order_otherwise(desk: Desk) -> None:
    request_id = await desk.hold()
    for name in ("rita", "sara", "anna", "shop"):
        async with desk.browser(name) as browser:
            form = {**await browser.token(), "decision_id": "x", "action": "force_safe_output", "reason": "r"}
            answer = await browser.post(f"/console/requests/{request_id}/overrides", {**form, "confirmed": "yes"})
            assert answer.status_code == 403
    assert desk.judge.signals == []


async def test_figures_tell_how_reviewing_goes_and_who_is_hasty(desk: Desk) -> None:
    waiting = await desk.hold(queue="slow", opened=desk.now - timedelta(hours=2))
    done = await desk.hold(opened=desk.now - timedelta(hours=1))
    async with desk.browser("rita") as rita, desk.browser("sara") as sara:
        await rita.shown(f"/console/reviews/{done}")
        await rita.decide(done, "approve")
        page = await sara.shown("/console/figures?days=7")
        assert "1 hasty approval" in page
        assert f"/console/requests/{done}" in page
        assert f"/console/requests/{waiting}" not in page
        assert "/console/reviews?queue=slow" in page
        for days in ("0", "-1", "x", "99999999", "1e3"):
            assert (await sara.get(f"/console/figures?days={days}")).status_code == 200


async def test_operators_keep_the_members_of_queues(desk: Desk) -> None:
    await desk.hold()
    async with desk.browser("olaf") as olaf, desk.browser("rita") as rita:
        token = await olaf.token()
        assert leads_to(await olaf.post("/console/people/members", {**token, "queue": "support", "name": "otto "}))
        assert "Take otto out of support" in await olaf.shown("/console/people")
        assert "Take otto out of support" not in await rita.shown("/console/people")
        denied = await rita.post("/console/people/members", {**await rita.token(), "queue": "support", "name": "rita"})
        assert denied.status_code == 403
        wrong = await olaf.post("/console/people/members", {**token, "queue": "No Queue", "name": "otto"})
        assert wrong.status_code == 400
        assert 'value="No Queue"' in wrong.text
        removal = {**token, "queue": "support", "name": "otto"}
        assert leads_to(await olaf.post("/console/people/members/remove", removal))
        assert (await olaf.post("/console/people/members/remove", removal)).status_code == 404


async def test_reviewers_delegate_their_own_part_and_end_it(desk: Desk) -> None:
    async with desk.browser("rita") as rita, desk.browser("otto") as otto, desk.browser("olaf") as olaf:
        last_day = (desk.now + timedelta(days=3)).date().isoformat()
        form = {"delegate": "otto", "last_day": last_day, "queue": ""}
        assert leads_to(await rita.post("/console/people/delegations", {**await rita.token(), **form}))
        page = await rita.shown("/console/people")
        assert "End the delegation of rita to otto" in page
        assert "End the delegation of rita to otto" not in await otto.shown("/console/people")
        assert "End the delegation of rita to otto" in await olaf.shown("/console/people")
        (made,) = await desk.roster.delegations(TENANT, "rita")
        assert made.ends_at.date() == desk.now.date() + timedelta(days=4)
        ending = {"id": made.id}
        assert (
            await otto.post("/console/people/delegations/revoke", {**await otto.token(), **ending})
        ).status_code == 404
        assert leads_to(await rita.post("/console/people/delegations/revoke", {**await rita.token(), **ending}))
        assert "1 past delegation" in await rita.shown("/console/people")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"last_day": "2020-01-01"}, 400),
        ({"last_day": "soon"}, 400),
        ({"last_day": "9999-12-31"}, 400),
        ({"delegate": "rita"}, 400),
        ({"delegate": ""}, 400),
        ({"delegator": "otto"}, 403),
    ],
)
async def test_an_impossible_delegation_is_told_so(desk: Desk, fields: dict[str, str], status: int) -> None:
    last_day = (desk.now + timedelta(days=3)).date().isoformat()
    async with desk.browser("rita") as rita:
        form = {**await rita.token(), "delegate": "otto", "last_day": last_day, **fields}
        answer = await rita.post("/console/people/delegations", form)
        assert answer.status_code == status
        assert "<h1>" in answer.text
    assert await desk.roster.delegations(TENANT, "rita") == ()
