"""JSON schema: strict reading, no fetching, findings without values, hostile answers."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.checks.schema import check
from domain.guardrails import CheckResult, Judged, SchemaGuardrail, Verdict

TICKET = {
    "type": "object",
    "required": ["category", "priority"],
    "additionalProperties": False,
    "properties": {
        "category": {"enum": ["billing", "outage", "other"]},
        "priority": {"type": "integer", "minimum": 1, "maximum": 5},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "uniqueItems": True},
        "contact": {"type": "string", "format": "email"},
    },
}
ANYTHING: dict[str, Any] = {}


def judge(text: str, schema: dict[str, Any] = TICKET) -> CheckResult:
    return check(SchemaGuardrail(check="schema", name="schema", json_schema=schema), Judged(text=text))


def test_an_answer_of_the_demanded_shape_passes() -> None:
    said = judge(' {"category": "billing", "priority": 2, "tags": ["rückzahlung", "請求"]}\n')
    assert said.verdict is Verdict.PASS
    assert said.findings == ()


def test_format_is_an_annotation() -> None:
    assert judge('{"category": "other", "priority": 1, "contact": "not an address"}').verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "syntax"),
        ("Sure! Here it is: {}", "syntax"),
        ("{'category': 'billing'}", "syntax"),
        ('{"category": "billing", "priority": 2', "syntax"),
        ('{"category": "billing", "category": "outage", "priority": 2}', "twice"),
        ('{"category": "billing", "priority": NaN}', "NaN"),
        ('{"category": "billing", "priority": -Infinity}', "NaN"),
        ('{"category": "billing", "priority": 1e999}', "too large"),
        ('{"category": "billing", "priority": ' + "9" * 5000 + "}", "too many digits"),
        ('```json\n{"category": "billing", "priority": 2}\n```', "fence"),
        ("\ufeff{}", "syntax"),
        ("[" * 100_000, "nested"),
        ("[" * 65 + "]" * 65, "nested"),
        ('{"a":' * 30_000, "nested"),
    ],
)
def test_what_is_not_strict_json_fails(text: str, word: str) -> None:
    said = judge(text)
    assert said.verdict is Verdict.FAIL
    assert word in said.rationale


def test_nesting_up_to_the_limit_is_read() -> None:
    assert judge("[" * 64 + "]" * 64, ANYTHING).verdict is Verdict.PASS


def test_findings_name_path_and_demand_but_never_a_value() -> None:
    said = judge('{"category": "jane@example.com", "priority": 4111, "tags": ["4111 1111 1111 1111"], "Jane Doe": 1}')
    details = [finding.detail for finding in said.findings]
    assert '$.category does not satisfy enum ["billing", "outage", "other"]' in details
    assert "$.priority does not satisfy maximum 5" in details
    assert "$.tags[0] does not satisfy maxLength 12" in details
    assert "$ has a key that is not allowed" in details
    assert not any(secret in said.model_dump_json() for secret in ("jane", "4111", "Jane"))


def test_a_key_that_the_model_invented_is_not_repeated_in_the_path() -> None:
    said = judge('{"jane@example.com": "x"}', {"additionalProperties": {"type": "integer"}})
    assert said.rationale == '$.(other key) does not satisfy type "integer"'


def test_missing_keys_are_named_once() -> None:
    assert judge("{}").rationale == "$ lacks category, priority"


@pytest.mark.parametrize("items", ["[1, 1.0]", '[{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]', "[null, null]"])
def test_equal_elements_are_found(items: str) -> None:
    assert judge(items, {"uniqueItems": True}).verdict is Verdict.FAIL


@pytest.mark.parametrize("items", ["[1, true]", '[0, false, "", null, [], {}]', '[{"a": 1}, {"a": true}]', '["1", 1]'])
def test_different_elements_are_not_equal(items: str) -> None:
    assert judge(items, {"uniqueItems": True}).verdict is Verdict.PASS


def test_a_reference_is_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for reference in ("http://127.0.0.1:9/schema.json", "https://example.com/x", "file:///etc/passwd", "#/$defs/no"):
        said = judge("{}", {"$ref": reference})
        assert said.verdict is Verdict.ERROR
        assert "$ref" in said.rationale
    assert asked == []


def test_references_inside_the_schema_and_to_the_draft_resolve() -> None:
    tree = {"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}
    assert judge('{"next": {"next": {}}}', tree).verdict is Verdict.PASS
    assert judge('{"next": {"next": 3}}', tree).verdict is Verdict.FAIL
    draft = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    assert judge('{"type": "strin"}', draft).verdict is Verdict.FAIL


@pytest.mark.parametrize("schema", [{"type": "strin"}, {"properties": 3}, {"$ref": "#"}])
def test_a_broken_schema_is_an_error_not_a_verdict_on_the_answer(schema: dict[str, Any]) -> None:
    assert judge("{}", schema).verdict is Verdict.ERROR


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([{"a": number} for number in range(20_000)]),
        json.dumps({str(number): number for number in range(20_000)}),
        "[" + "1," * 131_000 + "1]",
        '"' + "\\ud800" * 43_000 + '"',
        "1" * 262_144,
        '{"' * 131_072,
    ],
)
def test_hostile_answers_of_256_kib_get_a_verdict(text: str) -> None:
    said = judge(text, {"uniqueItems": True, "items": {"type": ["object", "string"]}})
    assert said.verdict in (Verdict.PASS, Verdict.FAIL)
    assert len(said.findings) <= 50


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
def test_every_json_value_satisfies_the_empty_schema_and_its_own_constant(value: Any) -> None:
    assert judge(json.dumps(value), ANYTHING).verdict is Verdict.PASS
    assert judge(json.dumps(value, ensure_ascii=False), {"const": value}).verdict is Verdict.PASS


@given(st.text())
def test_any_text_gets_a_verdict(text: str) -> None:
    assert judge(text).verdict in (Verdict.PASS, Verdict.FAIL)
