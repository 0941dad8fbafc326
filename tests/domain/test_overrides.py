"""Operators' orders: what each needs, what it may not do, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.override import OverrideAction, OverrideEnvelope, judge_override, read_override
from domain.review import DecisionStatus, read_envelope
from tests.domain.strategies import JSON, envelopes
from tests.examples import request, snapshot


def order(**changes: Any) -> dict[str, Any]:
    """An order to end a request with its safe output."""
    return {
        "decision_id": "o-1",
        "action": "force_safe_output",
        "reason": "the customer's lawyer called",
        "request_id": "req_1",
        "tenant": "acme",
        "operator": "olaf",
        "decided_at": datetime(2026, 11, 2, 9, tzinfo=UTC).isoformat(),
        "signature": "genuine",
        **changes,
    }


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"action": "perhaps"}, "action"),
        ({"reason": "  "}, "reason"),
        ({"stage": "small"}, "the envelope"),
        ({"action": "force_model"}, "the envelope"),
        ({"decided_at": "2026-11-02T09:00:00"}, "decided_at"),
        ({"operator": None}, "operator"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], place: str) -> None:
    assert isinstance(read_override(order()), OverrideEnvelope)
    told = read_override(order(**change))
    assert isinstance(told, str)
    assert told.startswith(place)


@given(JSON | st.dictionaries(st.sampled_from(sorted(OverrideEnvelope.model_fields)), JSON))
def test_reading_never_raises(payload: Any) -> None:
    assert isinstance(read_override(payload), OverrideEnvelope | str)


@given(envelopes())
def test_a_signed_decision_is_never_an_order_nor_an_order_a_decision(envelope: Any) -> None:
    assert isinstance(read_override(envelope.model_dump(mode="json")), str)
    assert isinstance(read_envelope(order()), str)


@pytest.mark.parametrize(
    ("change", "held", "ended", "status"),
    [
        ({}, False, False, DecisionStatus.APPLIED),
        ({}, True, False, DecisionStatus.APPLIED),
        ({}, False, True, DecisionStatus.LATE),
        ({"request_id": "req_other"}, False, False, DecisionStatus.UNAUTHORISED),
        ({"tenant": "other"}, False, False, DecisionStatus.UNAUTHORISED),
        ({"decision_id": "seen"}, False, False, DecisionStatus.DUPLICATE),
        ({"action": "force_review"}, True, False, DecisionStatus.INAPPLICABLE),
        ({"action": "force_review"}, False, False, DecisionStatus.APPLIED),
        ({"action": "force_model", "stage": "large"}, False, False, DecisionStatus.APPLIED),
        ({"action": "force_model", "stage": "largest"}, False, False, DecisionStatus.INAPPLICABLE),
    ],
)
def test_what_becomes_of_an_order(change: dict[str, Any], held: bool, ended: bool, status: DecisionStatus) -> None:
    about = request()
    fields = order(request_id=about.request_id)
    envelope = OverrideEnvelope.model_validate({**fields, **change})
    assert judge_override(envelope, about, frozenset({"seen"}), held=held, ended=ended).status is status


def test_not_even_an_operator_shows_a_model_what_it_may_not_see() -> None:
    about = request(policy=snapshot(), constraints={"data_classes": ["secret"]})
    envelope = OverrideEnvelope.model_validate(
        order(request_id=about.request_id, action=OverrideAction.FORCE_MODEL, stage="large")
    )
    judged = judge_override(envelope, about, frozenset(), held=True, ended=False)
    assert (judged.status, judged.because) == (
        DecisionStatus.INAPPLICABLE,
        "stage large cannot be asked: may not see secret data",
    )
