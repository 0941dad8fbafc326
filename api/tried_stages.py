"""The stages that were tried for a request, out of its record: answer beside answer, each with what the checks said."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from adapters.review_rows import AnswerView
from api.review_views import CheckView, TriedStage
from domain.guardrails import Finding, Verdict
from domain.ledger import DecisionRecord, RecordKind
from domain.payload import sha256_text
from domain.review import Proposal
from domain.stage import Attempt

_CHECKED = (RecordKind.INPUT_CHECKED, RecordKind.OUTPUT_CHECKED, RecordKind.EDIT_CHECKED)
_TRIED = (RecordKind.STAGE_ANSWERED, RecordKind.STAGE_FAILED)


def checks_of(records: Iterable[DecisionRecord]) -> tuple[CheckView, ...]:
    """Every verdict in ``records``, in order."""
    return tuple(_check(record) for record in records if record.kind in _CHECKED)


def edit_checks(records: Sequence[DecisionRecord]) -> tuple[CheckView, ...]:
    """The verdicts on the text of a reviewer that was checked last."""
    last = max((index for index, record in enumerate(records) if record.kind is RecordKind.EDIT_CHECKED), default=-1)
    first = last
    while first > 0 and records[first - 1].kind is RecordKind.EDIT_CHECKED:
        first -= 1
    return checks_of(records[first : last + 1]) if last >= 0 else ()


def tried_stages(
    records: Sequence[DecisionRecord], answers: Sequence[AnswerView], proposal: Proposal, original_sha256: str
) -> tuple[TriedStage, ...]:
    """Every stage that was tried, in order.

    ``original_sha256`` is the hash of the model's text that is held, or that a reviewer's text took the place of.
    """
    left = list(answers)
    stages: list[TriedStage] = []
    for index, record in enumerate(records):
        if record.kind not in _TRIED:
            continue
        checks = []
        for later in records[index + 1 :]:
            if later.kind in _TRIED:
                break
            if later.kind is RecordKind.OUTPUT_CHECKED:
                checks.append(_check(later))
        text = _text(record, left) if record.kind is RecordKind.STAGE_ANSWERED else None
        stages.append(_tried(len(stages) + 1, record, text, tuple(checks)))
    at = _proposed(stages, proposal, original_sha256)
    return tuple(stage.model_copy(update={"proposed": index == at}) for index, stage in enumerate(stages))


def _proposed(stages: Sequence[TriedStage], proposal: Proposal, sha256: str) -> int | None:
    """The stage that gave the held text: the last one with its hash, for a model may answer the same twice."""
    if proposal.stage_index is None:
        return None
    return max((index for index, stage in enumerate(stages) if stage.result_sha256 == sha256), default=None)


def _tried(number: int, record: DecisionRecord, text: str | None, checks: tuple[CheckView, ...]) -> TriedStage:
    data = record.data
    attempts = _attempts(record)
    latencies = [attempt.latency_ms for attempt in attempts if attempt.latency_ms is not None]
    return TriedStage(
        number=number,
        stage=record.stage or "",
        model=record.model,
        model_version_served=record.model_version_served,
        text=text,
        result_sha256=data.get("result_sha256"),
        failure=record.rationale if record.kind is RecordKind.STAGE_FAILED else None,
        defect=data.get("defect"),
        finish_reason=data.get("finish_reason"),
        confidence=_confidence(data, checks),
        cost_usd=float(sum((attempt.cost_usd for attempt in attempts), Decimal(0))),
        latency_ms=sum(latencies) if latencies else None,
        tokens=sum(attempt.usage.total for attempt in attempts),
        attempts=len(attempts),
        checks=checks,
        proposed=False,
    )


def _attempts(record: DecisionRecord) -> list[Attempt]:
    return [Attempt.model_validate({"stage": record.stage or "", **told}) for told in record.data.get("attempts", ())]


def _text(record: DecisionRecord, left: list[AnswerView]) -> str | None:
    """The answer that ``record`` tells of, by its hash; it is taken out of ``left``."""
    for index, answer in enumerate(left):
        if answer.stage == record.stage and sha256_text(answer.answer.text) == record.data.get("result_sha256"):
            return left.pop(index).answer.text
    return None


def _confidence(data: dict[str, Any], checks: Sequence[CheckView]) -> float | None:
    for check in checks:
        if check.check == "confidence" and check.score is not None:
            return check.score
    logprob = data.get("mean_logprob")
    return math.exp(logprob) if isinstance(logprob, int | float) else None


def _check(record: DecisionRecord) -> CheckView:
    data = record.data
    return CheckView(
        stage=record.stage,
        name=str(data.get("name", record.actor)),
        verdict=_verdict(data.get("verdict")),
        rationale=record.rationale,
        check=data.get("check"),
        score=data.get("score"),
        threshold=data.get("threshold"),
        findings=tuple(_findings(data.get("findings", ()))),
    )


def _verdict(told: object) -> Verdict:
    """What is no verdict was none, and an absent verdict is an error and never a pass."""
    return next((verdict for verdict in Verdict if verdict == told), Verdict.ERROR)


def _findings(told: Iterable[Any]) -> Iterable[Finding]:
    for finding in told:
        try:
            yield Finding.model_validate(finding)
        except ValidationError:
            continue  # of an older or newer version; the check's rationale says it in words
