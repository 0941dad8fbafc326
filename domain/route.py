"""Routing: how risky a request is, which stages may serve it, and why each other one may not."""

from __future__ import annotations

import re
from decimal import Decimal

from domain.catalog import ModelEntry
from domain.payload import Payload
from domain.policy import Policy, Stage, When
from domain.request import CascadeInput, RequestBody
from domain.risk import RiskTier, highest
from domain.usage import Usage, estimate_tokens


class Considered(Payload):
    """A stage that routing looked at, and in words why it was chosen or not."""

    stage: str
    model: str
    eligible: bool
    because: str


class RouteDecision(Payload):
    """Where a request enters and may escalate to. ``path`` holds stage indexes, entry first; it may be empty."""

    risk: RiskTier
    risk_because: tuple[str, ...]
    path: tuple[int, ...]
    entry_because: str
    considered: tuple[Considered, ...]


def mentions(text: str, term: str) -> re.Match[str] | None:
    """Where ``term`` occurs in ``text`` as whole words, case ignored and any white space equal; None if nowhere."""
    words = r"\s+".join(re.escape(word) for word in term.split())
    return re.search(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE)


def holds(when: When, body: RequestBody, risk: RiskTier) -> bool:
    """Whether the request meets every part of ``when``. A context field that is absent meets nothing."""
    text = body.input_text()
    if when.risk_at_least is not None and not risk.at_least(when.risk_at_least):
        return False
    if when.input_tokens_over is not None and estimate_tokens(text) <= when.input_tokens_over:
        return False
    for key, wanted in when.context.items():
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        if not any(body.context.get(key) == value for value in allowed):
            return False
    for key, limit in when.context_over.items():
        value = body.context.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= limit:
            return False
    return not when.input_mentions or any(mentions(text, term) for term in when.input_mentions)


def assess_risk(policy: Policy, body: RequestBody) -> tuple[RiskTier, tuple[str, ...]]:
    """The request's risk tier with its reasons. The request itself can raise it, never lower it."""
    tier = policy.risk.default
    reasons = [f"policy default is {tier}"]
    asked = body.constraints.risk
    if asked is not None and asked.rank > tier.rank:
        tier = asked
        reasons.append(f"requester asked for {asked}")
    for rule in policy.risk.rules:
        if rule.to.rank > tier.rank and holds(rule.when, body, tier):
            tier = highest(tier, rule.to)
            reasons.append(f"{rule.because}: {rule.to}")
    return tier, tuple(reasons)


def worst_case(stage: Stage, model: ModelEntry, body: RequestBody) -> tuple[Usage, Decimal]:
    """The most one call of ``stage`` can use and cost in US dollars: the whole input and the longest allowed output."""
    tokens = estimate_tokens(body.input_text()) + estimate_tokens(stage.system or "")
    usage = Usage(input_tokens=tokens, output_tokens=stage.max_output_tokens, estimated=True)
    return usage, model.price.cost(usage)


def obstacle(stage: Stage, model: ModelEntry, policy: Policy, body: RequestBody) -> str | None:
    """Why ``stage`` cannot meet what the request and the policy demand; None if it can."""
    demands = body.constraints
    usage, cost = worst_case(stage, model, body)
    lacking = [wanted for wanted in demands.capabilities if wanted not in model.capabilities]
    barred = [wanted for wanted in demands.data_classes if wanted not in model.data_classes]
    limit = policy.ceilings.cost_usd
    if demands.max_cost_usd is not None:
        limit = min(limit, demands.max_cost_usd)
    if lacking:
        return f"lacks {', '.join(lacking)}"
    if barred:
        return f"may not see {', '.join(barred)} data"
    if demands.min_quality is not None and model.quality < demands.min_quality:
        return f"quality {model.quality:g} is below the demanded {demands.min_quality:g}"
    if demands.max_latency_ms is not None and model.latency_ms > demands.max_latency_ms:
        return f"takes about {model.latency_ms} ms, more than the allowed {demands.max_latency_ms} ms"
    if usage.total > model.context_window:
        return f"may need {usage.total} tokens, more than its context window of {model.context_window}"
    if cost > limit:
        return f"one call may cost {cost:f} USD, more than the allowed {limit:f} USD"
    return None


def _entry(policy: Policy, body: RequestBody, risk: RiskTier) -> tuple[int, str]:
    for rule in policy.routing.select:
        if holds(rule.when, body, risk):
            return policy.stage_index(rule.start_at), rule.because
    if policy.routing.default is not None:
        return policy.stage_index(policy.routing.default), "policy default"
    return 0, "cheapest stage first"


def route(request: CascadeInput) -> RouteDecision:
    """Choose the entry stage: the first at or after the rules' entry that can satisfy every demand.

    A request never enters or moves to a stage before the one its rules name, so a model that is unavailable can only
    lead to a stronger one.
    """
    policy, body = request.policy.policy, request.body
    risk, reasons = assess_risk(policy, body)
    entry, because = _entry(policy, body, risk)
    path: list[int] = []
    considered: list[Considered] = []
    for index, (stage, model) in enumerate(zip(policy.stages, request.policy.models, strict=True)):
        lacking = obstacle(stage, model, policy, body)
        if index < entry:
            why, eligible = f"route enters at {policy.stages[entry].name}: {because}", False
        elif lacking is not None:
            why, eligible = lacking, False
        else:
            eligible = True
            why = f"entry: {because}" if not path else "kept for escalation"
            path.append(index)
        considered.append(Considered(stage=stage.name, model=model.name, eligible=eligible, because=why))
    return RouteDecision(
        risk=risk, risk_because=reasons, path=tuple(path), entry_because=because, considered=tuple(considered)
    )
