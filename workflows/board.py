"""Tells the world where a request stands: the Query, the Temporal UI's details and the Search Attributes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey

from domain.attributes import RISK, STATUS
from domain.guardrails import CheckResult
from domain.progress import CheckLine, Progress, StageLine
from domain.request import Status
from domain.risk import RiskTier
from domain.stage import Spent

_STATUS = SearchAttributeKey.for_keyword(STATUS)
_RISK = SearchAttributeKey.for_keyword(RISK)


class Board:
    """The visible state of one request. Holds names, verdicts and costs, never content."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress = progress or Progress(status=Status.RUNNING, doing="arrived")

    def doing(self, sentence: str, **changes: Any) -> None:
        """Say what happens now."""
        self.progress = self.progress.model_copy(update={"doing": sentence, **changes})
        workflow.set_current_details(self.progress.markdown())

    def input_checked(self, checks: Sequence[CheckResult]) -> None:
        """Show the verdicts on the input."""
        self.progress = self.progress.model_copy(update={"input_checks": _lines(checks)})

    def stage_ended(
        self, stage: str, model: str, spent: Spent, checks: Sequence[CheckResult] = (), failure: str | None = None
    ) -> None:
        """Show a stage with the verdicts on its answer, or why it has none."""
        line = StageLine(stage=stage, model=model, checks=_lines(checks), failure=failure)
        self.progress = self.progress.model_copy(
            update={"stages": (*self.progress.stages, line), "cost_usd": spent.cost_usd}
        )

    def held(self, why: str, review_version: int, expires_at: datetime, risk: RiskTier) -> None:
        """Show that a person is waited for."""
        self.doing(f"held: {why}", status=Status.HELD, review_version=review_version, expires_at=expires_at)
        workflow.upsert_search_attributes([_STATUS.value_set(Status.HELD), _RISK.value_set(risk)])

    def resumed(self, sentence: str) -> None:
        """Show that a person sent the request on."""
        self.doing(sentence, status=Status.RUNNING, expires_at=None)
        workflow.upsert_search_attributes([_STATUS.value_set(Status.RUNNING)])

    def ended(self, status: Status, reason: str) -> None:
        """Show the end."""
        was_held = self.progress.review_version is not None
        self.doing(reason, status=status, expires_at=None)
        if was_held:
            workflow.upsert_search_attributes([_STATUS.value_set(status)])


def _lines(checks: Sequence[CheckResult]) -> tuple[CheckLine, ...]:
    return tuple(CheckLine(name=check.name, verdict=check.verdict) for check in checks)
