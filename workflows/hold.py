"""The hold: an answer waits for a person until a valid decision arrives or the hold expires.

Everything that arrives is judged in history order and recorded. The first valid decision takes effect; under a quorum
it is the one that completes it, and those before are counted. What arrives with or after it is superseded; what
arrives once the request is ending is late, so that nobody who has seen the end is told anything else. Nothing happening
means the rungs of the ladder, one after the other, and at last the safe output, never the answer.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol

from temporalio import workflow

from activities.reviewing import ReviewActivities
from domain.carried import HeldState
from domain.duration import words
from domain.hold import RungAction
from domain.ladder import Moment
from domain.ledger import RecordKind, ReviewMove
from domain.notice import NoticeEvent
from domain.override import OverrideEnvelope
from domain.payload import Payload
from domain.review import (
    DecisionCheck,
    DecisionEnvelope,
    DecisionStatus,
    JudgedDecision,
    ReviewVerdict,
    approval_of,
    judge,
    read_envelope,
)
from domain.rights import WhoMayDecide
from workflows.arrivals import BATCH_BYTES, Arrival, opened
from workflows.options import BESIDE_THE_WORKFLOW
from workflows.orders import OrderDesk
from workflows.recorder import Recorder

CARRY_AT = 400
"""Events of a history from which on a held request goes on in a new run, so that no hold outgrows Temporal's limits."""

_SAID = {
    RungAction.NOTIFY: NoticeEvent.REVIEW_REQUESTED,
    RungAction.REMIND: NoticeEvent.REVIEW_REMINDED,
    RungAction.REASSIGN: NoticeEvent.REVIEW_REASSIGNED,
    RungAction.ESCALATE: NoticeEvent.REVIEW_ESCALATED,
}


class HoldResult(Payload):
    """How a hold ended: by a decision, by an operator's order, or by neither, which is its expiry.

    ``judged`` are the decisions not yet committed. ``counted`` says that the decision, an edit, is the first of several
    approvals that its text needs.
    """

    applied: DecisionEnvelope | None = None
    order: OverrideEnvelope | None = None
    judged: tuple[JudgedDecision, ...] = ()
    counted: bool = False


class HoldRoom(Protocol):
    """What the desk asks of the request around it."""

    async def edit_objections(self, text: str, overruled: tuple[str, ...]) -> str | None:
        """Run the guardrails over an edited text; why it may not be let out."""
        ...

    async def commit(self, judged: tuple[JudgedDecision, ...], held: HeldState, moved: ReviewMove | None) -> None:
        """Record what happened while the hold goes on, and notify whom ``tell`` named."""
        ...

    def tell(self, event: NoticeEvent, channels: tuple[str, ...]) -> None:
        """Have people notified with the next commit; ``channels`` are the hold's own where empty."""
        ...

    def carry(self, held: HeldState) -> None:
        """Go on in a new run. Returns only where that is not possible."""
        ...


class HoldDesk:
    """Receives the decisions of one request, from its start to its end."""

    def __init__(self, request_id: str, tenant: str, recorder: Recorder, orders: OrderDesk, seen: set[str]) -> None:
        self._request_id = request_id
        self._tenant = tenant
        self._recorder = recorder
        self._orders = orders
        self._seen = seen
        self._inbox: list[Arrival] = []

    def receive(self, arrival: Arrival) -> None:
        """Take in a Signal, whatever it carried. Called by the Signal handler; judged later, in order."""
        self._inbox.append(arrival)

    @property
    def waiting(self) -> bool:
        """Whether something arrived that was not judged yet."""
        return bool(self._inbox)

    @property
    def seen(self) -> tuple[str, ...]:
        """Ids of all decisions and orders that were judged, in alphabetical order."""
        return tuple(sorted(self._seen))

    async def wait(self, held: HeldState, room: HoldRoom) -> tuple[HeldState, HoldResult]:
        """Wait for the decision or the order that ends the hold of ``held``, and climb its ladder meanwhile.

        With how it ended comes the hold as it then was.
        """
        while True:
            await self._arrival(_next_due(held) - workflow.now())
            order = await self._orders.judge(held=True)
            if order is not None:
                judged = await self.turn_away(f"{order.operator} had ordered otherwise")
                return held, HoldResult(order=order, judged=judged)
            before = held.terms.who
            held, result = await self.judge_arrived(held, room)
            if result.applied is not None:
                return held, result
            now = workflow.now()
            if now >= held.terms.expires_at and not self._inbox and not self._orders.waiting:
                because = f"nobody decided before {held.terms.expires_at.isoformat()}"
                self._recorder.note(RecordKind.HOLD_EXPIRED, because)
                return held, HoldResult(judged=result.judged)
            due = _due(held, now)
            for moment in due:
                held = self._reach(held, moment, now)
                room.tell(_SAID[moment.rung.do], moment.rung.channels)
            if any(_raised(decision) for decision in result.judged):
                room.tell(NoticeEvent.REVIEW_ESCALATED, ())
            if due or result.judged or self._orders.uncommitted:
                await room.commit(result.judged, held, None if held.terms.who == before else _move(held.terms.who))
            if self._outgrown():
                room.carry(held)

    async def _arrival(self, timeout: timedelta) -> None:
        if self._inbox or self._orders.waiting or timeout <= timedelta(0):
            return
        try:
            await workflow.wait_condition(
                lambda: bool(self._inbox) or self._orders.waiting, timeout=timeout, timeout_summary="hold"
            )
        except TimeoutError:
            return

    def _outgrown(self) -> bool:
        """Whether the history has grown long, and nothing is under way that a new run would not know of."""
        if self._inbox or self._orders.waiting:
            return False
        info = workflow.info()
        long = info.is_continue_as_new_suggested() or info.get_current_history_length() >= CARRY_AT
        return long and workflow.patched("carry-held-requests")

    def _reach(self, held: HeldState, moment: Moment, now: datetime) -> HeldState:
        """Do what a rung of the ladder says, as far as it concerns who may decide."""
        rung = moment.rung
        reached: dict[str, Any] = {"reached": held.reached + 1}
        left = words(max(held.terms.expires_at - now, timedelta(0)))
        match rung.do:
            case RungAction.NOTIFY:
                pass  # who is told is recorded with the notice itself
            case RungAction.REMIND:
                self._recorder.note(RecordKind.REMINDED, f"still held; {left} left")
            case RungAction.REASSIGN:
                self._recorder.note(RecordKind.REASSIGNED, f"moved to queue {rung.queue}; {left} left")
                reached["terms"] = _moved(held, rung.queue, senior_only=held.terms.who.senior_only)
            case RungAction.ESCALATE:
                where = f" in queue {rung.queue}" if rung.queue else ""
                self._recorder.note(
                    RecordKind.RAISED_TO_SENIORS, f"for senior reviewers{where} from now on; {left} left"
                )
                reached |= {"terms": _moved(held, rung.queue, senior_only=True), "approvals": ()}
        return held.model_copy(update=reached)

    async def judge_arrived(self, held: HeldState, room: HoldRoom) -> tuple[HeldState, HoldResult]:
        """Judge what has arrived, up to a batch or to the decision that ends the hold; with the hold as it then is."""
        judged: list[JudgedDecision] = []
        size = 0
        while self._inbox and size < BATCH_BYTES:
            arrival = self._inbox.pop(0)
            size += arrival.size
            decision = await self._judge(arrival, held, room)
            judged.append(decision)
            envelope = decision.envelope
            if envelope is None or decision.status not in (DecisionStatus.APPLIED, DecisionStatus.COUNTED):
                continue
            counted = decision.status is DecisionStatus.COUNTED
            if envelope.verdict is ReviewVerdict.ESCALATE and envelope.queue is not None:
                terms = _moved(held, envelope.queue, senior_only=True)
                held = held.model_copy(update={"terms": terms, "approvals": ()})
            elif counted and envelope.verdict is ReviewVerdict.APPROVE:
                held = held.model_copy(update={"approvals": (*held.approvals, approval_of(envelope))})
            else:
                if not counted:
                    because = f"{envelope.reviewer} had decided already: {envelope.verdict}"
                    judged.extend(await self.turn_away(because))
                return held, HoldResult(applied=envelope, judged=tuple(judged), counted=counted)
        return held, HoldResult(judged=tuple(judged))

    async def turn_away(self, because: str | None) -> tuple[JudgedDecision, ...]:
        """Judge what arrived and can have no effect any more, up to a batch, and record it.

        ``because`` says what came before it; None where the request just no longer waits.
        """
        judged: list[JudgedDecision] = []
        size = 0
        while self._inbox and size < BATCH_BYTES:
            arrival = self._inbox.pop(0)
            size += arrival.size
            envelope = await self._read(arrival, None)
            if isinstance(envelope, DecisionEnvelope):
                envelope = self._outdone(envelope, because, late=arrival.after_end or because is None)
            judged.append(envelope)
            self._recorder.judged(envelope)
        return tuple(judged)

    def _outdone(self, envelope: DecisionEnvelope, because: str | None, *, late: bool) -> JudgedDecision:
        if envelope.request_id != self._request_id or envelope.tenant != self._tenant:
            return _judged(envelope, DecisionStatus.UNAUTHORISED, f"made for request {envelope.request_id}")
        if envelope.decision_id in self._seen:
            return _judged(envelope, DecisionStatus.DUPLICATE, "a decision with this id has already been judged")
        self._seen.add(envelope.decision_id)
        status = DecisionStatus.LATE if late else DecisionStatus.SUPERSEDED
        return _judged(envelope, status, because or "the request no longer waits for a decision")

    async def _judge(self, arrival: Arrival, held: HeldState, room: HoldRoom) -> JudgedDecision:
        terms = held.terms
        envelope = await self._read(arrival, terms.who)
        if isinstance(envelope, JudgedDecision):
            self._recorder.judged(envelope)
            return envelope
        decision = judge(envelope, terms, frozenset(self._seen), held.approvals)
        if decision is None or decision.status is not DecisionStatus.UNAUTHORISED:
            self._seen.add(envelope.decision_id)
        if decision is None and envelope.decided_at > terms.expires_at:
            decision = _judged(envelope, DecisionStatus.LATE, "decided after the hold had expired")
        if decision is None and envelope.verdict is ReviewVerdict.EDIT:
            objections = await room.edit_objections(envelope.output or "", envelope.overrule or ())
            if objections is not None:
                decision = _judged(
                    envelope, DecisionStatus.INAPPLICABLE, f"the edited text is not let out: {objections}"
                )
        decision = decision or _effect(envelope, held)
        self._recorder.judged(decision)
        return decision

    async def _read(self, arrival: Arrival, who: WhoMayDecide | None) -> DecisionEnvelope | JudgedDecision:
        """The envelope in a Signal if a person who may decide signed it; otherwise the finished judgement."""
        envelope = opened(arrival, read_envelope)
        if isinstance(envelope, str):
            return JudgedDecision(envelope=None, status=DecisionStatus.MALFORMED, because=envelope)
        problem = await workflow.execute_local_activity_method(
            ReviewActivities.verify_decision, DecisionCheck(envelope=envelope, who=who), **BESIDE_THE_WORKFLOW
        )
        if problem is not None:
            return _judged(envelope, DecisionStatus.UNAUTHORISED, problem)
        return envelope


def _effect(envelope: DecisionEnvelope, held: HeldState) -> JudgedDecision:
    """What a valid decision leads to: an effect at once, or a place in the quorum."""
    needed, number = held.terms.offer.approvals_needed, len(held.approvals) + 1
    match envelope.verdict:
        case ReviewVerdict.APPROVE if number < needed:
            return _judged(envelope, DecisionStatus.COUNTED, f"approval {number} of {needed}")
        case ReviewVerdict.EDIT if needed > 1:
            return _judged(envelope, DecisionStatus.COUNTED, f"approval 1 of {needed} for the edited text")
    return _judged(envelope, DecisionStatus.APPLIED, envelope.reason or "no reason given")


def _judged(envelope: DecisionEnvelope, status: DecisionStatus, because: str) -> JudgedDecision:
    return JudgedDecision(envelope=envelope, status=status, because=because)


def _raised(decision: JudgedDecision) -> bool:
    """Whether a reviewer's decision moved the review to a senior queue."""
    envelope = decision.envelope
    return decision.status is DecisionStatus.APPLIED and envelope is not None and envelope.queue is not None


def _next_due(held: HeldState) -> datetime:
    moments = held.terms.offer.moments[held.reached :]
    return min(moments[0].at, held.terms.expires_at) if moments else held.terms.expires_at


def _due(held: HeldState, now: datetime) -> tuple[Moment, ...]:
    return tuple(moment for moment in held.terms.offer.moments[held.reached :] if moment.at <= now)


def _moved(held: HeldState, queue: str | None, *, senior_only: bool) -> Any:
    who = held.terms.who
    changed = who.model_copy(update={"queue": queue or who.queue, "senior_only": senior_only})
    return held.terms.model_copy(update={"who": changed})


def _move(who: WhoMayDecide) -> ReviewMove:
    return ReviewMove(queue=who.queue, senior_only=who.senior_only)
