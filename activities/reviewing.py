"""What the Workflow of a held request asks beside it: whose order this is, and when a hold's deadlines fall."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from temporalio import activity

from domain.ladder import HoldPlan, PlanTask, plan_hold
from domain.override import OverrideEnvelope
from domain.ports import DecisionAuthority
from domain.review import DecisionCheck


class ReviewActivities:
    """Verifies orders of people and plans holds. One instance a worker. All of these run as local Activities.

    **Correctness:** all of them only read. What they found is recorded in the history, so that a replay follows it,
    whatever keys, roster and time zones say by then.
    """

    def __init__(self, authority: DecisionAuthority) -> None:
        self._authority = authority

    @activity.defn(name="verify_decision")
    async def verify_decision(self, check: DecisionCheck) -> str | None:
        """Why a reviewer's decision may not be applied, by signature or by rights; None if it may."""
        return await self._authority.problem(check)

    @activity.defn(name="verify_override")
    async def verify_override(self, envelope: OverrideEnvelope) -> str | None:
        """Why an operator's order may not be applied; None if it may."""
        return await self._authority.override_problem(envelope)

    @activity.defn(name="plan_hold")
    async def plan_hold(self, task: PlanTask) -> HoldPlan:
        """When the rungs of a hold are due and when it expires, counted in its business hours."""
        hours = task.hold.hours
        return plan_hold(task, None if hours is None else ZoneInfo(hours.timezone))
