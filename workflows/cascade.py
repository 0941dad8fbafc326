"""The Workflow of one request: check and route, call stages, judge answers, hold, commit, release.

The order of things and nothing else. What a step does stands in ``activities/``, what follows from its result in
``domain/``. Nothing leaves before the ledger has committed the end of the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import is_cancelled_exception

from activities.ledger import LedgerActivities
from activities.routing import RoutingActivities
from domain.carried import CarriedRequest, Journey
from domain.cascade import (
    Decision,
    Verb,
    decide,
    decide_failure,
    decide_input,
    decide_no_candidates,
)
from domain.guardrails import Judged
from domain.ledger import Ending, RecordKind
from domain.override import OVERRIDE_SIGNAL, OverrideAction, OverrideEnvelope
from domain.progress import Progress
from domain.release import release_answer, withhold_answer
from domain.request import WORKFLOW_TYPE, Outcome, RequestResult
from domain.stage import FailureKind, StageEvidence, StageFailure, StageResult
from workflows.arrivals import Arrival
from workflows.board import Board
from workflows.checks import run_checks
from workflows.course import Course
from workflows.hold import HoldDesk
from workflows.options import ledger_options
from workflows.orders import OrderDesk
from workflows.recorder import Recorder
from workflows.reviewing import Finish, Reviewing
from workflows.shielded import to_the_end
from workflows.stage_call import attempts_of, call_stage
from workflows.telling import Teller

_WITHHELD = {Verb.REFUSE: Outcome.REFUSED, Verb.FALL_BACK: Outcome.FELL_BACK}


@workflow.defn(name=WORKFLOW_TYPE)
class CascadeWorkflow:
    """One request, from its arrival to a released answer or a safe refusal."""

    @workflow.init
    def __init__(self, request: CarriedRequest) -> None:
        carried = request.carried
        seen = set(carried.seen) if carried else set()
        self._request = request
        self._policy = request.policy.policy
        self._recorder = Recorder(request.request_id, carried.sequence if carried else 0)
        self._board = Board(carried.progress if carried else None)
        self._course = Course(request, carried.journey if carried else Journey())
        self._orders = OrderDesk(request, self._recorder, seen)
        self._desk = HoldDesk(request.request_id, request.tenant, self._recorder, self._orders, seen)
        self._teller = Teller(request, self._course, self._recorder, carried.held if carried else None)
        self._reviewing = Reviewing(
            request, self._course, self._recorder, self._board, self._desk, self._orders, self._teller
        )
        self._calling: str | None = None
        self._ending = False

    @workflow.run
    async def run(self, request: CarriedRequest) -> RequestResult:
        """Run the request to its end. Raises when it was cancelled, after that was recorded."""
        try:
            return await self._run()
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            await to_the_end(self._cancelled(), then_cancel=False)
            raise

    @workflow.signal(dynamic=True)
    def receive(self, name: str, payloads: Sequence[RawValue]) -> None:
        """Take in a Signal: ``decide`` carries a reviewer's decision, ``override`` an operator's order.

        It is judged later, so that none goes unrecorded. Dynamic, because only so nothing is decoded before: a handler
        with a fixed number of arguments fails the Workflow task for ever on a Signal with more, and the SDK drops what
        it cannot decode.
        """
        arrival = Arrival(name, tuple(payloads), after_end=self._ending)
        desk = self._orders if name == OVERRIDE_SIGNAL else self._desk
        desk.receive(arrival)

    @workflow.query(name="status")
    def status(self) -> Progress:
        """Where the request stands. Holds no content."""
        return self._board.progress

    async def _run(self) -> RequestResult:
        if self._request.carried is not None:
            finish = await self._reviewing.resume(self._request.carried.held)
        else:
            await to_the_end(self._admit())
            finish = await self._follow(await self._enter())
        while finish is None:
            finish = await self._follow(await self._climb())
        return await self._end(finish)

    async def _follow(self, step: Decision | OverrideEnvelope) -> Finish | None:
        """Do what was decided; None if a person sent the request on."""
        if isinstance(step, OverrideEnvelope):
            return self._reviewing.safe_output(step)
        tally = self._course.tally()
        if step.verb is Verb.ACCEPT:
            evidence = tally.evidence[-1]
            answer = evidence.answer.text
            return Finish(release_answer(self._request, tally, Outcome.ACCEPTED, step.because, answer, evidence))
        if step.verb is not Verb.HOLD:
            return Finish(withhold_answer(self._request, tally, _WITHHELD[step.verb], step.because))
        return await self._reviewing.hold(step)

    async def _admit(self) -> None:
        """Check the input and route the request, at the same time."""
        self._board.doing("checking the input and routing")
        request = self._request
        judged = Judged(text=request.body.input_text(), by_model=False)
        routing = workflow.execute_activity_method(
            RoutingActivities.route, request, **ledger_options(f"route by {self._policy.name}")
        )
        route, checks = await asyncio.gather(
            routing, run_checks(request.request_id, None, self._policy.guardrails.input, judged, "input")
        )
        flagged = decide_input(self._policy.guardrails.input, checks)
        self._course.change(route=route, flagged=flagged, at=route.path[0] if route.path else 0)
        self._recorder.note(
            RecordKind.ADMITTED,
            f"pinned to policy {self._policy.name} version {request.policy.version}",
            actor=f"requester:{request.requester}",
            data={"body_sha256": request.body.sha256(), "submitted_at": request.submitted_at.isoformat()},
        )
        self._recorder.checks(RecordKind.INPUT_CHECKED, checks)
        self._board.input_checked(checks)
        entry = self._policy.stages[route.path[0]].name if route.path else "nowhere"
        self._recorder.note(
            RecordKind.ROUTED,
            f"enters at {entry}: {route.entry_because}; risk {route.risk}: {'; '.join(route.risk_because)}",
            data=route.model_dump(mode="json"),
        )

    async def _enter(self) -> Decision | OverrideEnvelope:
        """What is decided before any model is asked, or else by the first answers.

        An order to ask a certain model opens a way where routing found none, but not past an input check that refuses.
        """
        order = await self._heed()
        if order is not None and order.action is OverrideAction.FORCE_SAFE_OUTPUT:
            return order
        journey, decision = self._course.journey, None
        if journey.flagged is not None and journey.flagged.verb is Verb.REFUSE:
            decision = journey.flagged
        elif not self._course.route.path and order is None:
            decision = decide_no_candidates(self._policy, self._course.route.considered)
        if decision is None:
            return await self._climb()
        decision = self._course.insist(decision)
        self._recorder.decision(decision)
        return decision

    async def _climb(self) -> Decision | OverrideEnvelope:
        """Call stage after stage until something else than escalate is decided, or an operator ends it."""
        while True:
            step = await self._heed() or await self._visit()
            step = await self._heed() or step  # an order that came while the answer was checked
            if isinstance(step, OverrideEnvelope):
                if step.action is OverrideAction.FORCE_SAFE_OUTPUT:
                    return step
                continue
            step = self._course.insist(step)
            self._recorder.decision(step)
            if step.verb is not Verb.ESCALATE:
                return step
            following = self._course.following()
            if following is None:
                raise RuntimeError("escalated where no stage is left; decide() names the next one")
            self._course.go_to(following)

    async def _heed(self) -> OverrideEnvelope | None:
        """Judge operators' orders; the one, if any, that has the request go another way at once."""
        while self._orders.waiting:
            order = await self._orders.judge()
            if order is not None and order.action is OverrideAction.FORCE_SAFE_OUTPUT:
                return order
            if order is not None and order.action is OverrideAction.FORCE_REVIEW:
                because = f"an operator ordered a review: {order.reason}"
                self._course.change(insisted=Decision(verb=Verb.HOLD, because=because, rule="override"))
            forced = order is not None and order.action is OverrideAction.FORCE_MODEL
            if order is not None and forced:
                self._course.force(order)
            await self._reviewing.record_orders()
            if forced:
                return order
        return None

    async def _visit(self) -> Decision | OverrideEnvelope:
        """Call the stage the request is at, judge its answer and decide; or the order that cut the call short."""
        index = self._course.journey.at
        stage = self._policy.stages[index]
        self._board.doing(f"asking {stage.model}")
        result = await self._call()
        if isinstance(result, OverrideEnvelope):
            return result
        self._course.spend(result.attempts)
        following = self._course.following()
        next_stage = self._course.stage_name(following)
        if isinstance(result, StageFailure):
            self._recorder.failure(stage.name, stage.model, result)
            self._board.stage_ended(stage.name, stage.model, self._course.journey.spent, failure=result.message)
            return decide_failure(self._policy, result, next_stage, self._course.ceiling(following))
        self._board.doing(f"checking the answer of {stage.model}")
        judged = result.answer.judged(self._request.body.input_text())
        checks = await run_checks(
            self._request.request_id, stage.name, self._policy.guardrails.output, judged, f"answer of {stage.name}"
        )
        evidence = StageEvidence(
            stage_index=index, stage=stage.name, model=stage.model, answer=result.answer, checks=checks
        )
        self._course.keep(evidence)
        self._recorder.answer(evidence, result.attempts)
        self._board.stage_ended(stage.name, stage.model, self._course.journey.spent, checks)
        return decide(
            self._policy,
            checks,
            self._course.route.risk,
            self._course.journey.flagged,
            next_stage,
            self._course.ceiling(following),
            result.answer.unusable(),
        )

    async def _call(self) -> StageResult | StageFailure | OverrideEnvelope:
        """Call the stage. An operator's order that needs no answer any more cuts the call short."""
        ceiling = self._course.ceiling(self._course.journey.at)
        if ceiling is not None:
            return StageFailure(kind=FailureKind.CEILING, message=ceiling)
        task = self._course.next_task()
        self._calling = task.call_key
        call = asyncio.create_task(call_stage(task))
        try:
            while not call.done():
                await workflow.wait_condition(lambda: call.done() or self._orders.waiting)
                order = None if call.done() else await self._heed()
                if order is not None:
                    await _stop(call)
                    self._course.spend(await attempts_of(task.call_key))
                    self._calling = None
                    return order
        except asyncio.CancelledError:
            await _stop(call)
            raise
        self._calling = None
        return call.result()

    async def _cancelled(self) -> None:
        if self._calling is not None:
            self._course.spend(await attempts_of(self._calling))
        reason = workflow.cancellation_reason() or "cancelled"
        await self._end(Finish(withhold_answer(self._request, self._course.tally(), Outcome.CANCELLED, reason)))

    async def _end(self, finish: Finish) -> RequestResult:
        return await to_the_end(self._commit_end(finish), then_cancel=False)

    async def _commit_end(self, finish: Finish) -> RequestResult:
        """Commit the end, and after it whatever still arrives, until nothing more does."""
        self._ending = True
        result = finish.result.model_copy(update={"ended_at": workflow.now()})
        self._recorder.note(
            RecordKind.ENDED,
            result.reason,
            model=result.model,
            served=result.model_version_served,
            data=result.model_dump(mode="json", exclude={"output", "reason"}),
        )
        self._teller.ended(result)
        self._board.ended(result.status, result.reason)
        ending = Ending(
            result=result,
            ended_at=workflow.now(),
            decisions=finish.judged,
            overrides=self._orders.take(),
            records=self._recorder.take(),
        )
        await workflow.execute_activity_method(
            LedgerActivities.end_request, ending, **ledger_options(f"commit: {result.outcome}")
        )
        await self._teller.send()
        while self._desk.waiting or self._orders.waiting:
            await self._reviewing.judge_late(result.status, finish.because)
        return result


async def _stop(call: asyncio.Task[StageResult | StageFailure]) -> None:
    """Cancel a call and wait until it is gone; its attempts are in the journal."""
    call.cancel()
    await workflow.wait([call])
    if not call.cancelled():
        call.exception()
