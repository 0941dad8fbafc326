"""Values for property tests: anything that a policy, a request or a check could hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from domain.guardrails import Action, CheckResult, Guardrail, TermsGuardrail, Verdict
from domain.policy import Policy
from domain.request import Constraints, RequestBody
from domain.review import DecisionEnvelope, ReviewVerdict
from domain.risk import RiskTier
from domain.stage import Spent
from tests.examples import POLICY

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40)
USD = st.decimals(min_value=0, max_value=10, places=6)
TIMES = st.integers(0, 10**9).map(lambda seconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
TIERS = st.sampled_from(RiskTier)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def guardrails(draw: st.DrawFn, *, input_checks: bool = False) -> tuple[Guardrail, ...]:
    """Up to four checks with any meaning of their verdicts."""
    actions = st.sampled_from([action for action in Action if not (input_checks and action is Action.ESCALATE)])
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    return tuple(
        TermsGuardrail(check="terms", name=name, forbidden=("x",), on_fail=draw(actions), on_error=draw(actions))
        for name in names
    )


@st.composite
def results(draw: st.DrawFn, checks: tuple[Guardrail, ...], *, complete: bool = False) -> tuple[CheckResult, ...]:
    """What the checks said, in any order; some may not have run."""
    ran = draw(st.permutations(checks))
    if not complete:
        ran = ran[: draw(st.integers(0, len(ran)))]
    return tuple(said(check.name, draw(st.sampled_from(Verdict))) for check in ran)


def said(name: str, verdict: Verdict) -> CheckResult:
    """A check's result."""
    return CheckResult(name=name, check="terms", verdict=verdict, rationale="so it is")


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy with any checks and any settings for what follows from them."""
    return Policy.model_validate(
        {
            **POLICY,
            "guardrails": {"input": draw(guardrails(input_checks=True)), "output": draw(guardrails())},
            "risk": {"hold_at": draw(TIERS)},
            "on_exhausted": draw(st.sampled_from(["hold", "refuse"])),
            "on_unavailable": draw(st.sampled_from(["hold", "refuse", "fall_back"])),
        }
    )


@st.composite
def constraints(draw: st.DrawFn) -> Constraints:
    """Any demands."""
    return Constraints(
        max_latency_ms=draw(st.none() | st.integers(1, 2000)),
        max_cost_usd=draw(st.none() | USD),
        min_quality=draw(st.none() | st.floats(0, 1)),
        risk=draw(st.none() | TIERS),
        capabilities=tuple(draw(st.sets(st.sampled_from(["text", "vision"])))),
        data_classes=tuple(draw(st.sets(st.sampled_from(["public", "secret"])))),
    )


@st.composite
def bodies(draw: st.DrawFn, demands: st.SearchStrategy[Constraints] | None = None) -> RequestBody:
    """Any request body, in either form."""
    keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
    scalars = st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | WORDS
    turn = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": WORDS})
    text = draw(st.booleans())
    return RequestBody.model_validate(
        {
            "policy": "plain",
            "input": draw(WORDS) if text else None,
            "messages": None if text else draw(st.lists(turn, min_size=1, max_size=3)),
            "context": draw(st.dictionaries(keys, scalars, max_size=3)),
            "constraints": draw(demands if demands is not None else constraints()),
            "subject": draw(st.none() | WORDS),
            "metadata": draw(st.dictionaries(keys, WORDS, max_size=2)),
        }
    )


@st.composite
def spendings(draw: st.DrawFn) -> Spent:
    """Any amount used so far."""
    return Spent(cost_usd=draw(USD), attempts=draw(st.integers(0, 12)), tokens=draw(st.integers(0, 40_000)))


@st.composite
def envelopes(draw: st.DrawFn) -> DecisionEnvelope:
    """Any well-formed decision."""
    verdict = draw(st.sampled_from(ReviewVerdict))
    return DecisionEnvelope(
        decision_id=draw(st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True)),
        verdict=verdict,
        reason=draw(WORDS.filter(str.strip)),
        result_sha256=draw(st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
        review_version=draw(st.integers(1, 9)),
        output=draw(WORDS.filter(str.strip)) if verdict is ReviewVerdict.EDIT else None,
        overrule=draw(st.none() | st.lists(NAMES, max_size=2).map(tuple)) if verdict is ReviewVerdict.EDIT else None,
        queue=draw(st.none() | NAMES) if verdict is ReviewVerdict.ESCALATE else None,
        instruction=draw(WORDS.filter(str.strip)) if verdict is ReviewVerdict.REVISE else None,
        on_behalf_of=draw(st.none() | WORDS),
        request_id=draw(st.from_regex(r"req_[a-z2-7]{26}", fullmatch=True)),
        tenant=draw(WORDS),
        reviewer=draw(WORDS),
        decided_at=draw(TIMES),
        signature=draw(st.text("abc", max_size=5)),
    )
