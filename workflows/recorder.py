"""Collects decision records in the order things happened, until the next commit takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow

from domain.cascade import Decision
from domain.guardrails import CheckResult
from domain.ledger import DecisionRecord, RecordKind
from domain.override import JudgedOverride
from domain.payload import sha256_text
from domain.review import DecisionStatus, JudgedDecision
from domain.stage import Attempt, StageEvidence, StageFailure


class Recorder:
    """The uncommitted records of one request. Sequence numbers run on over all commits."""

    def __init__(self, request_id: str, sequence: int = 0) -> None:
        self._request_id = request_id
        self.sequence = sequence
        self._uncommitted: list[DecisionRecord] = []

    def note(
        self,
        kind: RecordKind,
        rationale: str,
        *,
        actor: str = "policy",
        stage: str | None = None,
        model: str | None = None,
        served: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Append a record with the Workflow's time."""
        self.sequence += 1
        self._uncommitted.append(
            DecisionRecord(
                request_id=self._request_id,
                sequence=self.sequence,
                at=workflow.now(),
                kind=kind,
                rationale=rationale,
                actor=actor,
                stage=stage,
                model=model,
                model_version_served=served,
                data=data or {},
            )
        )

    def checks(
        self, kind: RecordKind, checks: Sequence[CheckResult], stage: str | None = None, model: str | None = None
    ) -> None:
        """Append one record for each check."""
        for check in checks:
            self.note(
                kind,
                f"{check.verdict}: {check.rationale}",
                actor=f"check:{check.name}",
                stage=stage,
                model=model,
                data=check.model_dump(mode="json", exclude={"rationale"}, exclude_none=True),
            )

    def answer(self, evidence: StageEvidence, attempts: Sequence[Attempt]) -> None:
        """Append a model's answer, by hash (its text is in the attempt journal), and what the checks said of it."""
        answer = evidence.answer
        data = answer.model_dump(mode="json", exclude={"text", "model_version_served"}, exclude_none=True)
        self.note(
            RecordKind.STAGE_ANSWERED,
            answer.defect or f"answered in {len(attempts)} attempt{'s' if len(attempts) > 1 else ''}",
            actor=f"model:{evidence.model}",
            stage=evidence.stage,
            model=evidence.model,
            served=answer.model_version_served,
            data=data | {"result_sha256": sha256_text(answer.text), "attempts": _attempts(attempts)},
        )
        self.checks(RecordKind.OUTPUT_CHECKED, evidence.checks, evidence.stage, evidence.model)

    def failure(self, stage: str, model: str, failure: StageFailure) -> None:
        """Append a stage that gave no answer."""
        self.note(
            RecordKind.STAGE_FAILED,
            failure.message,
            actor=f"model:{model}",
            stage=stage,
            model=model,
            data={"kind": failure.kind, "attempts": _attempts(failure.attempts)},
        )

    def decision(self, decision: Decision) -> None:
        """Append what the policy decided."""
        self.note(
            RecordKind.DECIDED,
            f"{decision.verb}: {decision.because}",
            data={"verb": decision.verb, "rule": decision.rule},
        )

    def judged(self, decision: JudgedDecision) -> None:
        """Append what became of a reviewer's decision."""
        envelope = decision.envelope
        data: dict[str, Any] = {"status": decision.status}
        if envelope is not None:
            data |= envelope.model_dump(
                mode="json",
                include={"decision_id", "verdict", "reason", "result_sha256", "review_version", "decided_at"}
                | {"on_behalf_of", "overrule", "queue"},
                exclude_none=True,
            )
        self.note(
            RecordKind.DECISION_JUDGED,
            f"{decision.status}: {decision.because}",
            actor=_decider(decision),
            data=data,
        )

    def overridden(self, order: JudgedOverride) -> None:
        """Append what became of an operator's order."""
        envelope = order.envelope
        data: dict[str, Any] = {"status": order.status}
        if envelope is not None:
            data |= envelope.model_dump(
                mode="json", include={"decision_id", "action", "stage", "reason", "decided_at"}, exclude_none=True
            )
        proven = envelope is not None and order.status is not DecisionStatus.UNAUTHORISED
        self.note(
            RecordKind.OVERRIDE_JUDGED,
            f"{order.status}: {order.because}",
            actor=f"operator:{envelope.operator}" if envelope is not None and proven else "unknown",
            data=data,
        )

    def take(self) -> tuple[DecisionRecord, ...]:
        """All records since the last commit; they are then no longer kept here."""
        records = tuple(self._uncommitted)
        self._uncommitted.clear()
        return records


def _attempts(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    return [attempt.model_dump(mode="json", exclude={"stage"}, exclude_none=True) for attempt in attempts]


def _decider(decision: JudgedDecision) -> str:
    """Who decided, as far as that is proven: a name in an envelope whose signature does not hold is nobody's."""
    if decision.envelope is None or decision.status is DecisionStatus.UNAUTHORISED:
        return "unknown"
    return f"reviewer:{decision.envelope.reviewer}"
