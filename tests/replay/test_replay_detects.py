"""Shows that the golden histories catch real mistakes: each change here is one that somebody could make.

The changes are made to the modules themselves; they take effect because our packages are passed through the sandbox.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow

import workflows.cascade
import workflows.checks
from domain.cascade import Decision, Verb, decide
from domain.guardrails import Verdict
from domain.override import OverrideEnvelope
from domain.payload import Payload
from domain.request import Outcome
from domain.risk import RiskTier
from tests.replay.recorded import HISTORIES
from tests.replay.replaying import ReplayBrokenError, check_replay
from workflows.cascade import CascadeWorkflow


async def told(path: str) -> str:
    """What is said about the path's history, which must not replay."""
    with pytest.raises(ReplayBrokenError) as caught:
        await check_replay(HISTORIES / f"{path}.json")
    assert "workflow.patched(" in str(caught.value)
    return str(caught.value)


async def test_a_threshold_that_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    def above(tier: RiskTier, other: RiskTier) -> bool:
        return tier.rank > other.rank

    monkeypatch.setattr(RiskTier, "at_least", above)
    said = await told("high_risk_then_rejected")
    assert "[TMPRL1100] Nondeterminism error: Activity machine does not handle this event" in said


async def test_a_rule_that_decides_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(*arguments: Any) -> Decision:
        decision = decide(*arguments)
        return decision.model_copy(update={"verb": Verb.ESCALATE}) if "terms" in decision.rule else decision

    monkeypatch.setattr(workflows.cascade, "decide", lenient)
    said = await told("finding_then_edited")
    assert "[TMPRL1100] Nondeterminism error: Activity machine does not handle this event" in said


async def test_an_added_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    visit = CascadeWorkflow._visit

    async def patient(self: CascadeWorkflow) -> Decision | OverrideEnvelope:
        await workflow.sleep(timedelta(seconds=1))
        return await visit(self)

    monkeypatch.setattr(CascadeWorkflow, "_visit", patient)
    said = await told("accepted_at_first_stage")
    assert "[TMPRL1100] Nondeterminism error: Timer machine does not handle this event" in said


async def test_a_renamed_field(monkeypatch: pytest.MonkeyPatch) -> None:
    class CheckResult(Payload):
        """The result of a check whose ``verdict`` is now called ``judgement``."""

        name: str
        check: str
        judgement: Verdict
        rationale: str

    monkeypatch.setattr(workflows.checks, "CheckResult", CheckResult)
    said = await told("accepted_at_first_stage")
    assert "Failed decoding arguments" in said
    assert "validation error for CheckResult\njudgement\n  Field required" in said


async def test_another_end_by_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporal compares steps, not what they carry: only the comparison of the results notices this one."""
    monkeypatch.setitem(workflows.cascade._WITHHELD, Verb.FALL_BACK, Outcome.REFUSED)
    assert "outcome was 'fell_back' and is now 'refused'" in await told("unavailable_fell_back")
