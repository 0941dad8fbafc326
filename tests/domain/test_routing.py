"""Routing, for any policy and any request: never before the rules' entry, and demands only take stages away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.catalog import ModelEntry
from domain.policy import Policy, PolicySnapshot, When
from domain.request import CascadeInput, Constraints, RequestBody
from domain.risk import RiskTier, highest
from domain.route import assess_risk, holds, mentions, route, worst_case
from tests.domain.strategies import TIERS, bodies, constraints
from tests.examples import POLICY, model, request

REGIONS = st.sampled_from(["eu", "us"])
WHENS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    TIERS.map(lambda tier: {"risk_at_least": tier}),
    st.integers(0, 10).map(lambda tokens: {"input_tokens_over": tokens}),
    REGIONS.map(lambda region: {"context": {"region": region}}),
    st.just({"context": {"region": ["eu", "us"]}}),
    st.integers(0, 9).map(lambda number: {"context_over": {"amount": number}}),
    st.just({"input_mentions": ["late", "lost parcel"]}),
)


@st.composite
def routed(draw: st.DrawFn) -> PolicySnapshot:
    """A policy with up to four stages, any models, and rules that may enter anywhere."""
    count = draw(st.integers(1, 4))
    names = [f"stage-{index}" for index in range(count)]
    whens = draw(st.lists(WHENS, max_size=3, unique_by=str))
    rules = [{"when": when, "start_at": draw(st.sampled_from(names)), "because": "a rule says so"} for when in whens]
    always = [index for index, rule in enumerate(rules) if rule["when"] == {}]
    policy = Policy.model_validate(
        {
            **POLICY,
            "stages": [{"name": name, "model": name, "max_output_tokens": 100} for name in names],
            # A rule behind one that always holds is an error of its own.
            "routing": {"select": rules[: always[0] + 1] if always else rules, "default": names[0]},
            "risk": {
                "default": draw(TIERS),
                "rules": [{"when": draw(WHENS), "to": draw(TIERS), "because": "so"} for _ in range(2)],
            },
        }
    )
    models = tuple(draw(entries(name)) for name in names)
    return PolicySnapshot(policy=policy, models=models, version="0123456789abcdef")


@st.composite
def entries(draw: st.DrawFn, name: str) -> ModelEntry:
    """A model with any properties."""
    return ModelEntry.model_validate(
        {
            **model(name, draw(st.sampled_from(["1", "100", "20000"])), draw(st.floats(0, 1))),
            "latency_ms": draw(st.integers(1, 2000)),
            "context_window": draw(st.sampled_from([50, 150, 100_000])),
            "capabilities": draw(st.sets(st.sampled_from(["text", "vision"]))),
            "data_classes": draw(st.sets(st.sampled_from(["public", "secret"]))),
        }
    )


@st.composite
def arrivals(draw: st.DrawFn) -> RequestBody:
    """A request that some of the rules may be about."""
    context: dict[str, Any] = {}
    if draw(st.booleans()):
        context["region"] = draw(REGIONS)
    if draw(st.booleans()):
        context["amount"] = draw(st.integers(0, 12) | st.booleans())
    text = draw(st.sampled_from(["hello", "it is late", "the lost\nparcel", "later, elsewhere and so much longer"]))
    return RequestBody(policy="plain", input=text, context=context, constraints=draw(constraints()))


def asked(policy: PolicySnapshot, body: RequestBody) -> CascadeInput:
    """The request under the policy."""
    return request(policy=policy).model_copy(update={"body": body})


@given(routed(), arrivals())
def test_the_path_holds_eligible_stages_in_order_from_the_entry(policy: PolicySnapshot, body: RequestBody) -> None:
    rules = policy.policy.routing.select
    decision = route(asked(policy, body))
    entry = next((rule.start_at for rule in rules if holds(rule.when, body, decision.risk)), "stage-0")
    assert list(decision.path) == sorted(set(decision.path))
    assert all(index >= policy.policy.stage_index(entry) for index in decision.path)
    assert [stage.stage for stage in decision.considered] == [stage.name for stage in policy.policy.stages]
    assert [index for index, stage in enumerate(decision.considered) if stage.eligible] == list(decision.path)
    assert all(stage.because for stage in decision.considered)


@given(routed(), arrivals())
def test_every_stage_of_the_path_satisfies_every_demand(policy: PolicySnapshot, body: RequestBody) -> None:
    demands = body.constraints
    for index in route(asked(policy, body)).path:
        entry, stage = policy.models[index], policy.policy.stages[index]
        usage, cost = worst_case(stage, entry, body)
        assert set(demands.capabilities) <= set(entry.capabilities)
        assert set(demands.data_classes) <= set(entry.data_classes)
        assert entry.quality >= (demands.min_quality or 0)
        assert demands.max_latency_ms is None or entry.latency_ms <= demands.max_latency_ms
        assert demands.max_cost_usd is None or cost <= demands.max_cost_usd
        assert cost <= policy.policy.ceilings.cost_usd
        assert usage.total <= entry.context_window


@given(routed(), arrivals())
def test_demands_only_take_stages_away(policy: PolicySnapshot, body: RequestBody) -> None:
    # The risk a requester asks for may choose another rule; every other demand may only remove stages.
    undemanding = body.model_copy(update={"constraints": Constraints(risk=body.constraints.risk)})
    assert set(route(asked(policy, body)).path) <= set(route(asked(policy, undemanding)).path)


@given(routed(), arrivals(), TIERS)
def test_a_requester_can_raise_the_risk_and_never_lower_it(
    policy: PolicySnapshot, body: RequestBody, tier: RiskTier
) -> None:
    without = body.model_copy(update={"constraints": Constraints()})
    with_demand = body.model_copy(update={"constraints": Constraints(risk=tier)})
    own, _ = assess_risk(policy.policy, without)
    raised, reasons = assess_risk(policy.policy, with_demand)
    assert raised.at_least(own)
    assert raised.at_least(tier)
    assert own.at_least(policy.policy.risk.default)
    assert reasons


@given(bodies(), TIERS)
def test_an_empty_condition_always_holds(body: RequestBody, tier: RiskTier) -> None:
    assert When().always
    assert holds(When(), body, tier)


@given(st.lists(st.none() | TIERS))
def test_the_highest_tier(tiers: list[RiskTier | None]) -> None:
    top = highest(*tiers)
    assert all(tier is None or top.at_least(tier) for tier in tiers)
    assert top in tiers or top is RiskTier.LOW


@pytest.mark.parametrize(
    ("text", "term", "found"),
    [
        ("a LOST  parcel.", "lost parcel", True),
        ("lost\nparcel", "lost parcel", True),
        ("later", "late", False),
        ("late-comer", "late", True),
        ("straße", "STRASSE", False),
        ("c++", "c++", True),
    ],
)
def test_terms_are_whole_words(text: str, term: str, found: bool) -> None:
    assert (mentions(text, term) is not None) == found


def test_absent_and_boolean_fields_are_never_over_a_limit() -> None:
    when = When(context_over={"amount": 0})
    for context in ({}, {"amount": True}, {"amount": "9"}):
        body = RequestBody.model_validate({"policy": "plain", "input": "x", "context": context})
        assert not holds(when, body, RiskTier.LOW)
