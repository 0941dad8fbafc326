"""The hold: an answer waits for a person until a valid decision arrives or the hold expires.

Everything that arrives is judged in history order and recorded. The first valid decision takes effect; what arrives
with or after it is superseded. Nothing happening means the safe output, never the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RawValue

from activities.ledger import LedgerActivities
from domain.duration import words
from domain.ledger import RecordKind
from domain.payload import Payload
from domain.policy import Hold
from domain.review import (
    DecisionEnvelope,
    DecisionStatus,
    JudgedDecision,
    Proposal,
    ReviewVerdict,
    judge,
    read_envelope,
)
from workflows.options import VERIFY_DECISION
from workflows.recorder import Recorder

SIGNAL = "decide"
"""The name under which decisions are signalled."""

MALFORMED_SHOWN = 200
"""Characters of an explanation of a malformed Signal that are kept."""

BATCH_BYTES = 512 * 1024
"""Signals are judged together up to this size: they are committed as one payload, and Temporal limits its length."""


@dataclass(frozen=True)
class Arrival:
    """A Signal as it came: its name, and whatever number of payloads in whatever encoding."""

    name: str
    payloads: tuple[RawValue, ...]

    @property
    def size(self) -> int:
        """Bytes it carried, and about as many as a record of it takes."""
        return 1024 + sum(len(payload.payload.data) for payload in self.payloads)


class HoldResult(Payload):
    """How a hold ended: the applied decision, or None when it expired; with all decisions not yet committed."""

    applied: DecisionEnvelope | None
    judged: tuple[JudgedDecision, ...]


class HoldTerms(Payload):
    """What is held and until when."""

    proposal: Proposal
    may_escalate: bool
    expires_at: datetime


class HoldDesk:
    """Receives the decisions of one request, from its start to its end."""

    def __init__(self, request_id: str, tenant: str, recorder: Recorder) -> None:
        self._request_id = request_id
        self._tenant = tenant
        self._recorder = recorder
        self._inbox: list[Arrival] = []
        self._seen: set[str] = set()

    def receive(self, name: str, payloads: Sequence[RawValue]) -> None:
        """Take in a Signal, whatever it carried. Called by the Signal handler; judged later, in order."""
        self._inbox.append(Arrival(name, tuple(payloads)))

    @property
    def waiting(self) -> bool:
        """Whether something arrived that was not judged yet."""
        return bool(self._inbox)

    async def wait(
        self,
        hold: Hold,
        terms: HoldTerms,
        edit_objections: Callable[[str], Awaitable[str | None]],
        commit: Callable[[tuple[JudgedDecision, ...]], Awaitable[None]],
    ) -> HoldResult:
        """Wait for the decision that ends the hold.

        ``edit_objections`` runs the guardrails over an edited text; ``commit`` records judged decisions and reminders
        while the hold goes on.
        """
        interval = hold.remind_after
        remind_at = _next(workflow.now(), interval)
        while True:
            until = min(terms.expires_at, remind_at or terms.expires_at)
            await self._arrival(until - workflow.now())
            applied, judged = await self._judge_arrived(terms, edit_objections)
            if applied is not None:
                return HoldResult(applied=applied, judged=judged)
            now = workflow.now()
            if now >= terms.expires_at and not self._inbox:
                self._recorder.note(RecordKind.HOLD_EXPIRED, f"nobody decided before {terms.expires_at.isoformat()}")
                return HoldResult(applied=None, judged=judged)
            if interval is not None and remind_at is not None and now >= remind_at:
                self._recorder.note(
                    RecordKind.REMINDED, f"still held; {words(max(terms.expires_at - now, timedelta(0)))} left"
                )
                interval *= 2
                remind_at = _next(now, interval)
                await commit(judged)
            elif judged:
                await commit(judged)

    async def _arrival(self, timeout: timedelta) -> None:
        if self._inbox or timeout <= timedelta(0):
            return
        try:
            await workflow.wait_condition(lambda: bool(self._inbox), timeout=timeout, timeout_summary="hold")
        except TimeoutError:
            return

    async def _judge_arrived(
        self, terms: HoldTerms, edit_objections: Callable[[str], Awaitable[str | None]]
    ) -> tuple[DecisionEnvelope | None, tuple[JudgedDecision, ...]]:
        judged: list[JudgedDecision] = []
        size = 0
        while self._inbox and size < BATCH_BYTES:
            arrival = self._inbox.pop(0)
            size += arrival.size
            decision = await self._judge(arrival, terms, edit_objections)
            judged.append(decision)
            if decision.status is DecisionStatus.APPLIED:
                judged.extend(await self.turn_away(decision.envelope))
                return decision.envelope, tuple(judged)
        return None, tuple(judged)

    async def turn_away(self, winner: DecisionEnvelope | None) -> tuple[JudgedDecision, ...]:
        """Judge what arrived and can have no effect any more, up to a batch, and record it."""
        judged: list[JudgedDecision] = []
        size = 0
        while self._inbox and size < BATCH_BYTES:
            arrival = self._inbox.pop(0)
            size += arrival.size
            envelope = await self._read(arrival)
            if isinstance(envelope, DecisionEnvelope):
                envelope = self._outdone(envelope, winner)
            judged.append(envelope)
            self._recorder.judged(envelope)
        return tuple(judged)

    def _outdone(self, envelope: DecisionEnvelope, winner: DecisionEnvelope | None) -> JudgedDecision:
        if envelope.request_id != self._request_id or envelope.tenant != self._tenant:
            return _judged(envelope, DecisionStatus.UNAUTHORISED, f"made for request {envelope.request_id}")
        if envelope.decision_id in self._seen:
            return _judged(envelope, DecisionStatus.DUPLICATE, "a decision with this id has already been judged")
        self._seen.add(envelope.decision_id)
        if winner is None:
            return _judged(envelope, DecisionStatus.LATE, "the request no longer waits for a decision")
        because = f"{winner.reviewer} had decided already: {winner.verdict}"
        return _judged(envelope, DecisionStatus.SUPERSEDED, because)

    async def _judge(
        self,
        arrival: Arrival,
        terms: HoldTerms,
        edit_objections: Callable[[str], Awaitable[str | None]],
    ) -> JudgedDecision:
        envelope = await self._read(arrival)
        if isinstance(envelope, JudgedDecision):
            self._recorder.judged(envelope)
            return envelope
        decision = judge(
            envelope, self._request_id, self._tenant, terms.proposal, frozenset(self._seen), terms.may_escalate
        )
        if decision is None or decision.status is not DecisionStatus.UNAUTHORISED:
            self._seen.add(envelope.decision_id)
        if decision is None and envelope.decided_at > terms.expires_at:
            decision = _judged(envelope, DecisionStatus.LATE, "decided after the hold had expired")
        if decision is None and envelope.verdict is ReviewVerdict.EDIT:
            objections = await edit_objections(envelope.output or "")
            if objections is not None:
                decision = _judged(
                    envelope, DecisionStatus.INAPPLICABLE, f"the edited text is not let out: {objections}"
                )
        decision = decision or _judged(envelope, DecisionStatus.APPLIED, envelope.reason or "no reason given")
        self._recorder.judged(decision)
        return decision

    async def _read(self, arrival: Arrival) -> DecisionEnvelope | JudgedDecision:
        """The envelope in a Signal if there is a signed one in it; otherwise the finished judgement."""
        envelope = _decode(arrival)
        if isinstance(envelope, str):
            return JudgedDecision(envelope=None, status=DecisionStatus.MALFORMED, because=envelope[:MALFORMED_SHOWN])
        problem = await workflow.execute_local_activity_method(
            LedgerActivities.verify_decision, envelope, **VERIFY_DECISION
        )
        if problem is not None:
            return _judged(envelope, DecisionStatus.UNAUTHORISED, problem)
        return envelope


def _judged(envelope: DecisionEnvelope, status: DecisionStatus, because: str) -> JudgedDecision:
    return JudgedDecision(envelope=envelope, status=status, because=because)


def _next(now: datetime, interval: timedelta | None) -> datetime | None:
    return None if interval is None else now + interval


def _decode(arrival: Arrival) -> DecisionEnvelope | str:
    if arrival.name != SIGNAL:
        return f"no Signal is called {arrival.name[:64]!r}; a decision comes as {SIGNAL!r}"
    if not arrival.payloads:
        return "the Signal carried no payload"
    if len(arrival.payloads) > 1:
        return f"the Signal carried {len(arrival.payloads)} arguments; a decision is one"
    try:
        decoded = workflow.payload_converter().from_payload(arrival.payloads[0].payload)
    except Exception as error:  # whatever a converter raises on foreign bytes is one and the same finding
        return f"the payload cannot be decoded: {error.__class__.__name__}"
    return read_envelope(decoded)
