"""The approval protocol, for any decision and for whatever else a Signal may carry."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.review import (
    DecisionEnvelope,
    DecisionStatus,
    Proposal,
    ReviewVerdict,
    judge,
    read_envelope,
)
from tests.domain.strategies import JSON, WORDS, envelopes

TEXTS = st.sampled_from(["", " ", "the answer"]) | WORDS


@st.composite
def meant(draw: st.DrawFn) -> tuple[DecisionEnvelope, Proposal]:
    """A decision that was made for the proposal."""
    proposal = Proposal.of(draw(TEXTS), draw(st.integers(1, 5)), 0)
    bound = {"result_sha256": proposal.result_sha256, "review_version": proposal.review_version}
    return draw(envelopes()).model_copy(update=bound), proposal


@given(meant(), st.booleans())
def test_a_decision_for_what_is_held_may_be_applied(
    pair: tuple[DecisionEnvelope, Proposal], may_escalate: bool
) -> None:
    envelope, proposal = pair
    judged = judge(envelope, envelope.request_id, envelope.tenant, proposal, frozenset(), may_escalate)
    impossible = (envelope.verdict is ReviewVerdict.ESCALATE and not may_escalate) or (
        envelope.verdict is ReviewVerdict.APPROVE and not proposal.text.strip()
    )
    if impossible:
        assert judged is not None
        assert judged.status is DecisionStatus.INAPPLICABLE
    else:
        assert judged is None


@given(meant(), st.data())
def test_whatever_it_is_bound_to_must_match(pair: tuple[DecisionEnvelope, Proposal], data: st.DataObject) -> None:
    envelope, proposal = pair
    wrong: dict[str, tuple[Any, DecisionStatus]] = {
        "request_id": ("req_other", DecisionStatus.UNAUTHORISED),
        "tenant": (envelope.tenant + "x", DecisionStatus.UNAUTHORISED),
        "review_version": (envelope.review_version + 1, DecisionStatus.STALE),
        "result_sha256": ("0" * 64, DecisionStatus.STALE),
    }
    field = data.draw(st.sampled_from(sorted(wrong)))
    value, status = wrong[field]
    changed = envelope.model_copy(update={field: value})
    judged = judge(changed, envelope.request_id, envelope.tenant, proposal, frozenset(), True)
    assert judged is not None
    assert judged.status is status


@given(meant())
def test_an_id_counts_once_and_only_while_something_is_held(pair: tuple[DecisionEnvelope, Proposal]) -> None:
    envelope, proposal = pair
    seen = frozenset({envelope.decision_id})
    again = judge(envelope, envelope.request_id, envelope.tenant, proposal, seen, True)
    early = judge(envelope, envelope.request_id, envelope.tenant, None, frozenset(), True)
    assert again is not None
    assert again.status is DecisionStatus.DUPLICATE
    assert early is not None
    assert early.status is DecisionStatus.STALE


FIELDS = st.sampled_from(sorted(DecisionEnvelope.model_fields))


@given(JSON | st.dictionaries(FIELDS, JSON))
def test_reading_never_raises(payload: Any) -> None:
    assert isinstance(read_envelope(payload), DecisionEnvelope | str)


@given(envelopes(), FIELDS, JSON)
def test_reading_a_damaged_envelope_never_raises(envelope: DecisionEnvelope, field: str, value: Any) -> None:
    read = read_envelope({**envelope.model_dump(mode="json"), field: value})
    assert isinstance(read, DecisionEnvelope | str)
    if isinstance(read, str):
        assert read


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"verdict": "perhaps"}, "verdict"),
        ({"review_version": 0}, "review_version"),
        ({"result_sha256": "short"}, "result_sha256"),
        ({"reason": "\x00"}, "reason"),
        ({"reviewer": "\ud800"}, "reviewer"),
        ({"decided_at": "2026-11-02T09:00:00"}, "decided_at"),
        ({"verdict": "reject", "reason": " "}, "the envelope"),
        ({"verdict": "edit", "output": " "}, "the envelope"),
        ({"verdict": "approve", "output": "mine"}, "the envelope"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], place: str) -> None:
    good = {
        "decision_id": "d-1",
        "verdict": "approve",
        "result_sha256": "0" * 64,
        "review_version": 1,
        "request_id": "req_1",
        "tenant": "acme",
        "reviewer": "rita",
        "decided_at": "2026-11-02T09:00:00Z",
    }
    assert isinstance(read_envelope(good), DecisionEnvelope)
    told = read_envelope({**good, **change})
    assert isinstance(told, str)
    assert told.startswith(place)


@given(envelopes())
def test_the_signed_bytes_survive_the_wire(envelope: DecisionEnvelope) -> None:
    again = DecisionEnvelope.model_validate_json(envelope.model_dump_json())
    assert again.signed_bytes() == envelope.signed_bytes()
    reread = read_envelope(json.loads(envelope.model_dump_json()))
    assert isinstance(reread, DecisionEnvelope)
    assert reread.signed_bytes() == envelope.signed_bytes()


@given(envelopes(), st.data())
def test_the_signature_covers_every_field_but_itself(envelope: DecisionEnvelope, data: st.DataObject) -> None:
    field = data.draw(FIELDS)
    value = getattr(envelope, field)
    match value:
        case ReviewVerdict():
            other: object = data.draw(st.sampled_from([verdict for verdict in ReviewVerdict if verdict != value]))
        case str():
            other = value + "x"
        case int():
            other = value + 1
        case None:
            other = "an output"
        case _:
            other = value + timedelta(seconds=1)
    changed = envelope.model_copy(update={field: other})
    assert (changed.signed_bytes() == envelope.signed_bytes()) == (field == "signature")
