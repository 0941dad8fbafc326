"""Small real classes that stand in for the outside world: no database, no network, same contracts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from domain.errors import LedgerConflictError, ProviderError
from domain.guardrails import Verdict
from domain.identity import Role
from domain.ledger import Admission, DecisionRecord, Ending, Judgement, ReviewOpening
from domain.notice import Delivery, DeliveryOutcome, NotifierError
from domain.override import JudgedOverride, OverrideEnvelope
from domain.ports import ModelCall, Verification
from domain.request import RequestResult
from domain.review import DecisionCheck, JudgedDecision
from domain.rights import Person, Standing, objection
from domain.stage import Attempt, StageAnswer
from domain.usage import Usage


class MemoryLedger:
    """The ledger port over dictionaries. ``released`` counts what left, so that a double release is seen."""

    def __init__(self) -> None:
        self.admitted: dict[str, Admission] = {}
        self.reviews: dict[str, list[ReviewOpening]] = {}
        self.records: dict[str, list[DecisionRecord]] = {}
        self.decisions: dict[str, list[JudgedDecision]] = {}
        self.overrides: dict[str, list[JudgedOverride]] = {}
        self.judgements: dict[str, list[Judgement]] = {}
        self.ended: dict[str, RequestResult] = {}
        self.held = asyncio.Condition()

    def _append(self, request_id: str, records: tuple[DecisionRecord, ...]) -> None:
        kept = self.records.setdefault(request_id, [])
        kept.extend(record for record in records if record not in kept)

    async def admit(self, admission: Admission) -> None:
        known = self.admitted.setdefault(admission.request.request_id, admission)
        if known.run_id != admission.run_id:
            raise LedgerConflictError("known from another run")

    async def open_review(self, opening: ReviewOpening) -> None:
        self._append(opening.request_id, opening.records)
        self.decisions.setdefault(opening.request_id, []).extend(opening.decisions)
        self.reviews.setdefault(opening.request_id, []).append(opening)
        async with self.held:
            self.held.notify_all()

    async def judge(self, judgement: Judgement) -> None:
        self._append(judgement.request_id, judgement.records)
        self.decisions.setdefault(judgement.request_id, []).extend(judgement.decisions)
        self.overrides.setdefault(judgement.request_id, []).extend(judgement.overrides)
        self.judgements.setdefault(judgement.request_id, []).append(judgement)
        async with self.held:
            self.held.notify_all()

    async def end(self, ending: Ending) -> None:
        request_id = ending.result.request_id
        if self.ended.setdefault(request_id, ending.result) != ending.result:
            raise LedgerConflictError("ended before with another result")
        self._append(request_id, ending.records)
        self.decisions.setdefault(request_id, []).extend(ending.decisions)
        self.overrides.setdefault(request_id, []).extend(ending.overrides)

    async def review_of(self, request_id: str, version: int = 1) -> ReviewOpening:
        """The opening of a review, once it is there."""
        async with asyncio.timeout(30), self.held:
            await self.held.wait_for(lambda: len(self.reviews.get(request_id, ())) >= version)
        return self.reviews[request_id][version - 1]

    def statuses(self, request_id: str) -> list[str]:
        """What became of every decision, in order."""
        return [str(decision.status) for decision in self.decisions.get(request_id, [])]

    def kinds(self, request_id: str) -> list[str]:
        """The kinds of the records, in order."""
        return [str(record.kind) for record in self.records.get(request_id, [])]


class MemoryJournal:
    """The attempt journal over a dictionary."""

    def __init__(self) -> None:
        self.attempts: dict[str, dict[int, Attempt]] = {}
        self.answers: dict[str, StageAnswer] = {}

    async def recall(self, call_key: str) -> tuple[StageAnswer | None, tuple[Attempt, ...]]:
        return self.answers.get(call_key), tuple(self.attempts.get(call_key, {}).values())

    async def begin(self, call_key: str, attempt: Attempt) -> tuple[StageAnswer | None, tuple[Attempt, ...]]:
        known = self.attempts.setdefault(call_key, {})
        if attempt.number in known:
            return await self.recall(call_key)
        known[attempt.number] = attempt
        return None, ()

    async def finish(self, call_key: str, attempt: Attempt, answer: StageAnswer) -> None:
        self.attempts[call_key][attempt.number] = attempt
        self.answers[call_key] = answer

    async def fail(self, call_key: str, attempt: Attempt) -> None:
        self.attempts[call_key][attempt.number] = attempt


Script = Callable[[ModelCall], "StageAnswer | ProviderError"]


class ScriptedProvider:
    """Answers by a function of the call; counts every call."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calls: list[ModelCall] = []

    async def complete(self, call: ModelCall) -> StageAnswer:
        self.calls.append(call)
        answer = self.script(call)
        if isinstance(answer, ProviderError):
            raise answer
        return answer


def answer_of(text: str, confidence: float = 0.95, finish_reason: str = "stop") -> StageAnswer:
    """A model's answer with the given confidence."""
    from math import log

    return StageAnswer(
        text=text,
        model_version_served="fake-2026-11",
        finish_reason=finish_reason,
        usage=Usage(input_tokens=20, output_tokens=10),
        mean_logprob=log(confidence),
        defect=None,
        logprob_tokens=10,
    )


class ScriptedVerifier:
    """A verification service that says what it was told to."""

    def __init__(self, verdict: Verdict = Verdict.PASS) -> None:
        self.verdict = verdict
        self.inputs: dict[str, str | None] = {}

    async def verify(self, verifier: str, text: str, input_text: str | None, timeout_seconds: float) -> Verification:
        self.inputs[verifier] = input_text
        return Verification(verdict=self.verdict, rationale=f"{verifier} said {self.verdict}")


class PaperAuthority:
    """Takes an order for genuine if its signature is the word ``genuine``.

    Everybody is a reviewer of every queue, except for those in ``strangers``; only those in ``seniors`` are senior.
    """

    def __init__(self) -> None:
        self.strangers: set[str] = set()
        self.seniors: set[str] = set()

    async def problem(self, check: DecisionCheck) -> str | None:
        if check.envelope.signature != "genuine":
            return "the signature does not hold"
        if check.who is None:
            return None
        behalf = check.envelope.on_behalf_of
        standing = Standing(
            reviewer=self._person(check.envelope.reviewer),
            on_behalf_of=None if behalf is None else self._person(behalf),
            delegated_until=None if behalf is None else check.envelope.decided_at,
        )
        return objection(check.who, standing)

    async def override_problem(self, envelope: OverrideEnvelope) -> str | None:
        return None if envelope.signature == "genuine" else "the signature does not hold"

    def _person(self, name: str) -> Person:
        roles = {Role.REVIEWER, Role.SENIOR_REVIEWER} if name in self.seniors else {Role.REVIEWER}
        return Person(name=name, roles=frozenset(roles), member=name not in self.strangers)


class MemoryNotifier:
    """Tells nobody; keeps every notice. ``failing`` names channels that never take one."""

    def __init__(self) -> None:
        self.sent: list[Delivery] = []
        self.failing: set[str] = set()

    async def send(self, delivery: Delivery) -> None:
        if delivery.channel in self.failing:
            raise NotifierError(f"channel {delivery.channel!r} is away", transient=True)
        self.sent.append(delivery)

    def events(self, request_id: str) -> list[tuple[str, str]]:
        """Channel and event of every notice about a request."""
        return [(one.channel, str(one.notice.event)) for one in self.sent if one.notice.request_id == request_id]


class MemoryDeliveries:
    """The record of deliveries over a dictionary."""

    def __init__(self) -> None:
        self.outcomes: dict[str, DeliveryOutcome] = {}

    async def record(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        self.outcomes.setdefault(delivery.delivery_id, outcome)
