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
from domain.cascade import (
    Decision,
    Verb,
    best_so_far,
    ceilings_left,
    decide,
    decide_failure,
    decide_input,
    decide_no_candidates,
    edit_objections,
    guardrails_for_edit,
)
from domain.guardrails import Judged
from domain.ledger import Ending, Judgement, RecordKind, ReviewOpening
from domain.progress import Progress
from domain.release import Tally, baseline_cost, release_answer, withhold_answer
from domain.request import WORKFLOW_TYPE, CascadeInput, Outcome, RequestResult, Status
from domain.review import DecisionEnvelope, JudgedDecision, Proposal, ReviewVerdict
from domain.risk import RiskTier
from domain.route import RouteDecision
from domain.stage import Budget, FailureKind, Spent, StageEvidence, StageFailure, StageResult
from workflows.board import Board
from workflows.checks import run_checks
from workflows.hold import HoldDesk, HoldResult, HoldTerms
from workflows.options import ledger_options
from workflows.recorder import Recorder
from workflows.shielded import to_the_end
from workflows.stage_call import attempts_of, call_stage, ceiling_before, stage_task

_WITHHELD = {Verb.REFUSE: Outcome.REFUSED, Verb.FALL_BACK: Outcome.FELL_BACK}


@workflow.defn(name=WORKFLOW_TYPE)
class CascadeWorkflow:
    """One request, from its arrival to a released answer or a safe refusal."""

    @workflow.init
    def __init__(self, request: CascadeInput) -> None:
        self._request = request
        self._policy = request.policy.policy
        self._recorder = Recorder(request.request_id)
        self._desk = HoldDesk(request.request_id, request.tenant, self._recorder)
        self._board = Board()
        self._clock_started = workflow.now()
        self._route: RouteDecision | None = None
        self._flagged: Decision | None = None
        self._position = 0
        self._visits = 0
        self._calling: str | None = None
        self._spent = Spent()
        self._evidence: list[StageEvidence] = []
        self._review_version = 0

    @workflow.run
    async def run(self, request: CascadeInput) -> RequestResult:
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
        """Take in a Signal; ``decide`` carries a reviewer's decision. It is judged later, so that none goes unrecorded.

        Dynamic, because only so nothing is decoded before: a handler with a fixed number of arguments fails the
        Workflow task for ever on a Signal with more, and the SDK drops what it cannot decode.
        """
        self._desk.receive(name, payloads)

    @workflow.query(name="status")
    def status(self) -> Progress:
        """Where the request stands. Holds no content."""
        return self._board.progress

    async def _run(self) -> RequestResult:
        await to_the_end(self._admit())
        decision = self._entry_decision() or await self._climb()
        while True:
            if decision.verb is Verb.ACCEPT:
                return await self._release(Outcome.ACCEPTED, decision.because, self._evidence[-1])
            if decision.verb is not Verb.HOLD:
                return await self._end(self._withhold(_WITHHELD[decision.verb], decision.because))
            result = await self._hold(decision)
            if result is not None:
                return result
            self._position += 1
            self._clock_started = workflow.now()
            decision = await self._climb()

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
        self._route = route
        self._recorder.note(
            RecordKind.ADMITTED,
            f"pinned to policy {self._policy.name} version {request.policy.version}",
            actor=f"requester:{request.requester}",
            data={"body_sha256": request.body.sha256(), "submitted_at": request.submitted_at.isoformat()},
        )
        self._recorder.checks(RecordKind.INPUT_CHECKED, checks)
        self._board.input_checked(checks)
        self._flagged = decide_input(self._policy.guardrails.input, checks)
        entry = self._policy.stages[route.path[0]].name if route.path else "nowhere"
        self._recorder.note(
            RecordKind.ROUTED,
            f"enters at {entry}: {route.entry_because}; risk {route.risk}: {'; '.join(route.risk_because)}",
            data=route.model_dump(mode="json"),
        )

    def _entry_decision(self) -> Decision | None:
        """What is decided before any model is asked; None to go on."""
        decision: Decision | None = None
        if self._flagged is not None and self._flagged.verb is Verb.REFUSE:
            decision = self._flagged
        elif not self._routed.path:
            decision = decide_no_candidates(self._policy, self._routed.considered)
        if decision is not None:
            self._recorder.decision(decision)
        return decision

    async def _climb(self) -> Decision:
        """Call stage after stage until something else than escalate is decided."""
        while True:
            decision = await self._visit(self._routed.path[self._position])
            self._recorder.decision(decision)
            if decision.verb is not Verb.ESCALATE:
                return decision
            self._position += 1

    async def _visit(self, index: int) -> Decision:
        """Call one stage, judge its answer and decide."""
        stage = self._policy.stages[index]
        self._board.doing(f"asking {stage.model}")
        result = await self._call(index)
        self._spent = self._spent.plus(result.attempts)
        following = self._following()
        next_stage = None if following is None else self._policy.stages[following].name
        if isinstance(result, StageFailure):
            self._recorder.failure(stage.name, stage.model, result)
            self._board.stage_ended(stage.name, stage.model, self._spent, failure=result.message)
            return decide_failure(self._policy, result, next_stage, self._ceiling(following))
        self._board.doing(f"checking the answer of {stage.model}")
        judged = result.answer.judged(self._request.body.input_text())
        checks = await run_checks(
            self._request.request_id, stage.name, self._policy.guardrails.output, judged, f"answer of {stage.name}"
        )
        evidence = StageEvidence(
            stage_index=index, stage=stage.name, model=stage.model, answer=result.answer, checks=checks
        )
        self._evidence.append(evidence)
        self._recorder.answer(evidence, result.attempts)
        self._board.stage_ended(stage.name, stage.model, self._spent, checks)
        return decide(
            self._policy,
            checks,
            self._routed.risk,
            self._flagged,
            next_stage,
            self._ceiling(following),
            result.answer.unusable(),
        )

    async def _call(self, index: int) -> StageResult | StageFailure:
        ceiling = self._ceiling(index)
        if ceiling is not None:
            return StageFailure(kind=FailureKind.CEILING, message=ceiling)
        self._visits += 1
        task = stage_task(self._request, index, self._visits, self._budget())
        self._calling = task.call_key
        result = await call_stage(task)
        self._calling = None
        return result

    async def _hold(self, decision: Decision) -> RequestResult | None:
        """Wait for a person. The result if the request ends with it, or None if a reviewer sent it on."""
        shown = best_so_far(self._evidence) if decision.exhausted else self._evidence[-1]
        self._review_version += 1
        proposal = Proposal.of(
            shown.answer.text if shown else "", self._review_version, shown.stage_index if shown else None
        )
        terms = HoldTerms(
            proposal=proposal,
            may_escalate=self._may_escalate(),
            expires_at=workflow.now() + self._policy.hold.expires_after,
        )
        await to_the_end(self._open_review(decision, terms, shown))
        held = await self._desk.wait(self._policy.hold, terms, self._edit_objections, self._commit_judged)
        return await self._settle(held, proposal, shown)

    async def _settle(self, held: HoldResult, proposal: Proposal, shown: StageEvidence | None) -> RequestResult | None:
        applied = held.applied
        if applied is None:
            return await self._end(
                self._withhold(Outcome.EXPIRED, "nobody decided before the hold expired"), held.judged
            )
        reason = f"{applied.reviewer}: {applied.verdict}" + (f", {applied.reason}" if applied.reason else "")
        match applied.verdict:
            case ReviewVerdict.ESCALATE:
                self._board.resumed()
                await to_the_end(self._judge(held.judged, Status.RUNNING))
                return None
            case ReviewVerdict.REJECT:
                return await self._end(self._withhold(Outcome.REJECTED, reason), held.judged, applied)
            case ReviewVerdict.EDIT:
                text, outcome = applied.output or "", Outcome.EDITED
            case _:
                text, outcome = proposal.text, Outcome.APPROVED
        return await self._release(outcome, reason, shown, text, held.judged, applied)

    async def _open_review(self, decision: Decision, terms: HoldTerms, shown: StageEvidence | None) -> None:
        request, route = self._request, self._routed
        self._recorder.note(
            RecordKind.HELD,
            decision.because,
            data={
                "rule": decision.rule,
                "review_version": terms.proposal.review_version,
                "result_sha256": terms.proposal.result_sha256,
                "expires_at": terms.expires_at.isoformat(),
            },
        )
        self._board.held(decision.because, terms.proposal.review_version, terms.expires_at, route.risk)
        opening = ReviewOpening(
            request_id=request.request_id,
            tenant=request.tenant,
            requester=request.requester,
            subject=request.body.subject,
            policy=self._policy.name,
            policy_version=request.policy.version,
            queue=self._policy.hold.queue,
            risk=route.risk,
            why=decision.because,
            rule=decision.rule,
            proposal=terms.proposal,
            may_escalate=terms.may_escalate,
            opened_at=workflow.now(),
            expires_at=terms.expires_at,
            spent=self._spent,
            baseline_cost_usd=baseline_cost(request, self._tally(), shown),
            stages_attempted=self._visits,
            records=self._recorder.take(),
        )
        await workflow.execute_activity_method(
            LedgerActivities.open_review, opening, **ledger_options(f"hold: {decision.rule}")
        )

    async def _edit_objections(self, text: str) -> str | None:
        guardrails = guardrails_for_edit(self._policy)
        judged = Judged(text=text, by_model=False, input_text=self._request.body.input_text())
        checks = await run_checks(self._request.request_id, None, guardrails, judged, "edited text")
        self._recorder.checks(RecordKind.EDIT_CHECKED, checks)
        return edit_objections(self._policy, checks)

    async def _commit_judged(self, judged: tuple[JudgedDecision, ...]) -> None:
        await to_the_end(self._judge(judged, Status.HELD))

    async def _judge(self, judged: tuple[JudgedDecision, ...], status: Status) -> None:
        judgement = Judgement(
            request_id=self._request.request_id, decisions=judged, records=self._recorder.take(), status=status
        )
        await workflow.execute_activity_method(
            LedgerActivities.judge_decisions, judgement, **ledger_options("record decisions")
        )

    async def _release(
        self,
        outcome: Outcome,
        reason: str,
        evidence: StageEvidence | None,
        text: str | None = None,
        judged: tuple[JudgedDecision, ...] = (),
        winner: DecisionEnvelope | None = None,
    ) -> RequestResult:
        answer = text if text is not None else evidence.answer.text if evidence else ""
        result = release_answer(self._request, self._tally(), outcome, reason, answer, evidence)
        return await self._end(result, judged, winner)

    def _withhold(self, outcome: Outcome, reason: str) -> RequestResult:
        return withhold_answer(self._request, self._tally(), outcome, reason)

    async def _cancelled(self) -> None:
        if self._calling is not None:
            self._spent = self._spent.plus(await attempts_of(self._calling))
        await self._end(self._withhold(Outcome.CANCELLED, workflow.cancellation_reason() or "cancelled"))

    async def _end(
        self,
        result: RequestResult,
        judged: tuple[JudgedDecision, ...] = (),
        winner: DecisionEnvelope | None = None,
    ) -> RequestResult:
        return await to_the_end(self._commit_end(result, judged, winner), then_cancel=False)

    async def _commit_end(
        self, result: RequestResult, judged: tuple[JudgedDecision, ...], winner: DecisionEnvelope | None
    ) -> RequestResult:
        """Commit the end, and after it whatever decision still arrives, until nothing more does."""
        result = result.model_copy(update={"ended_at": workflow.now()})
        self._recorder.note(
            RecordKind.ENDED,
            result.reason,
            model=result.model,
            served=result.model_version_served,
            data=result.model_dump(mode="json", exclude={"output", "reason"}),
        )
        self._board.ended(result.status, result.reason)
        ending = Ending(result=result, ended_at=workflow.now(), decisions=judged, records=self._recorder.take())
        await workflow.execute_activity_method(
            LedgerActivities.end_request, ending, **ledger_options(f"commit: {result.outcome}")
        )
        while self._desk.waiting:
            await self._judge(await self._desk.turn_away(winner), result.status)
        return result

    @property
    def _routed(self) -> RouteDecision:
        if self._route is None:
            raise RuntimeError("used before routing")
        return self._route

    def _following(self) -> int | None:
        path = self._routed.path
        return path[self._position + 1] if self._position + 1 < len(path) else None

    def _budget(self) -> Budget:
        return ceilings_left(self._policy, self._request.body.constraints, self._spent, self._clock_started)

    def _ceiling(self, index: int | None) -> str | None:
        return None if index is None else ceiling_before(self._request, index, self._budget(), workflow.now())

    def _may_escalate(self) -> bool:
        """Whether a reviewer may ask the next stage. Its time starts anew then, so only the other ceilings count."""
        following = self._following()
        if following is None:
            return False
        budget = ceilings_left(self._policy, self._request.body.constraints, self._spent, workflow.now())
        return ceiling_before(self._request, following, budget, workflow.now()) is None

    def _tally(self) -> Tally:
        risk = self._route.risk if self._route else RiskTier.LOW
        return Tally(risk=risk, spent=self._spent, stages_attempted=self._visits, evidence=tuple(self._evidence))
