"""The hold against a reference of a few lines: whatever arrives, in whatever order, at most one decision takes effect.

The desk is the real one; only its edge to Temporal, the decoding and the verification of a Signal, is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from temporalio.api.common.v1 import Payload as TemporalPayload
from temporalio.common import RawValue

from domain.carried import HeldState
from domain.hold import ReviewVerdict
from domain.ledger import ReviewMove
from domain.notice import NoticeEvent
from domain.review import (
    DecisionEnvelope,
    DecisionStatus,
    JudgedDecision,
    Proposal,
    ReviewOffer,
    ReviewTerms,
    approval_of,
    read_envelope,
)
from domain.rights import WhoMayDecide
from tests.examples import request
from workflows.arrivals import DECIDE_SIGNAL, Arrival
from workflows.hold import HoldDesk
from workflows.orders import OrderDesk
from workflows.recorder import Recorder

T = TypeVar("T")
EXPIRES_AT = datetime(2026, 11, 3, 9, tzinfo=UTC)
FORBIDDEN = "a guaranteed return"
APPROVING = (ReviewVerdict.APPROVE, ReviewVerdict.EDIT)


class PaperRecorder(Recorder):
    """Keeps judged decisions as they are."""

    def __init__(self) -> None:
        super().__init__("req_1")
        self.noted: list[JudgedDecision] = []

    def judged(self, decision: JudgedDecision) -> None:
        self.noted.append(decision)


class PaperDesk(HoldDesk):
    """The desk without a Workflow around it. Only ``sven`` is senior."""

    async def _read(self, arrival: Arrival, who: WhoMayDecide | None) -> DecisionEnvelope | JudgedDecision:
        envelope = read_envelope(json.loads(arrival.payloads[0].payload.data))
        if isinstance(envelope, str):
            return JudgedDecision(envelope=None, status=DecisionStatus.MALFORMED, because=envelope)
        barred = who is not None and who.senior_only and envelope.reviewer != "sven"
        if envelope.signature != "genuine" or barred:
            return JudgedDecision(envelope=envelope, status=DecisionStatus.UNAUTHORISED, because="forged or barred")
        return envelope


class PaperRoom:
    """The request around the desk: guardrails over an edited text, and nothing else that this test asks for."""

    async def edit_objections(self, text: str, overruled: tuple[str, ...]) -> str | None:
        return "terms failed" if FORBIDDEN in text and "terms" not in overruled else None

    async def commit(self, judged: tuple[JudgedDecision, ...], held: HeldState, moved: ReviewMove | None) -> None:
        raise AssertionError("committed without waiting")

    def tell(self, event: NoticeEvent, channels: tuple[str, ...]) -> None:
        raise AssertionError("told without waiting")

    def carry(self, held: HeldState) -> None:
        raise AssertionError("carried without waiting")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what does not wait for anything."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("the desk waited")


class Hold(RuleBasedStateMachine):
    """A request that is held, moved, escalated, held again, decided or expired, while decisions keep arriving."""

    def __init__(self) -> None:
        super().__init__()
        self.recorder = PaperRecorder()
        seen: set[str] = set()
        orders = OrderDesk(request(), self.recorder, seen)
        self.desk = PaperDesk("req_1", "acme", self.recorder, orders, seen)
        self.queue: list[tuple[dict[str, Any], bool]] = []
        self.sent: list[dict[str, Any]] = []
        self.seen: set[str] = set()
        self.expected: list[DecisionStatus] = []
        self.because: str | None = None
        self.ended = self.ending = False
        self.needed = 1
        self.open(1, "the answer", True)

    def open(self, version: int, text: str, may_escalate: bool, *people: str, edited: bool = False) -> None:
        """Hold a text that ``people`` have approved."""
        offer = ReviewOffer(
            verdicts=tuple(ReviewVerdict),
            overrule=("terms",),
            senior_queues=("legal",),
            revisions_left=1 if version < 3 else 0,
            approvals_needed=self.needed,
        )
        terms = ReviewTerms(
            request_id="req_1",
            tenant="acme",
            proposal=Proposal.of(text, version, 0, edited=edited),
            may_escalate=may_escalate,
            expires_at=EXPIRES_AT,
            who=WhoMayDecide(requester="shop", queue="default"),
            offer=offer,
        )
        self.held = HeldState(terms=terms, shown=None)
        self.approved: set[str] = set(people)
        self.senior_only = False

    @initialize(needed=st.integers(1, 3))
    def demand(self, needed: int) -> None:
        """How many approvals this risk tier needs."""
        self.needed = needed
        self.open(1, "the answer", True)

    def send(self, fields: dict[str, Any]) -> None:
        """Signal something."""
        self.sent.append(fields)
        self.queue.append((fields, self.ending))
        payload = TemporalPayload(data=json.dumps(fields).encode())
        self.desk.receive(Arrival(DECIDE_SIGNAL, (RawValue(payload),), after_end=self.ending))

    @rule(
        verdict=st.sampled_from(ReviewVerdict),
        number=st.integers(1, 4),
        reviewer=st.sampled_from(["rita", "otto", "sven"]),
        behalf=st.sampled_from([None, None, "paula", "rita"]),
        output=st.sampled_from(["a better answer", FORBIDDEN]),
        overrule=st.sampled_from([None, ["terms"], ["pii"]]),
        queue=st.sampled_from([None, "legal", "elsewhere"]),
        change=st.sampled_from(
            [
                {},
                {},
                {},
                {},
                {"result_sha256": "0" * 64},
                {"review_version": 9},
                {"request_id": "req_2"},
                {"tenant": "other"},
                {"signature": "forged"},
                {"decided_at": (EXPIRES_AT + timedelta(seconds=1)).isoformat()},
                {"verdict": "perhaps"},
                {"decision_id": ""},
            ]
        ),
    )
    def decide(
        self,
        verdict: ReviewVerdict,
        number: int,
        reviewer: str,
        behalf: str | None,
        output: str,
        overrule: list[str] | None,
        queue: str | None,
        change: dict[str, Any],
    ) -> None:
        """A decision on what is held; few ids, so that they repeat, and sometimes with something wrong in it."""
        fields = {
            "decision_id": f"d-{number}-{len(self.sent) // 3}",
            "verdict": verdict,
            "reason": "looked at it",
            "result_sha256": self.held.terms.proposal.result_sha256,
            "review_version": self.held.terms.proposal.review_version,
            "request_id": "req_1",
            "tenant": "acme",
            "reviewer": reviewer,
            "on_behalf_of": behalf,
            "decided_at": EXPIRES_AT.isoformat(),
            "signature": "genuine",
        }
        parts: dict[ReviewVerdict, dict[str, Any]] = {
            ReviewVerdict.EDIT: {"output": output, "overrule": overrule},
            ReviewVerdict.ESCALATE: {"queue": queue},
            ReviewVerdict.REVISE: {"instruction": "say it shorter"},
        }
        self.send({**fields, **parts.get(verdict, {}), **change})

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The same Signal again."""
        self.send(data.draw(st.sampled_from(self.sent)))

    @precondition(lambda self: not self.ended)
    @rule(text=st.sampled_from(["the answer of large", ""]), may_escalate=st.booleans())
    def work(self, text: str, may_escalate: bool) -> None:
        """The Workflow wakes up and judges what has arrived."""
        held, result = at_once(self.desk.judge_arrived(self.held, PaperRoom()))
        winner = self.expect()
        assert result.applied == winner
        if winner is None:
            self.held = held
            assert {name for approval in held.approvals for name in approval.people} == self.approved
            assert held.terms.who.senior_only == self.senior_only
            return
        version = self.held.terms.proposal.review_version + 1
        assert result.counted == (winner.verdict is ReviewVerdict.EDIT and self.needed > 1)
        if result.counted:
            senior_only = self.senior_only
            self.open(version, winner.output or "", may_escalate, *approval_of(winner).people, edited=True)
            self.senior_only = senior_only
            who = self.held.terms.who.model_copy(update={"senior_only": senior_only})
            terms = self.held.terms.model_copy(update={"who": who})
            self.held = self.held.model_copy(update={"terms": terms, "approvals": (approval_of(winner),)})
        elif winner.verdict in (ReviewVerdict.ESCALATE, ReviewVerdict.REVISE):
            self.open(version, text, may_escalate)
        else:
            self.because, self.ended = f"{winner.reviewer} had decided already", True

    @precondition(lambda self: not self.ended)
    @rule()
    def expire(self) -> None:
        """Nobody decided."""
        self.work("", False)
        self.ended = True

    @precondition(lambda self: self.ended)
    @rule()
    def end(self) -> None:
        """The end of the request is on its way to the ledger, where others see it."""
        self.ending = True

    @precondition(lambda self: self.ended)
    @rule()
    def turn_away(self) -> None:
        """The end is committed; what came meanwhile is judged."""
        at_once(self.desk.turn_away(self.because))
        while self.queue:
            self.expected.append(self.outdone(*self.queue.pop(0)))

    def expect(self) -> DecisionEnvelope | None:
        """The reference: what must become of everything in the queue, and the decision that ends the hold."""
        while self.queue:
            fields, _ = self.queue.pop(0)
            status = self.reference(fields)
            self.expected.append(status)
            if status not in (DecisionStatus.APPLIED, DecisionStatus.COUNTED):
                continue
            envelope = DecisionEnvelope.model_validate(fields)
            if envelope.queue is not None:
                self.senior_only, self.approved = True, set()
            elif status is DecisionStatus.COUNTED and envelope.verdict is ReviewVerdict.APPROVE:
                self.approved |= approval_of(envelope).people
                self.held = self.held.model_copy(update={"approvals": (*self.held.approvals, approval_of(envelope))})
            else:
                if status is DecisionStatus.APPLIED:
                    self.because = f"{envelope.reviewer} had decided already"
                    while self.queue:
                        self.expected.append(self.outdone(*self.queue.pop(0)))
                return envelope
            if envelope.queue is not None:
                self.held = self.held.model_copy(update={"approvals": ()})
        return None

    def outdone(self, fields: dict[str, Any], after_end: bool) -> DecisionStatus:
        """What must become of a decision that cannot have an effect any more."""
        if fields["verdict"] == "perhaps" or not fields["decision_id"]:
            return DecisionStatus.MALFORMED
        if (fields["signature"], fields["request_id"], fields["tenant"]) != ("genuine", "req_1", "acme"):
            return DecisionStatus.UNAUTHORISED
        if fields["decision_id"] in self.seen:
            return DecisionStatus.DUPLICATE
        self.seen.add(fields["decision_id"])
        return DecisionStatus.LATE if self.because is None or after_end else DecisionStatus.SUPERSEDED

    def reference(self, fields: dict[str, Any]) -> DecisionStatus:
        """What must become of a decision while something is held."""
        proposal, verdict = self.held.terms.proposal, fields["verdict"]
        if verdict == "perhaps" or not fields["decision_id"]:
            return DecisionStatus.MALFORMED
        if (fields["signature"], fields["request_id"], fields["tenant"]) != ("genuine", "req_1", "acme"):
            return DecisionStatus.UNAUTHORISED
        if self.senior_only and fields["reviewer"] != "sven":
            return DecisionStatus.UNAUTHORISED
        if fields["decision_id"] in self.seen:
            return DecisionStatus.DUPLICATE
        self.seen.add(fields["decision_id"])
        if (fields["review_version"], fields["result_sha256"]) != (proposal.review_version, proposal.result_sha256):
            return DecisionStatus.STALE
        people = {fields["reviewer"], fields["on_behalf_of"]} - {None}
        impossible = (
            (verdict == "escalate" and fields["queue"] is None and not self.held.terms.may_escalate)
            or (verdict == "escalate" and fields["queue"] == "elsewhere")
            or (verdict == "revise" and self.held.terms.offer.revisions_left == 0)
            or (verdict == "approve" and not proposal.text)
            or (verdict == "edit" and fields["overrule"] == ["pii"])
            or (verdict in APPROVING and bool(people & self.approved))
        )
        if impossible:
            return DecisionStatus.INAPPLICABLE
        if fields["decided_at"] > EXPIRES_AT.isoformat():
            return DecisionStatus.LATE
        if verdict == "edit" and fields["output"] == FORBIDDEN and fields["overrule"] is None:
            return DecisionStatus.INAPPLICABLE
        if verdict == "edit" and self.needed > 1:
            return DecisionStatus.COUNTED
        counts = len(self.held.approvals)
        return DecisionStatus.COUNTED if verdict == "approve" and counts + 1 < self.needed else DecisionStatus.APPLIED

    @invariant()
    def judged_once_each_and_in_order(self) -> None:
        """Everything that was looked at is recorded, as the reference says."""
        assert [decision.status for decision in self.recorder.noted] == self.expected
        assert len(self.expected) + len(self.queue) == len(self.sent)
        assert self.desk.waiting == bool(self.queue)

    @invariant()
    def at_most_one_ends_each_version(self) -> None:
        """Never two decisions that release, refuse or send on the same text, and never fewer approvals than needed."""
        ending: dict[int, DecisionEnvelope] = {}
        approvers: dict[int, set[str]] = {}
        for decision in self.recorder.noted:
            envelope = decision.envelope
            if envelope is None or decision.status not in (DecisionStatus.APPLIED, DecisionStatus.COUNTED):
                continue
            version = envelope.review_version + (
                1 if decision.status is DecisionStatus.COUNTED and envelope.output else 0
            )
            if envelope.queue is not None:
                approvers.pop(version, None)
                continue
            if envelope.verdict in APPROVING:
                approvers.setdefault(version, set()).add(envelope.reviewer)
            if decision.status is DecisionStatus.APPLIED:
                assert version not in ending
                ending[version] = envelope
                if envelope.verdict is ReviewVerdict.APPROVE:
                    assert len(approvers[version]) >= self.needed


TestHold = Hold.TestCase
TestHold.settings = settings(
    max_examples=150,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
