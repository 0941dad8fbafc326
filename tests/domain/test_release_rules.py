"""The end of a request: an answer that was let out, or the safe output and no model's name."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.payload import sha256_text
from domain.release import Tally, release_answer, withhold_answer
from domain.request import Outcome, RequestResult, Status
from domain.risk import RiskTier
from domain.stage import Spent, StageAnswer, StageEvidence
from domain.usage import Usage
from tests.domain.strategies import TIERS, WORDS, spendings
from tests.examples import SAFE, request

LET_OUT = [Outcome.ACCEPTED, Outcome.APPROVED, Outcome.EDITED]
WITHHELD = [outcome for outcome in Outcome if outcome not in LET_OUT]
PINNED = request()


def evidence(text: str = "secret draft", tokens: int = 100) -> StageEvidence:
    """A small model's answer."""
    answer = StageAnswer(
        text=text,
        model_version_served="small-1",
        finish_reason="stop",
        mean_logprob=None,
        defect=None,
        usage=Usage(input_tokens=tokens, output_tokens=tokens),
    )
    return StageEvidence(stage_index=0, stage="small", model="small", answer=answer)


def tally(risk: RiskTier, spent: Spent, *items: StageEvidence) -> Tally:
    """What a request took."""
    return Tally(risk=risk, spent=spent, stages_attempted=len(items), evidence=items)


@given(st.sampled_from(LET_OUT), WORDS, TIERS, spendings())
def test_a_released_answer_is_the_text_with_its_hash(outcome: Outcome, text: str, risk: RiskTier, spent: Spent) -> None:
    item = evidence()
    result = release_answer(PINNED, tally(risk, spent, item), outcome, "so", text, item)
    assert result.status is Status.COMPLETED
    assert (result.output, result.result_sha256) == (text, sha256_text(text))
    assert (result.model, result.model_version_served) == ("small", "small-1")
    assert (result.cost_usd, result.tokens, result.risk) == (spent.cost_usd, spent.tokens, risk)
    assert RequestResult.model_validate_json(result.model_dump_json()) == result


@given(st.sampled_from(WITHHELD), TIERS, spendings())
def test_a_withheld_answer_leaves_no_trace_of_the_model(outcome: Outcome, risk: RiskTier, spent: Spent) -> None:
    result = withhold_answer(PINNED, tally(risk, spent, evidence()), outcome, "so")
    assert result.status is not Status.COMPLETED
    assert result.output == (None if outcome is Outcome.CANCELLED else SAFE)
    assert result.result_sha256 == (None if result.output is None else sha256_text(SAFE))
    assert result.model is None
    assert result.model_version_served is None
    assert "secret draft" not in result.model_dump_json()
    assert result.cost_usd == spent.cost_usd, "what was spent is told whatever came of it"


@pytest.mark.parametrize(("items", "baseline"), [((), "0"), ((evidence(tokens=100),), "0.002")])
def test_the_baseline_is_the_last_model_at_the_same_tokens(items: tuple[StageEvidence, ...], baseline: str) -> None:
    result = withhold_answer(PINNED, tally(RiskTier.LOW, Spent(), *items), Outcome.REFUSED, "so")
    assert result.baseline_cost_usd == Decimal(baseline)
