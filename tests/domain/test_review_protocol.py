"""The approval protocol, for any decision and for whatever else a Signal may carry."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.review import (
    Approval,
    DecisionEnvelope,
    DecisionStatus,
    Proposal,
    ReviewOffer,
    ReviewTerms,
    ReviewVerdict,
    judge,
    read_envelope,
)
from domain.rights import WhoMayDecide
from tests.domain.strategies import JSON, NAMES, TIMES, WORDS, envelopes

TEXTS = st.sampled_from(["", " ", "the answer"]) | WORDS


OFFERS = st.builds(
    ReviewOffer,
    verdicts=st.sets(st.sampled_from(ReviewVerdict), min_size=1).map(lambda verdicts: tuple(sorted(verdicts))),
    overrule=st.lists(NAMES, max_size=2).map(tuple),
    senior_queues=st.lists(NAMES, max_size=2).map(tuple),
    revisions_left=st.integers(0, 1),
    approvals_needed=st.integers(1, 3),
    approval_needs_reason=st.booleans(),
)


def approvals(*people: str) -> tuple[Approval, ...]:
    """An approval of each person, in their own name."""
    return tuple(Approval(decision_id=f"by-{name}", reviewer=name, on_behalf_of=None) for name in people)


@st.composite
def meant(draw: st.DrawFn) -> tuple[DecisionEnvelope, ReviewTerms]:
    """A decision that was made for what is held."""
    envelope = draw(envelopes())
    proposal = Proposal.of(draw(TEXTS), draw(st.integers(1, 5)), 0)
    terms = ReviewTerms(
        request_id=envelope.request_id,
        tenant=envelope.tenant,
        proposal=proposal,
        may_escalate=draw(st.booleans()),
        expires_at=draw(TIMES),
        who=WhoMayDecide(requester="shop", queue="default"),
        offer=draw(OFFERS),
    )
    bound = {"result_sha256": proposal.result_sha256, "review_version": proposal.review_version}
    return envelope.model_copy(update=bound), terms


def possible(envelope: DecisionEnvelope, terms: ReviewTerms) -> bool:
    """Whether policy and request let the verdict be carried out; written down once more, as a table."""
    offer = terms.offer
    return (
        envelope.verdict in offer.verdicts
        and {
            ReviewVerdict.APPROVE: bool(terms.proposal.text.strip())
            and (bool(envelope.reason.strip()) or not offer.approval_needs_reason),
            ReviewVerdict.EDIT: set(envelope.overrule or ()) <= set(offer.overrule),
            ReviewVerdict.REJECT: True,
            ReviewVerdict.ESCALATE: terms.may_escalate
            if envelope.queue is None
            else envelope.queue in offer.senior_queues,
            ReviewVerdict.REVISE: offer.revisions_left > 0,
        }[envelope.verdict]
    )


@given(meant())
def test_a_decision_for_what_is_held_may_be_applied(pair: tuple[DecisionEnvelope, ReviewTerms]) -> None:
    envelope, terms = pair
    judged = judge(envelope, terms, frozenset())
    if possible(envelope, terms):
        assert judged is None
    else:
        assert judged is not None
        assert judged.status is DecisionStatus.INAPPLICABLE


@given(meant(), st.data())
def test_whatever_it_is_bound_to_must_match(pair: tuple[DecisionEnvelope, ReviewTerms], data: st.DataObject) -> None:
    envelope, terms = pair
    wrong: dict[str, tuple[Any, DecisionStatus]] = {
        "request_id": ("req_other", DecisionStatus.UNAUTHORISED),
        "tenant": (envelope.tenant + "x", DecisionStatus.UNAUTHORISED),
        "review_version": (envelope.review_version + 1, DecisionStatus.STALE),
        "result_sha256": ("0" * 64, DecisionStatus.STALE),
    }
    field = data.draw(st.sampled_from(sorted(wrong)))
    value, status = wrong[field]
    judged = judge(envelope.model_copy(update={field: value}), terms, frozenset())
    assert judged is not None
    assert judged.status is status


@given(meant())
def test_an_id_counts_once(pair: tuple[DecisionEnvelope, ReviewTerms]) -> None:
    envelope, terms = pair
    again = judge(envelope, terms, frozenset({envelope.decision_id}))
    assert again is not None
    assert again.status is DecisionStatus.DUPLICATE


@given(meant(), st.booleans())
def test_nobody_approves_twice_in_whosever_name(pair: tuple[DecisionEnvelope, ReviewTerms], behalf: bool) -> None:
    envelope, terms = pair
    used = envelope.on_behalf_of if behalf and envelope.on_behalf_of is not None else envelope.reviewer
    judged = judge(envelope, terms, frozenset(), approvals("somebody else entirely, whose name is long", used))
    approves = envelope.verdict in (ReviewVerdict.APPROVE, ReviewVerdict.EDIT)
    if possible(envelope, terms) and not approves:
        assert judged is None
    else:
        assert judged is not None
        assert judged.status is DecisionStatus.INAPPLICABLE


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
        ({"verdict": "approve", "queue": "legal"}, "the envelope"),
        ({"verdict": "revise", "reason": "too long", "instruction": " "}, "the envelope"),
        ({"verdict": "reject", "reason": "no", "overrule": ["terms"]}, "the envelope"),
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
            other = ("a-check",) if field == "overrule" else "something"
        case tuple():
            other = (*value, "another")
        case _:
            other = value + timedelta(seconds=1)
    changed = envelope.model_copy(update={field: other})
    assert (changed.signed_bytes() == envelope.signed_bytes()) == (field == "signature")
