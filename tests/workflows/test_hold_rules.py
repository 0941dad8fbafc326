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
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from temporalio.api.common.v1 import Payload as TemporalPayload
from temporalio.common import RawValue

from domain.review import (
    DecisionEnvelope,
    DecisionStatus,
    JudgedDecision,
    Proposal,
    ReviewVerdict,
    read_envelope,
)
from workflows.hold import SIGNAL, Arrival, HoldDesk, HoldTerms
from workflows.recorder import Recorder

T = TypeVar("T")
EXPIRES_AT = datetime(2026, 11, 3, 9, tzinfo=UTC)
FORBIDDEN = "a guaranteed return"


class PaperRecorder(Recorder):
    """Keeps judged decisions as they are."""

    def __init__(self) -> None:
        super().__init__("req_1")
        self.noted: list[JudgedDecision] = []

    def judged(self, decision: JudgedDecision) -> None:
        self.noted.append(decision)


class PaperDesk(HoldDesk):
    """The desk without a Workflow around it."""

    async def _read(self, arrival: Arrival) -> DecisionEnvelope | JudgedDecision:
        envelope = read_envelope(json.loads(arrival.payloads[0].payload.data))
        if isinstance(envelope, str):
            return JudgedDecision(envelope=None, status=DecisionStatus.MALFORMED, because=envelope)
        if envelope.signature != "genuine":
            return JudgedDecision(envelope=envelope, status=DecisionStatus.UNAUTHORISED, because="forged")
        return envelope


async def objections(text: str) -> str | None:
    """The guardrails over an edited text."""
    return "terms failed" if FORBIDDEN in text else None


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what does not wait for anything."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("the desk waited")


class Hold(RuleBasedStateMachine):
    """A request that is held, escalated, held again, decided or expired, while decisions keep arriving."""

    def __init__(self) -> None:
        super().__init__()
        self.recorder = PaperRecorder()
        self.desk = PaperDesk("req_1", "acme", self.recorder)
        self.queue: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self.seen: set[str] = set()
        self.expected: list[DecisionStatus] = []
        self.winner: DecisionEnvelope | None = None
        self.ended = False
        self.open(1, "the answer", True)

    def open(self, version: int, text: str, may_escalate: bool) -> None:
        """Hold a text."""
        self.terms = HoldTerms(proposal=Proposal.of(text, version, 0), may_escalate=may_escalate, expires_at=EXPIRES_AT)

    def send(self, fields: dict[str, Any]) -> None:
        """Signal something."""
        self.sent.append(fields)
        self.queue.append(fields)
        payload = TemporalPayload(data=json.dumps(fields).encode())
        self.desk.receive(SIGNAL, [RawValue(payload)])

    @rule(
        verdict=st.sampled_from(ReviewVerdict),
        number=st.integers(1, 4),
        output=st.sampled_from(["a better answer", FORBIDDEN]),
        change=st.sampled_from(
            [
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
    def decide(self, verdict: ReviewVerdict, number: int, output: str, change: dict[str, Any]) -> None:
        """A decision on what is held; few ids, so that they repeat, and sometimes with something wrong in it."""
        fields = {
            "decision_id": f"d-{number}-{len(self.sent) // 3}",
            "verdict": verdict,
            "reason": "looked at it",
            "result_sha256": self.terms.proposal.result_sha256,
            "review_version": self.terms.proposal.review_version,
            "request_id": "req_1",
            "tenant": "acme",
            "reviewer": "rita",
            "decided_at": EXPIRES_AT.isoformat(),
            "signature": "genuine",
        }
        self.send({**fields, **({"output": output} if verdict is ReviewVerdict.EDIT else {}), **change})

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The same Signal again."""
        self.send(data.draw(st.sampled_from(self.sent)))

    @precondition(lambda self: not self.ended)
    @rule(text=st.sampled_from(["the answer of large", ""]), may_escalate=st.booleans())
    def work(self, text: str, may_escalate: bool) -> None:
        """The Workflow wakes up and judges what has arrived."""
        applied, _ = at_once(self.desk._judge_arrived(self.terms, objections))
        winner = self.expect(held=True)
        assert applied == winner
        if applied is None:
            return
        if applied.verdict is ReviewVerdict.ESCALATE:
            self.open(self.terms.proposal.review_version + 1, text, may_escalate)
        else:
            self.winner, self.ended = applied, True

    @precondition(lambda self: not self.ended)
    @rule()
    def expire(self) -> None:
        """Nobody decided."""
        self.work("", False)
        self.ended = True

    @precondition(lambda self: self.ended)
    @rule()
    def turn_away(self) -> None:
        """The end is committed; what came meanwhile is judged."""
        at_once(self.desk.turn_away(self.winner))
        self.expect(held=False)

    def expect(self, held: bool) -> DecisionEnvelope | None:
        """The reference: what must become of everything in the queue, and the decision that takes effect."""
        winner = self.winner
        applied: DecisionEnvelope | None = None
        for fields in self.queue:
            status = self.reference(fields, held and applied is None, winner)
            if status is DecisionStatus.APPLIED:
                applied = winner = DecisionEnvelope.model_validate(fields)
            self.expected.append(status)
        self.queue.clear()
        return applied

    def reference(self, fields: dict[str, Any], held: bool, winner: DecisionEnvelope | None) -> DecisionStatus:
        """What must become of one decision."""
        proposal, verdict = self.terms.proposal, fields["verdict"]
        bound = (proposal.review_version, proposal.result_sha256)
        impossible = (
            (verdict == "escalate" and not self.terms.may_escalate)
            or (verdict == "approve" and not proposal.text)
            or (verdict == "edit" and fields.get("output") == FORBIDDEN)
        )
        late = fields["decided_at"] > EXPIRES_AT.isoformat()
        if verdict == "perhaps" or not fields["decision_id"]:
            return DecisionStatus.MALFORMED
        if (fields["signature"], fields["request_id"], fields["tenant"]) != ("genuine", "req_1", "acme"):
            return DecisionStatus.UNAUTHORISED
        if fields["decision_id"] in self.seen:
            return DecisionStatus.DUPLICATE
        self.seen.add(fields["decision_id"])
        if not held:
            return DecisionStatus.LATE if winner is None else DecisionStatus.SUPERSEDED
        if (fields["review_version"], fields["result_sha256"]) != bound:
            return DecisionStatus.STALE
        if impossible and not (late and verdict == "edit"):
            return DecisionStatus.INAPPLICABLE
        return DecisionStatus.LATE if late else DecisionStatus.APPLIED

    @invariant()
    def judged_once_each_and_in_order(self) -> None:
        """Everything that was looked at is recorded, as the reference says."""
        assert [decision.status for decision in self.recorder.noted] == self.expected
        assert len(self.expected) + len(self.queue) == len(self.sent)
        assert self.desk.waiting == bool(self.queue)

    @invariant()
    def at_most_one_takes_effect_per_version(self) -> None:
        """Never two decisions on one text."""
        versions = [
            decision.envelope.review_version
            for decision in self.recorder.noted
            if decision.status is DecisionStatus.APPLIED and decision.envelope is not None
        ]
        assert len(versions) == len(set(versions))


TestHold = Hold.TestCase
TestHold.settings = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
