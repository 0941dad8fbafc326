"""The course of one request: which stage comes next, what may still be spent, and what a stage is told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from temporalio import workflow

from domain.carried import Journey
from domain.cascade import Decision, Verb, ceilings_left
from domain.override import OverrideEnvelope
from domain.release import Tally
from domain.request import CascadeInput, Message
from domain.risk import RiskTier
from domain.route import RouteDecision
from domain.stage import Attempt, Budget, StageEvidence, StageTask
from workflows.stage_call import ceiling_before, stage_task


class Course:
    """Keeps the journey of a request and answers what it leads to."""

    def __init__(self, request: CascadeInput, journey: Journey) -> None:
        self.journey = journey
        self._request = request
        self._policy = request.policy.policy
        self._clock_started = workflow.now()
        self._further: tuple[Message, ...] = ()
        self._to_review = False

    def change(self, **changes: Any) -> None:
        """Note how far the request has come."""
        self.journey = self.journey.model_copy(update=changes)

    @property
    def route(self) -> RouteDecision:
        """Where the request was routed to."""
        if self.journey.route is None:
            raise RuntimeError("used before routing")
        return self.journey.route

    def restart_clock(self) -> None:
        """Count the time anew: a person sent the request on."""
        self._clock_started = workflow.now()

    def go_to(self, index: int, further: tuple[Message, ...] = (), *, to_review: bool = False) -> None:
        """Make this the next stage; ``further`` turns are put behind the conversation, for this one call.

        With ``to_review`` its answer goes to a person, whatever the policy says of it.
        """
        self._further = further
        self._to_review = to_review
        self.change(at=index)

    def force(self, order: OverrideEnvelope) -> None:
        """Make the stage that an operator ordered the next one."""
        self.restart_clock()
        self.go_to(self._policy.stage_index(order.stage or ""))

    def spend(self, attempts: tuple[Attempt, ...]) -> None:
        """Count attempts."""
        self.change(spent=self.journey.spent.plus(attempts))

    def keep(self, evidence: StageEvidence) -> None:
        """Add an answer with its checks."""
        self.change(evidence=(*self.journey.evidence, evidence))

    def next_task(self) -> StageTask:
        """The argument for calling the stage the request is at. Counts as a visit."""
        self.change(visits=self.journey.visits + 1)
        further, self._further = self._further, ()
        return stage_task(self._request, self.journey.at, self.journey.visits, self._budget(), further)

    def following(self) -> int | None:
        """Index of the stage to escalate to; None if there is none."""
        return next((index for index in self.route.path if index > self.journey.at), None)

    def stage_name(self, index: int | None) -> str | None:
        """What the stage at ``index`` is called."""
        return None if index is None else self._policy.stages[index].name

    def ceiling(self, index: int | None) -> str | None:
        """Why the stage at ``index`` must not be called now; None if it may."""
        return None if index is None else ceiling_before(self._request, index, self._budget(), workflow.now())

    def may_ask(self, index: int | None) -> bool:
        """Whether a person may have this stage asked. Its time starts anew then, so only the other ceilings count."""
        if index is None:
            return False
        budget = self._budget(workflow.now())
        return ceiling_before(self._request, index, budget, workflow.now()) is None

    def insist(self, decision: Decision) -> Decision:
        """``decision``, or that a person must see the answer first where somebody has insisted on it.

        An answer that is doubtful is improved before, as everywhere, unless a person asked for this very one.
        """
        insisted = self.journey.insisted
        if insisted is None or (decision.verb is Verb.ESCALATE and not self._to_review):
            return decision
        return insisted.model_copy(
            update={"because": f"{insisted.because}; {decision.because}", "exhausted": decision.exhausted}
        )

    def tally(self) -> Tally:
        """What the request took so far."""
        journey = self.journey
        risk = journey.route.risk if journey.route else RiskTier.LOW
        return Tally(risk=risk, spent=journey.spent, stages_attempted=journey.visits, evidence=journey.evidence)

    def _budget(self, since: datetime | None = None) -> Budget:
        demands = self._request.body.constraints
        return ceilings_left(self._policy, demands, self.journey.spent, since or self._clock_started)
