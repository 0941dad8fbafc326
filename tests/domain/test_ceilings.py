"""Ceilings are hard: whatever was spent, a call over any of them is forbidden, and demands only tighten them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cascade import ceilings_left, forbidden_by_ceiling
from domain.request import Constraints
from domain.stage import Attempt, AttemptState, Budget, Spent
from domain.usage import Usage
from tests.domain.strategies import USD, constraints, spendings
from tests.examples import snapshot

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
POLICY = snapshot().policy
USAGES = st.builds(Usage, input_tokens=st.integers(0, 20_000), output_tokens=st.integers(0, 20_000))
DELAYS = st.integers(0, 120_000).map(lambda milliseconds: timedelta(milliseconds=milliseconds))


@given(spendings(), constraints(), USAGES, USD, DELAYS)
def test_a_call_is_allowed_only_within_every_ceiling(
    spent: Spent, demands: Constraints, usage: Usage, cost: Decimal, after: timedelta
) -> None:
    budget = ceilings_left(POLICY, demands, spent, START)
    allowed = forbidden_by_ceiling(budget, usage, cost, START + after) is None
    most = min(POLICY.ceilings.cost_usd, demands.max_cost_usd if demands.max_cost_usd is not None else Decimal(99))
    longest = min(POLICY.ceilings.wall_clock, timedelta(milliseconds=demands.max_latency_ms or 10**9))
    assert allowed == (
        spent.cost_usd + cost <= most
        and spent.attempts + 1 <= POLICY.ceilings.attempts
        and spent.tokens + usage.total <= POLICY.ceilings.tokens
        and after < longest
    )


@given(spendings(), constraints())
def test_demands_only_tighten(spent: Spent, demands: Constraints) -> None:
    free, bound = (ceilings_left(POLICY, asked, spent, START) for asked in (Constraints(), demands))
    assert bound.cost_usd <= free.cost_usd
    assert bound.deadline <= free.deadline
    assert (bound.attempts, bound.tokens) == (free.attempts, free.tokens)


@given(spendings(), spendings())
def test_every_attempt_counts(spent: Spent, more: Spent) -> None:
    attempt = Attempt(
        stage="small",
        number=1,
        state=AttemptState.UNCONFIRMED,
        usage=Usage(input_tokens=more.tokens),
        cost_usd=more.cost_usd,
    )
    total = spent.plus((attempt, attempt))
    assert total.attempts == spent.attempts + 2
    assert total.cost_usd == spent.cost_usd + 2 * more.cost_usd
    assert total.tokens == spent.tokens + 2 * more.tokens


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attempts": 0}, "no attempt is left"),
        ({"cost_usd": Decimal("-3")}, "0 USD are left"),
        ({"tokens": -5}, "0 are left"),
        ({"deadline": START}, "the time for this request ended"),
    ],
)
def test_the_reason_is_told(change: dict[str, object], words: str) -> None:
    budget = Budget(cost_usd=Decimal(1), attempts=1, tokens=10, deadline=START + timedelta(seconds=1))
    told = forbidden_by_ceiling(budget.model_copy(update=change), Usage(input_tokens=1), Decimal("0.5"), START)
    assert told is not None
    assert words in told
