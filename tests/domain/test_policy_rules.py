"""Policies that contradict themselves are refused, with the name of the part and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.guardrails import Action
from domain.policy import Policy, PolicySnapshot
from domain.risk import RiskTier
from tests.domain.strategies import TIERS, policies
from tests.examples import POLICY, snapshot

EU: dict[str, Any] = {"context": {"region": "eu"}}


def policy(**changes: Any) -> Policy:
    """The plain policy with top-level parts replaced, as a file would be read."""
    return Policy.model_validate({**POLICY, **changes}, extra="forbid")


def rule(start_at: str, when: dict[str, Any] | None = None) -> dict[str, Any]:
    """A routing rule."""
    return {"when": when or {}, "start_at": start_at, "because": f"enters at {start_at}"}


@given(st.data(), st.integers(1, 4))
def test_whatever_is_accepted_can_enter_at_its_first_stage(data: st.DataObject, count: int) -> None:
    names = [f"stage-{index}" for index in range(count)]
    whens: st.SearchStrategy[dict[str, Any]] = (
        st.just(EU) | TIERS.map(lambda tier: {"risk_at_least": tier}) | st.just({})
    )
    rules = [rule(data.draw(st.sampled_from(names)), data.draw(whens)) for _ in range(data.draw(st.integers(0, 3)))]
    default = data.draw(st.none() | st.sampled_from(names))
    stages = [{"name": name, "model": "small"} for name in names]
    try:
        accepted = policy(stages=stages, routing={"select": rules, "default": default})
    except ValidationError:
        return
    entries = {chosen.start_at for chosen in accepted.routing.select} | {accepted.routing.default or names[0]}
    assert names[0] in entries
    conditions = [chosen.when for chosen in accepted.routing.select]
    assert not any(condition.always for condition in conditions[:-1])
    assert all(condition not in conditions[:index] for index, condition in enumerate(conditions))


@given(policies())
def test_a_policy_survives_the_wire(made: Policy) -> None:
    assert Policy.model_validate_json(made.model_dump_json()) == made


def test_a_snapshot_survives_the_wire_with_every_guardrail_of_its_kind() -> None:
    pinned = snapshot()
    again = PolicySnapshot.model_validate_json(pinned.model_dump_json())
    assert again == pinned
    assert [type(check) for check in again.policy.guardrails.output] == [
        type(check) for check in pinned.policy.guardrails.output
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stages": [{"model": "small"}, {"model": "small"}]}, "two entries of stage are called 'small'"),
        ({"stages": []}, "stages"),
        ({"routing": {"default": "large"}}, "stage 'small' is unreachable"),
        ({"routing": {"select": [rule("large", EU)], "default": "large"}}, "stage 'small' is unreachable"),
        ({"routing": {"default": "huge"}}, "routing names stage 'huge', which does not exist"),
        ({"routing": {"select": [rule("huge", EU)]}}, "stages are small, large"),
        ({"routing": {"select": [rule("small"), rule("large", EU)]}}, r"enters at large\) is unreachable"),
        ({"routing": {"select": [rule("large", EU), rule("small", EU)]}}, r"enters at small\) is unreachable"),
        (
            {"guardrails": {"output": [{"check": "completeness"}, {"check": "completeness"}]}},
            "two entries of output guardrail are called 'completeness'",
        ),
        ({"guardrails": {"input": [{"check": "pii", "on_fail": "escalate"}]}}, "no answer exists yet"),
        ({"guardrails": {"input": [{"check": "pii", "on_error": "escalate"}]}}, "no answer exists yet"),
        ({"guardrails": {"output": [{"check": "magic"}]}}, "magic"),
        ({"guardrails": {"output": [{"check": "terms"}]}}, "names no term"),
        ({"guardrails": {"output": [{"check": "terms", "forbidden": [" "]}]}}, "empty term"),
        ({"guardrails": {"output": [{"check": "completeness", "must_match": "("}]}}, "regular expression"),
        ({"guardrails": {"output": [{"check": "bounds", "bounds": [{"field": "a"}]}]}}, "neither 'min' nor 'max'"),
        (
            {"guardrails": {"output": [{"check": "bounds", "bounds": [{"field": "a", "min": 2, "max": 1}]}]}},
            "'min' above 'max'",
        ),
        ({"hold": {}}, "expires_after"),
        ({"hold": {"expires_after": "0s"}}, "longer than zero"),
        ({"ceilings": {**POLICY["ceilings"], "attempts": 0}}, "attempts"),
        ({"ceilings": {**POLICY["ceilings"], "cost_usd": "-1"}}, "cost_usd"),
        ({"on_exhausted": "accept"}, "on_exhausted"),
        ({"on_unavailable": "continue"}, "on_unavailable"),
        ({"safe_output": ""}, "safe_output"),
        ({"on_exhaustion": "hold"}, "on_exhaustion"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        policy(**changes)


def test_names_are_taken_from_what_is_named() -> None:
    made = policy(stages=[{"model": "small"}], guardrails={"output": [{"check": "terms", "forbidden": ["x"]}]})
    assert made.stages[0].name == "small"
    assert made.guardrails.output[0].name == "terms"


def test_fails_closed_unless_it_says_otherwise() -> None:
    made = policy(guardrails={"output": [{"check": "completeness"}]})
    (check,) = made.guardrails.output
    assert (check.on_fail, check.on_error) == (Action.HOLD, Action.HOLD)
    assert made.on_exhausted is Action.HOLD
    assert made.on_unavailable == "fall_back"
    assert made.risk.hold_at is RiskTier.HIGH
