"""What Activities need of the outside world. ``adapters/`` implements these; tests use small fakes."""

from __future__ import annotations

from typing import Protocol

from domain.catalog import ModelEntry
from domain.guardrails import Finding, Verdict
from domain.ledger import Admission, Ending, Judgement, ReviewOpening
from domain.override import OverrideEnvelope
from domain.payload import Payload
from domain.policy import Stage
from domain.request import Message
from domain.review import DecisionCheck
from domain.stage import Attempt, StageAnswer


class ModelCall(Payload):
    """One call of a model. ``call_key`` is the idempotency key, equal for every retry of the same call."""

    call_key: str
    model: ModelEntry
    stage: Stage
    conversation: tuple[Message, ...]


class ModelProvider(Protocol):
    """Calls models over the network."""

    async def complete(self, call: ModelCall) -> StageAnswer:
        """The model's answer, without cost. Raises ``ProviderError``; a useless 200 is an answer with a ``defect``."""
        ...


class AttemptJournal(Protocol):
    """Knows every attempt at every model call, so that an answer is never paid for twice without being counted.

    **Correctness:** ``begin`` is written before the call and ``finish`` before the Activity returns. A worker that dies
    in between leaves an attempt that was begun and not finished; the next ``begin`` finds it.
    """

    async def recall(self, call_key: str) -> tuple[StageAnswer | None, tuple[Attempt, ...]]:
        """The stored answer, if any, and every attempt recorded. Attempts without an end come back ``unconfirmed``."""
        ...

    async def begin(self, call_key: str, attempt: Attempt) -> tuple[StageAnswer | None, tuple[Attempt, ...]]:
        """Record the start of an attempt; ``attempt`` carries the upper estimate of what it may cost.

        Returns what ``recall`` would if this very attempt was begun before (the same number under the same key), and
        nothing otherwise.
        """
        ...

    async def finish(self, call_key: str, attempt: Attempt, answer: StageAnswer) -> None:
        """Record the end of an attempt together with its answer."""
        ...

    async def fail(self, call_key: str, attempt: Attempt) -> None:
        """Record the end of an attempt without an answer."""
        ...


class Ledger(Protocol):
    """The append-only store of decision records.

    **Correctness:** every method may run twice with the same argument (Activities are at-least-once) and then changes
    nothing; an argument that contradicts what is stored raises ``LedgerConflictError``.
    """

    async def admit(self, admission: Admission) -> None:
        """Enter a request."""
        ...

    async def open_review(self, opening: ReviewOpening) -> None:
        """Commit the records up to a hold and show the answer to reviewers."""
        ...

    async def judge(self, judgement: Judgement) -> None:
        """Commit what became of decisions while the request goes on."""
        ...

    async def end(self, ending: Ending) -> None:
        """Commit the end of a request. Only after this may its answer be released."""
        ...


class Verification(Payload):
    """What a verification service said."""

    verdict: Verdict
    rationale: str
    findings: tuple[Finding, ...] = ()
    score: float | None = None


class Verifier(Protocol):
    """Asks verification services."""

    async def verify(self, verifier: str, text: str, input_text: str | None, timeout_seconds: float) -> Verification:
        """The verdict of the service called ``verifier`` in the catalog. Raises ``VerifierError``."""
        ...


class DecisionAuthority(Protocol):
    """Says whether an order comes from the API, unchanged, and from a person who may give it."""

    async def problem(self, check: DecisionCheck) -> str | None:
        """Why the decision may not be applied: its signature, or the rights of the reviewer; None if it may.

        Where ``check.who`` is None only the signature counts. Raises where the roster cannot be read: nobody is taken
        for entitled because nobody could be asked.
        """
        ...

    async def override_problem(self, envelope: OverrideEnvelope) -> str | None:
        """Why the operator's order may not be applied; None if it may."""
        ...
