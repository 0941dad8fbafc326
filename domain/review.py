"""The approval protocol: what a reviewer's decision is bound to, and what becomes of every one that arrives.

A decision is an envelope, never a bare boolean: it names the request, the exact bytes that were shown and the version
of the review, and carries the signature of the API that checked who sent it. Whatever arrives is recorded; at most one
decision per version takes effect, the first valid one in history order.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, ValidationError, model_validator

from domain.payload import Payload, Text, sha256_text
from domain.stage import MAX_ANSWER_BYTES

MAX_REASON = 4000
DecisionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Holder = Annotated[Text, Field(max_length=1000)]
"""A name or a signature in an envelope; bounded and storable also where somebody else than the API wrote it."""


def _no_longer_than_an_answer(text: str) -> str:
    if len(text.encode("utf-8")) > MAX_ANSWER_BYTES:
        raise ValueError(f"is longer than {MAX_ANSWER_BYTES} bytes; shorten it")
    return text


class ReviewVerdict(StrEnum):
    """What a reviewer can decide."""

    APPROVE = "approve"
    EDIT = "edit"
    REJECT = "reject"
    ESCALATE = "escalate"


class ReviewDecision(Payload):
    """What a reviewer sends: a verdict on the bytes with this hash, in this version of the review."""

    decision_id: DecisionId
    verdict: ReviewVerdict
    reason: Text = Field(default="", max_length=MAX_REASON)
    result_sha256: Sha256
    review_version: int = Field(ge=1)
    output: Annotated[Text, AfterValidator(_no_longer_than_an_answer)] | None = None
    """The new text; for ``edit`` only."""

    @model_validator(mode="after")
    def _output_with_edit(self) -> Self:
        if self.verdict is ReviewVerdict.EDIT and not (self.output or "").strip():
            raise ValueError("'edit' needs the new text in 'output'")
        if self.verdict is not ReviewVerdict.EDIT and self.output is not None:
            raise ValueError(f"'output' goes with 'edit', not with '{self.verdict}'; leave it out")
        if self.verdict is not ReviewVerdict.APPROVE and not self.reason.strip():
            raise ValueError(f"'{self.verdict}' needs a 'reason'")
        return self


class DecisionEnvelope(ReviewDecision):
    """A decision as it is signalled: with who decided, when, on which request, and the API's signature over it all."""

    request_id: Holder
    tenant: Holder
    reviewer: Holder
    decided_at: AwareDatetime
    signature: Holder = ""

    def signed_bytes(self) -> bytes:
        """What the signature covers: every field that is given, but itself, as JSON with sorted keys."""
        fields = self.model_dump(mode="json", exclude={"signature"}, exclude_none=True)
        return json.dumps(fields, sort_keys=True).encode("utf-8")


class DecisionStatus(StrEnum):
    """What became of a decision. Only ``applied`` had an effect."""

    PENDING = "pending"
    APPLIED = "applied"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    STALE = "stale"
    MALFORMED = "malformed"
    UNAUTHORISED = "unauthorised"
    INAPPLICABLE = "inapplicable"
    LATE = "late"


class ReviewState(StrEnum):
    """Where a review stands. Only a pending one awaits a decision."""

    PENDING = "pending"
    DECIDED = "decided"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Proposal(Payload):
    """The text put before the reviewer. ``stage_index`` is None where no model gave an answer."""

    review_version: int
    text: str
    result_sha256: str
    stage_index: int | None

    @classmethod
    def of(cls, text: str, review_version: int, stage_index: int | None) -> Proposal:
        """A proposal with the hash of its exact bytes."""
        return cls(review_version=review_version, text=text, result_sha256=sha256_text(text), stage_index=stage_index)


class JudgedDecision(Payload):
    """A decision with what became of it and why. ``envelope`` is None where the Signal held none."""

    envelope: DecisionEnvelope | None
    status: DecisionStatus
    because: str


def read_envelope(payload: Any) -> DecisionEnvelope | str:
    """The envelope in a Signal's decoded payload, or in one sentence what is wrong with it. Never raises."""
    try:
        return DecisionEnvelope.model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the envelope"
        return f"{place}: {first['msg']}"


def judge(
    envelope: DecisionEnvelope,
    request_id: str,
    tenant: str,
    proposal: Proposal | None,
    seen: frozenset[str],
    may_escalate: bool,
) -> JudgedDecision | None:
    """What is already certain about ``envelope``: why it has no effect, or None if it may be applied.

    ``seen`` holds the ids of decisions judged before. The signature is verified elsewhere, before this.
    """

    def settled(status: DecisionStatus, because: str) -> JudgedDecision:
        return JudgedDecision(envelope=envelope, status=status, because=because)

    if envelope.request_id != request_id or envelope.tenant != tenant:
        return settled(DecisionStatus.UNAUTHORISED, f"made for request {envelope.request_id}, not for this one")
    if envelope.decision_id in seen:
        return settled(DecisionStatus.DUPLICATE, "a decision with this id has already been judged")
    if proposal is None:
        return settled(DecisionStatus.STALE, "nothing was held when it arrived")
    if envelope.review_version != proposal.review_version:
        return settled(
            DecisionStatus.STALE,
            f"made for version {envelope.review_version} of the review, which is now at {proposal.review_version}",
        )
    if envelope.result_sha256 != proposal.result_sha256:
        return settled(DecisionStatus.STALE, "made for another text than the one that is held")
    if envelope.verdict is ReviewVerdict.ESCALATE and not may_escalate:
        return settled(DecisionStatus.INAPPLICABLE, "no stronger stage may be asked")
    if envelope.verdict is ReviewVerdict.APPROVE and not proposal.text.strip():
        return settled(DecisionStatus.INAPPLICABLE, "there is no answer to approve; edit or reject")
    return None
