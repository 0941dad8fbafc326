"""What a running request tells about itself: to the Query ``status``, to live views and to the Temporal UI."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from domain.guardrails import Verdict
from domain.payload import Payload
from domain.request import Status


class CheckLine(Payload):
    """A check and its verdict."""

    name: str
    verdict: Verdict


class StageLine(Payload):
    """A stage that was tried, with the checks of its answer; ``failure`` instead of checks if there was none."""

    stage: str
    model: str
    checks: tuple[CheckLine, ...] = ()
    failure: str | None = None


class Progress(Payload):
    """Where a request stands at this moment. ``doing`` is one sentence."""

    status: Status
    doing: str
    input_checks: tuple[CheckLine, ...] = ()
    stages: tuple[StageLine, ...] = ()
    cost_usd: Decimal = Decimal(0)
    review_version: int | None = None
    expires_at: datetime | None = None

    def markdown(self) -> str:
        """The same for the details pane of the Temporal UI. Holds names and verdicts, never content."""
        lines = [f"**{self.status}**: {self.doing}", ""]
        if self.input_checks:
            lines.append("Input: " + ", ".join(f"{check.name} {check.verdict}" for check in self.input_checks))
        for number, stage in enumerate(self.stages, start=1):
            said = stage.failure or ", ".join(f"{check.name} {check.verdict}" for check in stage.checks) or "called"
            lines.append(f"{number}. **{stage.stage}** ({stage.model}): {said}")
        lines += ["", f"Cost so far: {self.cost_usd:f} USD"]
        if self.expires_at is not None:
            lines.append(f"Held as review version {self.review_version}, until {self.expires_at.isoformat()}")
        return "\n".join(lines)
