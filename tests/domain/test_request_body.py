"""Requests: their ids, their hashes, and what is refused before anything is stored."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.request import MAX_INPUT_BYTES, CascadeInput, Outcome, RequestBody, Status, request_id
from tests.domain.strategies import WORDS, bodies
from tests.examples import request

KEYS = st.text(max_size=30).filter(lambda key: not any("\ud800" <= character <= "\udfff" for character in key))


@given(WORDS, KEYS)
def test_the_id_follows_from_tenant_and_key(tenant: str, key: str) -> None:
    made = request_id(tenant, key)
    assert made == request_id(tenant, key)
    assert re.fullmatch(r"req_[a-z2-7]{26}", made)


@given(WORDS, KEYS, WORDS, KEYS)
def test_different_tenants_and_keys_have_different_ids(tenant: str, key: str, other: str, other_key: str) -> None:
    # WORDS hold no NUL, which separates the two: "a" with "bc" is not "ab" with "c".
    same = (tenant, key) == (other, other_key)
    assert (request_id(tenant, key) == request_id(other, other_key)) == same
    assert request_id(tenant + "x", key) != request_id(tenant, "x" + key)


@given(bodies())
def test_the_hash_survives_the_wire(body: RequestBody) -> None:
    again = RequestBody.model_validate_json(body.model_dump_json())
    assert again == body
    assert again.sha256() == body.sha256()


@given(bodies())
def test_the_order_of_a_map_does_not_change_the_hash(body: RequestBody) -> None:
    turned = {**body.model_dump(), "context": dict(reversed(body.context.items()))}
    assert RequestBody.model_validate(turned).sha256() == body.sha256()


@given(bodies(), st.data())
def test_another_body_has_another_hash(body: RequestBody, data: st.DataObject) -> None:
    changes: list[dict[str, Any]] = [
        {"policy": body.policy + "x"},
        {"input": "something else than " + body.input_text(), "messages": None},
        {"context": {**body.context, "another": 1}},
        {"subject": (body.subject or "")[:100] + "x"},
        {"constraints": {"max_cost_usd": "77"}},
        {"metadata": {**body.metadata, "another": "one"}},
    ]
    change = data.draw(st.sampled_from(changes))
    assert RequestBody.model_validate({**body.model_dump(), **change}).sha256() != body.sha256()


@given(bodies())
def test_either_form_gives_the_same_conversation_to_read(body: RequestBody) -> None:
    assert body.input_text() == "\n".join(message.content for message in body.conversation())
    again = CascadeInput.model_validate_json(request().model_copy(update={"body": body}).model_dump_json())
    assert again.body == body


@pytest.mark.parametrize("damage", ["\x00", "a\x00b", "\ud800", "x\udfff"])
@pytest.mark.parametrize("field", ["input", "subject", "messages", "context", "metadata"])
def test_text_that_cannot_be_stored_is_refused(field: str, damage: str) -> None:
    values: dict[str, Any] = {
        "messages": [{"role": "user", "content": damage}],
        "context": {"key": damage},
        "metadata": {"key": damage},
    }
    given_: dict[str, Any] = {"policy": "plain", field: values.get(field, damage)}
    if field not in ("input", "messages"):
        given_["input"] = "x"
    with pytest.raises(ValidationError, match=field):
        RequestBody.model_validate(given_)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "exactly one of 'input' and 'messages'"),
        ({"input": "x", "messages": [{"role": "user", "content": "x"}]}, "exactly one of 'input' and 'messages'"),
        ({"input": ""}, "input"),
        ({"messages": []}, "at least 1 item"),
        ({"input": "x" * (MAX_INPUT_BYTES + 1)}, "shorten it"),
        ({"input": "ä" * (MAX_INPUT_BYTES // 2 + 1)}, "shorten it"),
        ({"input": "x", "constraints": {"max_cost_usd": "-1"}}, "max_cost_usd"),
        ({"input": "x", "constraints": {"max_latency_ms": 0}}, "max_latency_ms"),
        ({"input": "x", "constraints": {"min_quality": 1.1}}, "min_quality"),
        ({"input": "x", "context": {"a": float("nan")}}, "context"),
        ({"input": "x", "context": {"a": {"deep": 1}}}, "context"),
        ({"input": "x", "context": {"1a": 1}}, "context"),
        ({"input": "x", "policy": "Not A Name"}, "policy"),
    ],
)
def test_what_is_wrong_is_told(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RequestBody.model_validate({"policy": "plain", **fields})


def test_an_error_does_not_repeat_what_a_user_wrote() -> None:
    with pytest.raises(ValidationError) as caught:
        RequestBody.model_validate({"policy": "plain", "input": ["my secret"]})
    assert "my secret" not in str(caught.value)


@pytest.mark.parametrize("outcome", Outcome)
def test_only_an_answer_that_passed_or_was_approved_is_completed(outcome: Outcome) -> None:
    let_out = outcome in (Outcome.ACCEPTED, Outcome.APPROVED, Outcome.EDITED)
    assert (outcome.status is Status.COMPLETED) == let_out
    assert outcome.status.ended
