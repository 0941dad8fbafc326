"""Operators' orders: taken in at any moment, judged in the order they came, each recorded whatever becomes of it."""

from __future__ import annotations

from temporalio import workflow

from activities.reviewing import ReviewActivities
from domain.override import JudgedOverride, OverrideEnvelope, judge_override, read_override
from domain.request import CascadeInput
from domain.review import DecisionStatus
from workflows.arrivals import Arrival, opened
from workflows.options import BESIDE_THE_WORKFLOW
from workflows.recorder import Recorder


class OrderDesk:
    """Receives the overrides of one request, from its start to its end."""

    def __init__(self, request: CascadeInput, recorder: Recorder, seen: set[str]) -> None:
        self._request = request
        self._recorder = recorder
        self._seen = seen
        self._inbox: list[Arrival] = []
        self._judged: list[JudgedOverride] = []

    def receive(self, arrival: Arrival) -> None:
        """Take in a Signal. Called by the Signal handler; judged later, in order."""
        self._inbox.append(arrival)

    @property
    def waiting(self) -> bool:
        """Whether something arrived that was not judged yet."""
        return bool(self._inbox)

    @property
    def uncommitted(self) -> bool:
        """Whether something was judged that no commit has taken yet."""
        return bool(self._judged)

    async def judge(self, *, held: bool = False, ended: bool = False) -> OverrideEnvelope | None:
        """Judge what arrived, up to the first order that takes effect, which is returned; None if none does."""
        while self._inbox:
            judged = await self._judge(self._inbox.pop(0), held=held, ended=ended)
            self._judged.append(judged)
            self._recorder.overridden(judged)
            if judged.status is DecisionStatus.APPLIED:
                return judged.envelope
        return None

    def take(self) -> tuple[JudgedOverride, ...]:
        """All judged orders since the last commit; they are then no longer kept here."""
        judged = tuple(self._judged)
        self._judged.clear()
        return judged

    async def _judge(self, arrival: Arrival, *, held: bool, ended: bool) -> JudgedOverride:
        envelope = opened(arrival, read_override)
        if isinstance(envelope, str):
            return JudgedOverride(envelope=None, status=DecisionStatus.MALFORMED, because=envelope)
        problem = await workflow.execute_local_activity_method(
            ReviewActivities.verify_override, envelope, **BESIDE_THE_WORKFLOW
        )
        if problem is not None:
            return JudgedOverride(envelope=envelope, status=DecisionStatus.UNAUTHORISED, because=problem)
        judged = judge_override(envelope, self._request, frozenset(self._seen), held=held, ended=ended)
        if judged.status is not DecisionStatus.UNAUTHORISED:
            self._seen.add(envelope.decision_id)
        return judged
