"""The policies that come with the project: they load, read aloud, end with a person, and satisfy the JSON Schema."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from adapters.policy_files import PolicyStore, json_schema, load_catalog, load_policies
from adapters.yaml_lines import read_yaml
from domain.guardrails import Action, SchemaGuardrail
from domain.payload import Scalar
from domain.policy import Policy
from domain.request import CascadeInput, RequestBody
from domain.route import route

SAMPLES = Path(__file__).parent / "policy_samples"
POLICY = (SAMPLES / "sample.yaml").read_text(encoding="utf-8")
SHIPPED = Path(__file__).parents[2] / "policies"
NAMES = ("compliance-check", "forecast-risk", "pricing-bundles", "support-triage")


@pytest.fixture(scope="module")
def shipped() -> PolicyStore:
    return load_policies(SHIPPED, load_catalog(SHIPPED / "catalog.yaml"))


def test_the_shipped_policies_load(shipped: PolicyStore) -> None:
    assert shipped.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_policy_escalates_first_and_ends_with_a_person(shipped: PolicyStore, name: str) -> None:
    snapshot = shipped.snapshot(name)
    assert snapshot is not None
    policy = snapshot.policy
    assert policy.on_exhausted == Action.HOLD
    assert 2 <= len(policy.stages) <= 3
    assert snapshot.baseline.name == "sim-large"
    checks = {check.check: check for check in policy.guardrails.output}
    assert checks["confidence"].on_fail is Action.ESCALATE
    assert 0.75 <= checks["confidence"].model_dump()["threshold"] <= 0.85
    assert checks["completeness"].on_fail is Action.ESCALATE
    assert all(check.on_error is not Action.CONTINUE for check in policy.guardrails.output)


@pytest.mark.parametrize(
    ("name", "text", "context", "entry", "risk"),
    [
        ("support-triage", "Where is my invoice?", {}, "quick", "low"),
        ("support-triage", "We have an OUTAGE since noon.", {}, "expert", "low"),
        ("support-triage", "My lawyer will write to you.", {}, "expert", "high"),
        ("support-triage", "I filed a chargeback.", {}, "expert", "medium"),
        ("support-triage", "It is slow.", {"severity": "critical"}, "careful", "low"),
        ("compliance-check", "May we keep job applications for a year?", {}, "analyst", "medium"),
        ("compliance-check", "A client is on a sanctions list.", {}, "counsel", "critical"),
        ("compliance-check", "We store medical records.", {"cross_border": True}, "counsel", "high"),
        ("forecast-risk", "Sales next month?", {"scenario": "calm", "volatility": 0.2}, "baseline", "low"),
        ("forecast-risk", "Sales next month?", {"scenario": "stressed"}, "stress", "medium"),
        ("forecast-risk", "Sales next month?", {"scenario": "crisis"}, "stress", "high"),
        ("forecast-risk", "Sales next month?", {"volatility": 0.5}, "stress", "low"),
        ("pricing-bundles", "Two desks and a lamp.", {"items": 3}, "standard", "low"),
        ("pricing-bundles", "An office for ten.", {"items": 12}, "complex", "low"),
        ("pricing-bundles", "A desk.", {"customer_type": "public-sector"}, "standard", "high"),
    ],
)
def test_requests_enter_where_the_comments_say(
    shipped: PolicyStore, name: str, text: str, context: dict[str, Scalar], entry: str, risk: str
) -> None:
    snapshot = shipped.snapshot(name)
    assert snapshot is not None
    request = CascadeInput(
        request_id="req_a",
        tenant="t",
        requester="r",
        submitted_at=datetime(2026, 11, 1, tzinfo=UTC),
        body=RequestBody(policy=name, input=text, context=context),
        policy=snapshot,
    )
    routed = route(request)
    first = snapshot.policy.stage_index(entry)
    assert routed.path == tuple(range(first, len(snapshot.policy.stages)))
    assert routed.risk == risk


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        ({"risk_level": "low"}, True),
        ({"risk_level": "medium", "finding": "compliant"}, True),
        ({"risk_level": "high"}, False),
        ({"risk_level": "critical", "finding": "compliant"}, False),
    ],
)
def test_a_finding_that_calls_itself_high_risk_is_held(
    shipped: PolicyStore, answer: dict[str, str], passes: bool
) -> None:
    snapshot = shipped.snapshot("compliance-check")
    assert snapshot is not None
    guardrail = next(check for check in snapshot.policy.guardrails.output if check.name == "high-risk-finding")
    assert isinstance(guardrail, SchemaGuardrail)
    assert guardrail.on_fail is Action.HOLD
    assert Draft202012Validator(guardrail.json_schema).is_valid(answer) is passes


def test_the_shipped_holds_expire_each_in_their_own_time(shipped: PolicyStore) -> None:
    policies = [snapshot.policy for name in NAMES if (snapshot := shipped.snapshot(name))]
    assert len({policy.hold.expires_after for policy in policies}) == len(NAMES)
    assert all(policy.hold.remind_after for policy in policies)


@pytest.mark.parametrize("name", [*NAMES, "catalog"])
def test_every_part_of_a_shipped_file_is_explained(name: str) -> None:
    lines = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    parts = [number for number, line in enumerate(lines) if line and line[0].isalpha()]
    assert parts
    for number in parts:
        assert lines[number - 1].startswith("#"), f"{name}.yaml:{number + 1} has no comment above it"


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_policy_satisfies_the_json_schema(name: str) -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    document = read_yaml((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"), name)
    Draft202012Validator(schema).validate(document.data)


@pytest.mark.parametrize(
    ("old", "new"),
    [("on_fail", "on_fial"), ("24h", "soon"), ("24h", "24"), ("sample", "Sample!"), ("check: pii", "check: pie"),
     ("hold:\n  expires_after: 24h\n", ""), ("- model: cheap", "- name: cheap")],
)  # fmt: skip
def test_the_json_schema_finds_what_an_editor_can_find(old: str, new: str) -> None:
    validator = Draft202012Validator(json_schema())
    assert validator.is_valid(read_yaml(POLICY, "sample.yaml").data)
    assert not validator.is_valid(read_yaml(POLICY.replace(old, new, 1), "sample.yaml").data)


def test_the_readme_names_every_key_of_a_policy() -> None:
    text = (SHIPPED / "README.md").read_text(encoding="utf-8")
    parts = [*Policy.model_fields, "queue", "remind_after", "cost_usd", "wall_clock", "attempts", "tokens"]
    schema = json_schema()
    for name in ("Stage", "When", "Bound"):
        parts += schema["$defs"][name]["properties"]
    assert [part for part in parts if f"{part}" not in text] == []
