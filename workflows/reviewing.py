"""The review of one request: opens it, keeps it while it is held, and turns its end into what happens next."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import workflow

from activities.ledger import LedgerActivities
from activities.reviewing import ReviewActivities
from domain.carried import LARGEST, Carried, CarriedRequest, HeldState
from domain.cascade import Decision, Verb, best_so_far, edit_objections, guardrails_for_edit
from domain.guardrails import Judged
from domain.ladder import HoldPlan, PlanTask, plan_hold
from domain.ledger import Judgement, RecordKind, ReviewMove
from domain.notice import NoticeEvent
from domain.override import OverrideAction, OverrideEnvelope
from domain.release import release_answer, withhold_answer
from domain.request import Message, Outcome, RequestResult, Status
from domain.review import (
    DecisionEnvelope,
    JudgedDecision,
    Proposal,
    ReviewVerdict,
    approval_of,
)
from workflows.board import Board
from workflows.checks import run_checks
from workflows.course import Course
from workflows.hold import HoldDesk, HoldResult
from workflows.opening import review_opening, review_terms
from workflows.options import BESIDE_THE_WORKFLOW, ledger_options
from workflows.orders import OrderDesk
from workflows.recorder import Recorder
from workflows.shielded import to_the_end
from workflows.telling import Teller

_SEEN_AGAIN = Decision(
    verb=Verb.HOLD, because="a reviewer asked for this revision, so a reviewer sees it", rule="hold.revisions"
)
_BY_A_REVIEWER = {
    ReviewVerdict.APPROVE: "approved by a reviewer",
    ReviewVerdict.EDIT: "a reviewer's own text",
    ReviewVerdict.REJECT: "rejected by a reviewer",
}


@dataclass(frozen=True)
class Finish:
    """With what a request ends, and the decisions that its last commit has to settle.

    ``because`` says to whoever decided too late what came before; None where nobody had decided.
    """

    result: RequestResult
    judged: tuple[JudgedDecision, ...] = ()
    because: str | None = None


class Reviewing:
    """Keeps the review of one request. Implements ``workflows.hold.HoldRoom``."""

    def __init__(
        self,
        request: CarriedRequest,
        course: Course,
        recorder: Recorder,
        board: Board,
        desk: HoldDesk,
        orders: OrderDesk,
        teller: Teller,
    ) -> None:
        self._request = request
        self._policy = request.policy.policy
        self._course = course
        self._recorder = recorder
        self._board = board
        self._desk = desk
        self._orders = orders
        self._teller = teller

    async def hold(self, decision: Decision) -> Finish | None:
        """Open a review and wait. What the request ends with, or None if a person sent it on."""
        evidence = self._course.journey.evidence
        shown = evidence[-1] if evidence and not decision.exhausted else best_so_far(evidence)
        plan = await self._plan()
        proposal = Proposal.of(
            shown.answer.text if shown else "",
            self._course.journey.review_version + 1,
            shown.stage_index if shown else None,
        )
        held = HeldState(terms=review_terms(self._request, self._course, proposal, plan), shown=shown)
        await to_the_end(self._open(held, decision, clamped=plan.clamped))
        return await self.resume(held)

    async def resume(self, held: HeldState) -> Finish | None:
        """Wait for the end of a hold that is open; see ``hold``."""
        while True:
            held, result = await self._desk.wait(held, self)
            if result.applied is None or not result.counted:
                return await self._settle(held, result)
            held = await self._reopen(held, result.applied, result.judged)

    async def edit_objections(self, text: str, overruled: tuple[str, ...]) -> str | None:
        """Run the guardrails over an edited text; why it may not be let out, or None."""
        guardrails = guardrails_for_edit(self._policy)
        judged = Judged(text=text, by_model=False, input_text=self._request.body.input_text())
        checks = await run_checks(self._request.request_id, None, guardrails, judged, "edited text")
        self._recorder.checks(RecordKind.EDIT_CHECKED, checks)
        return edit_objections(self._policy, checks, overruled)

    async def commit(self, judged: tuple[JudgedDecision, ...], held: HeldState, moved: ReviewMove | None) -> None:
        """Record what happened while the hold goes on, and notify whom ``tell`` named."""
        await to_the_end(self._judge(judged, Status.HELD, moved, len(held.approvals)))

    def tell(self, event: NoticeEvent, channels: tuple[str, ...]) -> None:
        """Have people notified with the next commit; ``channels`` are the hold's own where empty."""
        self._teller.review(event, channels)

    def carry(self, held: HeldState) -> None:
        """Go on in a new run. Returns where what would be carried is too large for Temporal: then in this one."""
        carried = Carried(
            journey=self._course.journey.abridged(),
            held=held,
            progress=self._board.progress,
            sequence=self._recorder.sequence,
            seen=self._desk.seen,
        )
        request = self._request.model_copy(update={"carried": carried})
        if len(request.model_dump_json().encode("utf-8")) <= LARGEST:
            workflow.continue_as_new(request)

    async def _plan(self) -> HoldPlan:
        hold, asked = self._policy.hold, self._request.body.constraints.max_hold
        task = PlanTask(hold=hold, opened_at=workflow.now(), asked=asked)
        if hold.hours is None:
            return plan_hold(task, None)
        return await workflow.execute_local_activity_method(ReviewActivities.plan_hold, task, **BESIDE_THE_WORKFLOW)

    async def _open(
        self,
        held: HeldState,
        decision: Decision,
        judged: tuple[JudgedDecision, ...] = (),
        clamped: str | None = None,
    ) -> None:
        terms, proposal = held.terms, held.terms.proposal
        self._course.change(review_version=proposal.review_version)
        self._recorder.note(
            RecordKind.HELD,
            decision.because if clamped is None else f"{decision.because}; {clamped}",
            data={
                "rule": decision.rule,
                "review_version": proposal.review_version,
                "result_sha256": proposal.result_sha256,
                "expires_at": terms.expires_at.isoformat(),
                "approvals_needed": terms.offer.approvals_needed,
            },
        )
        self._teller.held(held, decision.rule)
        self._board.held(decision.because, proposal.review_version, terms.expires_at, self._course.route.risk)
        opening = review_opening(
            self._request, self._course, held, decision, workflow.now(), self._recorder.take(), judged
        )
        await workflow.execute_activity_method(
            LedgerActivities.open_review, opening, **ledger_options(f"hold: {decision.rule}")
        )
        await self._teller.send()

    async def _reopen(self, held: HeldState, edit: DecisionEnvelope, judged: tuple[JudgedDecision, ...]) -> HeldState:
        """Put a reviewer's own text before the reviewers whose approval it still needs."""
        terms = held.terms
        proposal = Proposal.of(
            edit.output or "", terms.proposal.review_version + 1, terms.proposal.stage_index, edited=True
        )
        held = held.model_copy(
            update={
                "terms": terms.model_copy(update={"proposal": proposal}),
                "approvals": (approval_of(edit),),
            }
        )
        left = terms.offer.approvals_needed - 1
        because = f"a reviewer wrote this text; {left} more approval{'s' if left > 1 else ''} needed"
        await to_the_end(self._open(held, Decision(verb=Verb.HOLD, because=because, rule="hold.quorum"), judged))
        return held

    async def _settle(self, held: HeldState, result: HoldResult) -> Finish | None:
        if result.order is not None:
            return await self._obey(result.order, result.judged)
        applied = result.applied
        if applied is None:
            return Finish(self._withheld(Outcome.EXPIRED, "nobody decided before the hold expired"), result.judged)
        because = f"{applied.reviewer} had decided already: {applied.verdict}"
        text, outcome = held.terms.proposal.text, Outcome.APPROVED
        match applied.verdict:
            case ReviewVerdict.ESCALATE | ReviewVerdict.REVISE:
                await self._send_on(held, applied, result.judged)
                return None
            case ReviewVerdict.REJECT:
                return Finish(self._withheld(Outcome.REJECTED, self._reason(applied)), result.judged, because)
            case ReviewVerdict.EDIT:
                text, outcome = applied.output or "", Outcome.EDITED
            case _ if held.terms.proposal.edited:
                outcome = Outcome.EDITED
        released = release_answer(self._request, self._course.tally(), outcome, self._reason(applied), text, held.shown)
        return Finish(released, result.judged, because)

    async def _send_on(self, held: HeldState, applied: DecisionEnvelope, judged: tuple[JudgedDecision, ...]) -> None:
        """Have the next stage asked, or the same one again under the reviewer's instruction."""
        course, proposal = self._course, held.terms.proposal
        course.restart_clock()
        if applied.verdict is ReviewVerdict.REVISE:
            course.change(revisions=course.journey.revisions + 1, insisted=_SEEN_AGAIN)
            before = [Message(role="assistant", content=proposal.text)] if proposal.text.strip() else []
            wish = Message(role="user", content=applied.instruction or "")
            course.go_to(_answered_by(proposal), (*before, wish), to_review=True)
        else:
            following = course.following()
            if following is None:
                raise RuntimeError("a reviewer escalated where no stage is left; judge() lets no such decision pass")
            course.go_to(following)
        self._board.resumed(f"{applied.verdict}d by a reviewer")
        self._teller.sent_on()
        await to_the_end(self._judge(judged, Status.RUNNING))

    async def _obey(self, order: OverrideEnvelope, judged: tuple[JudgedDecision, ...]) -> Finish | None:
        if order.action is OverrideAction.FORCE_SAFE_OUTPUT:
            return self.safe_output(order, judged)
        self._course.force(order)
        self._board.resumed("an operator has another model asked")
        self._teller.sent_on()
        await to_the_end(self._judge(judged, Status.RUNNING))
        return None

    def safe_output(self, order: OverrideEnvelope, judged: tuple[JudgedDecision, ...] = ()) -> Finish:
        """The end that an operator ordered."""
        because = f"{order.operator} had ordered otherwise"
        return Finish(self._withheld(Outcome.OVERRIDDEN, "an operator ordered the safe output"), judged, because)

    async def record_orders(self) -> None:
        """Commit the operators' orders that were judged while the request runs."""
        await to_the_end(self._judge((), Status.RUNNING))

    async def judge_late(self, status: Status, because: str | None) -> None:
        """Commit what arrived after the end of the request, which has ``status``."""
        judged = await self._desk.turn_away(because)
        while self._orders.waiting:
            await self._orders.judge(ended=True)
        await self._judge(judged, status)

    async def _judge(
        self,
        judged: tuple[JudgedDecision, ...],
        status: Status,
        moved: ReviewMove | None = None,
        approvals: int | None = None,
    ) -> None:
        judgement = Judgement(
            request_id=self._request.request_id,
            decisions=judged,
            records=self._recorder.take(),
            status=status,
            overrides=self._orders.take(),
            moved=moved,
            approvals=approvals,
        )
        await workflow.execute_activity_method(
            LedgerActivities.judge_decisions, judgement, **ledger_options("record decisions")
        )
        await self._teller.send()

    def _reason(self, applied: DecisionEnvelope) -> str:
        """Why it ended so, as the requester is told; the record has the rest."""
        if self._policy.hold.reason_for_requester == "kept":
            return _BY_A_REVIEWER[applied.verdict]
        return f"{applied.reviewer}: {applied.verdict}" + (f", {applied.reason}" if applied.reason else "")

    def _withheld(self, outcome: Outcome, reason: str) -> RequestResult:
        return withhold_answer(self._request, self._course.tally(), outcome, reason)


def _answered_by(proposal: Proposal) -> int:
    if proposal.stage_index is None:
        raise RuntimeError("a reviewer revised what no model has answered; judge() lets no such decision pass")
    return proposal.stage_index
