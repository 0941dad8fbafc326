"""One stage of a cascade: the call of one model, its attempts, and the evidence it leaves."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import Field

from domain.catalog import ModelEntry
from domain.guardrails import CheckResult, Judged
from domain.payload import Payload
from domain.policy import Stage
from domain.request import Message
from domain.usage import Usage

MAX_ANSWER_BYTES = 256 * 1024
"""The longest text a model or a person may answer with. A history stores it once for every check that reads it, and all
checks are scheduled in one message; longer ones would pass what Temporal takes and leave the request stuck."""


class Budget(Payload):
    """What a stage may still use of the request's ceilings. ``deadline`` is absolute."""

    cost_usd: Decimal
    attempts: int
    tokens: int
    deadline: datetime


class StageTask(Payload):
    """The argument of the stage Activity. ``visit`` counts the stage calls of one request, from 1."""

    request_id: str
    policy: str
    policy_version: str
    stage: Stage
    model: ModelEntry
    visit: int
    conversation: tuple[Message, ...]
    budget: Budget

    @property
    def call_key(self) -> str:
        """Names this call in the attempt journal and towards the provider: the same for every retry."""
        return f"{self.request_id}/{self.stage.name}/{self.visit}"


class AttemptState(StrEnum):
    """How an attempt ended. ``unconfirmed``: it was started and nothing is known of its end; it may be billed."""

    FINISHED = "finished"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"


class Attempt(Payload):
    """One attempt at a model call. Cost and usage of an attempt without an answer are upper estimates."""

    stage: str
    number: int
    state: AttemptState
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)
    latency_ms: float | None = None
    error: str | None = None


class StageAnswer(Payload):
    """What a model answered. ``model_version_served`` is the provider's own word for what answered.

    ``defect`` names what was wrong with an answer that came back as a success (unreadable, without choices, too
    large); such an answer is evidence against the stage, not a crash. What tells a whole answer from a broken one has
    no default, so that a history which lacks it is refused instead of read as whole.
    """

    text: str
    model_version_served: str
    finish_reason: str | None
    mean_logprob: float | None
    defect: str | None
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)
    latency_ms: float = 0.0
    logprob_tokens: int = 0

    def unusable(self) -> str | None:
        """Why nobody could use this answer, whatever a policy checks; None if it is whole."""
        if self.defect is not None:
            return self.defect
        if not self.text.strip():
            return "the answer is empty"
        return "the answer was cut off at its longest allowed length" if self.finish_reason == "length" else None

    def judged(self, input_text: str) -> Judged:
        """The answer as guardrails see it."""
        return Judged(
            text=self.text,
            finish_reason=self.finish_reason,
            mean_logprob=self.mean_logprob,
            defect=self.defect,
            input_text=input_text,
        )


class StageResult(Payload):
    """An answer with every attempt that this call of the stage took."""

    answer: StageAnswer
    attempts: tuple[Attempt, ...]


class FailureKind(StrEnum):
    """Why a stage has no answer: the provider failed for a moment or for good, or a ceiling forbade the call."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    CEILING = "ceiling"


class StageFailure(Payload):
    """A stage that ended without an answer, with every attempt it took."""

    kind: FailureKind
    message: str
    attempts: tuple[Attempt, ...] = ()


class StageEvidence(Payload):
    """An answer and what the guardrails said about it. ``stage_index`` counts from 0."""

    stage_index: int
    stage: str
    model: str
    answer: StageAnswer
    checks: tuple[CheckResult, ...] = ()


class Spent(Payload):
    """What a request has used so far, every attempt counted."""

    cost_usd: Decimal = Decimal(0)
    attempts: int = 0
    tokens: int = Field(default=0)

    def plus(self, attempts: tuple[Attempt, ...]) -> Spent:
        """The total with ``attempts`` added."""
        return Spent(
            cost_usd=self.cost_usd + sum((attempt.cost_usd for attempt in attempts), Decimal(0)),
            attempts=self.attempts + len(attempts),
            tokens=self.tokens + sum(attempt.usage.total for attempt in attempts),
        )
