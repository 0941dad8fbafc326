"""The golden paths of reviews: quorums, revisions, senior queues, ladders, orders of operators, carried holds."""

from __future__ import annotations

from typing import Any

from domain.override import OverrideAction
from domain.request import Outcome
from domain.review import ReviewVerdict
from tests.examples import POLICY, snapshot
from tests.replay.paths import HIGH, PATHS, path
from tests.replay.rig import Rig
from workflows.hold import CARRY_AT

__all__ = ["PATHS"]


def held(**hold: Any) -> dict[str, Any]:
    """A risky request under a hold with these settings."""
    return {"policy": snapshot(hold={**POLICY["hold"], **hold}), "constraints": HIGH}


@path
async def quorum_completed(rig: Rig) -> None:
    async with rig.working():
        await rig.start(**held(quorum={"high": 2}))
        await rig.decide(ReviewVerdict.APPROVE, reviewer="rita")
        await rig.judged(1)
        await rig.decide(ReviewVerdict.APPROVE, reviewer="rita")
        await rig.decide(ReviewVerdict.APPROVE, reviewer="otto")
        await rig.ends(Outcome.APPROVED, "counted", "inapplicable", "applied")


@path
async def quorum_edited_then_approved(rig: Rig) -> None:
    async with rig.working():
        await rig.start(**held(quorum={"high": 2}))
        await rig.decide(ReviewVerdict.EDIT, reviewer="rita", output="A better answer.")
        await rig.decide(ReviewVerdict.APPROVE, version=2, reviewer="otto")
        await rig.ends(Outcome.EDITED, "counted", "applied")


@path
async def edit_overrules_a_check(rig: Rig) -> None:
    async with rig.working():
        await rig.start(**held(overrule=["terms"]))
        await rig.decide(ReviewVerdict.EDIT, output="There is no guaranteed return.", overrule=["terms"])
        await rig.ends(Outcome.EDITED, "applied")


@path
async def revised_then_approved(rig: Rig) -> None:
    async with rig.working():
        await rig.start(**held(revisions=1))
        await rig.decide(ReviewVerdict.REVISE, instruction="Shorter.")
        await rig.decide(ReviewVerdict.APPROVE, version=2)
        await rig.ends(Outcome.APPROVED, "applied", "applied")


@path
async def raised_to_a_senior_queue(rig: Rig) -> None:
    rig.authority.seniors.add("sven")
    async with rig.working():
        await rig.start(**held(senior_queues=["legal"]))
        await rig.decide(ReviewVerdict.ESCALATE, queue="legal")
        await rig.judged(1)
        await rig.decide(ReviewVerdict.APPROVE, reviewer="rita")
        await rig.decide(ReviewVerdict.APPROVE, reviewer="sven")
        await rig.ends(Outcome.APPROVED, "applied", "unauthorised", "applied")


@path
async def ladder_climbed_then_expired(rig: Rig) -> None:
    ladder = [
        {"after": "1s", "do": "notify", "channels": ["lead"]},
        {"after": "2s", "do": "reassign", "queue": "backup"},
        {"after": "3s", "do": "escalate"},
    ]
    async with rig.working():
        await rig.start(**held(ladder=ladder, channels=["team"], expires_after="4s", remind_after=None), webhook="shop")
        await rig.ends(Outcome.EXPIRED)


@path
async def planned_in_business_hours(rig: Rig) -> None:
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    hours = {"timezone": "UTC", "days": days, "opens": "00:00", "closes": "23:59:59"}
    async with rig.working():
        await rig.start(**held(hours=hours))
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ends(Outcome.APPROVED, "applied")


@path
async def safe_output_ordered_in_a_stage(rig: Rig) -> None:
    rig.provider.silent.add("small")
    async with rig.working():
        await rig.start()
        await rig.provider.called.wait()
        await rig.order(OverrideAction.FORCE_SAFE_OUTPUT)
        await rig.ends(Outcome.OVERRIDDEN)


@path
async def model_ordered_in_a_stage(rig: Rig) -> None:
    rig.provider.silent.add("small")
    async with rig.working():
        await rig.start()
        await rig.provider.called.wait()
        await rig.order(OverrideAction.FORCE_MODEL, stage="large")
        await rig.ends(Outcome.ACCEPTED)


@path
async def review_ordered_before_the_answer(rig: Rig) -> None:
    rig.provider.silent.add("small")
    async with rig.working():
        await rig.start()
        await rig.provider.called.wait()
        await rig.order(OverrideAction.FORCE_REVIEW)
        await rig.order(OverrideAction.FORCE_MODEL, stage="large")
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ends(Outcome.APPROVED, "applied")


@path
async def orders_in_a_hold(rig: Rig) -> None:
    async with rig.working():
        await rig.start(**held())
        await rig.review()
        await rig.order(OverrideAction.FORCE_MODEL, stage="large")
        await rig.review(2)
        await rig.order(OverrideAction.FORCE_SAFE_OUTPUT)
        await rig.ends(Outcome.OVERRIDDEN)


@path
async def carried_on(rig: Rig) -> None:
    """The first of two runs: so many Signals that the request goes on in another."""
    await _carried(rig)
    rig.captured_run = rig.first_run


@path
async def carried_then_approved(rig: Rig) -> None:
    """The second of two runs."""
    await _carried(rig)


async def _carried(rig: Rig) -> None:
    async with rig.working():
        await rig.start(**held(channels=["team"]))
        await rig.review()
        rig.first_run = (await rig.handle.describe()).run_id
        count = 0
        while (await rig.handle.describe()).run_id == rig.first_run:
            await rig.decide(ReviewVerdict.REJECT, decision_id=f"stale-{count}", result_sha256="0" * 64)
            count += 1
            await rig.judged(count)
            if count > CARRY_AT:
                raise AssertionError("the request stays in its first run")
        await rig.decide(ReviewVerdict.APPROVE)
        await rig.ends(Outcome.APPROVED, *["stale"] * count, "applied")
