"""The approval protocol: what a reviewer's decision is bound to, and what becomes of every one that arrives.

A decision is an envelope, never a bare boolean: it names the request, the exact bytes that were shown and the version
of the review, and carries the signature of the API that checked who sent it. Whatever arrives is recorded; at most one
decision per version takes effect, the first valid one in history order. Under a quorum it is the one that completes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from domain.envelope import MAX_REASON, DecisionId, Holder, SignedEnvelope
from domain.hold import ReviewVerdict
from domain.ladder import Moment
from domain.payload import Name, Payload, Text, sha256_text
from domain.rights import WhoMayDecide
from domain.stage import MAX_ANSWER_BYTES

__all__ = ["MAX_REASON", "DecisionId", "ReviewVerdict"]

MAX_INSTRUCTION = 4000
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _no_longer_than_an_answer(text: str) -> str:
    if len(text.encode("utf-8")) > MAX_ANSWER_BYTES:
        raise ValueError(f"is longer than {MAX_ANSWER_BYTES} bytes; shorten it")
    return text


class ReviewDecision(Payload):
    """What a reviewer sends: a verdict on the bytes with this hash, in this version of the review."""

    decision_id: DecisionId
    verdict: ReviewVerdict
    reason: Text = Field(default="", max_length=MAX_REASON)
    result_sha256: Sha256
    review_version: int = Field(ge=1)
    output: Annotated[Text, AfterValidator(_no_longer_than_an_answer)] | None = None
    """The new text; for ``edit`` only."""
    overrule: tuple[Name, ...] | None = Field(default=None, max_length=32)
    """Checks of the new text that the reviewer overrules, where the policy lets them; for ``edit`` only."""
    queue: Name | None = None
    """The senior queue to escalate to instead of asking the next model; for ``escalate`` only."""
    instruction: Text | None = Field(default=None, max_length=MAX_INSTRUCTION)
    """What the model shall do otherwise; for ``revise`` only."""
    on_behalf_of: Holder | None = None
    """The reviewer who delegated their part to the one who decides."""

    @model_validator(mode="after")
    def _parts_of_the_verdict(self) -> Self:
        verdict = self.verdict
        if verdict is ReviewVerdict.EDIT and not (self.output or "").strip():
            raise ValueError("'edit' needs the new text in 'output'")
        if verdict is ReviewVerdict.REVISE and not (self.instruction or "").strip():
            raise ValueError("'revise' needs an 'instruction' for the model")
        for field, owner in _GOES_WITH.items():
            if getattr(self, field) is not None and verdict is not owner:
                raise ValueError(f"'{field}' goes with '{owner}', not with '{verdict}'; leave it out")
        if verdict is not ReviewVerdict.APPROVE and not self.reason.strip():
            raise ValueError(f"'{verdict}' needs a 'reason'")
        return self


_GOES_WITH = {
    "output": ReviewVerdict.EDIT,
    "overrule": ReviewVerdict.EDIT,
    "queue": ReviewVerdict.ESCALATE,
    "instruction": ReviewVerdict.REVISE,
}


class DecisionEnvelope(SignedEnvelope, ReviewDecision):
    """A decision as it is signalled: with who decided, when, on which request, and the API's signature over it all."""

    reviewer: Holder


class DecisionStatus(StrEnum):
    """What became of a decision. Only ``applied`` had an effect; ``counted`` is one of several that are needed."""

    PENDING = "pending"
    APPLIED = "applied"
    COUNTED = "counted"
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
    OVERRIDDEN = "overridden"


class Proposal(Payload):
    """The text put before the reviewer. ``stage_index`` is None where no model gave an answer."""

    review_version: int
    text: str
    result_sha256: str
    stage_index: int | None
    edited: bool = False
    """Whether a reviewer wrote it; further approvals are then asked for that text."""

    @classmethod
    def of(cls, text: str, review_version: int, stage_index: int | None, *, edited: bool = False) -> Proposal:
        """A proposal with the hash of its exact bytes."""
        return cls(
            review_version=review_version,
            text=text,
            result_sha256=sha256_text(text),
            stage_index=stage_index,
            edited=edited,
        )


class ReviewOffer(Payload):
    """What reviewers may do with a held answer, by policy and request. The defaults are those of old reviews."""

    verdicts: tuple[ReviewVerdict, ...] = (
        ReviewVerdict.APPROVE,
        ReviewVerdict.EDIT,
        ReviewVerdict.REJECT,
        ReviewVerdict.ESCALATE,
    )
    overrule: tuple[str, ...] = ()
    senior_queues: tuple[str, ...] = ()
    revisions_left: int = 0
    approvals_needed: int = 1
    approval_needs_reason: bool = False
    lease: timedelta = timedelta(minutes=15)
    next_stage: str | None = None
    """The stage that ``escalate`` asks; None where there is none left, and in old reviews."""
    safe_output: str | None = None
    """What the requester gets on rejection and expiry; None in old reviews."""
    moments: tuple[Moment, ...] = ()
    """When which rung of the ladder is due."""


class ReviewTerms(Payload):
    """Everything a decision is judged by: what is held, until when, who may decide, and what."""

    request_id: str
    tenant: str
    proposal: Proposal
    may_escalate: bool
    expires_at: datetime
    who: WhoMayDecide
    offer: ReviewOffer = ReviewOffer()


class Approval(Payload):
    """One approval that counts towards a quorum."""

    decision_id: str
    reviewer: str
    on_behalf_of: str | None

    @property
    def people(self) -> frozenset[str]:
        """The names that are used up by it, without regard to case: nobody approves twice, in whosever name."""
        return frozenset(name.casefold() for name in (self.reviewer, self.on_behalf_of) if name is not None)


class JudgedDecision(Payload):
    """A decision with what became of it and why. ``envelope`` is None where the Signal held none."""

    envelope: DecisionEnvelope | None
    status: DecisionStatus
    because: str


class DecisionCheck(Payload):
    """What the Activity that verifies a decision is asked. ``who`` is None where nothing is held any more."""

    envelope: DecisionEnvelope
    who: WhoMayDecide | None


def read_envelope(payload: Any) -> DecisionEnvelope | str:
    """The envelope in a Signal's decoded payload, or in one sentence what is wrong with it. Never raises."""
    try:
        return DecisionEnvelope.model_validate(payload)
    except ValidationError as error:
        return first_problem(error)


def first_problem(error: ValidationError) -> str:
    """What is wrong with an envelope, in one sentence that names the field and repeats no content."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the envelope"
    return f"{place}: {first['msg']}"


def judge(
    envelope: DecisionEnvelope, terms: ReviewTerms, seen: frozenset[str], approvals: Sequence[Approval] = ()
) -> JudgedDecision | None:
    """What is already certain about ``envelope``: why it has no effect, or None if it may be applied or counted.

    ``seen`` holds the ids of decisions judged before, ``approvals`` those that count already. The signature and the
    rights of the reviewer are verified elsewhere, before this.
    """

    def settled(status: DecisionStatus, because: str) -> JudgedDecision:
        return JudgedDecision(envelope=envelope, status=status, because=because)

    if envelope.request_id != terms.request_id or envelope.tenant != terms.tenant:
        return settled(DecisionStatus.UNAUTHORISED, f"made for request {envelope.request_id}, not for this one")
    if envelope.decision_id in seen:
        return settled(DecisionStatus.DUPLICATE, "a decision with this id has already been judged")
    proposal = terms.proposal
    if envelope.review_version != proposal.review_version:
        return settled(
            DecisionStatus.STALE,
            f"made for version {envelope.review_version} of the review, which is now at {proposal.review_version}",
        )
    if envelope.result_sha256 != proposal.result_sha256:
        return settled(DecisionStatus.STALE, "made for another text than the one that is held")
    impossible = inapplicable(envelope, terms, approvals)
    return None if impossible is None else settled(DecisionStatus.INAPPLICABLE, impossible)


def inapplicable(envelope: DecisionEnvelope, terms: ReviewTerms, approvals: Sequence[Approval]) -> str | None:
    """Why the verdict cannot be carried out on what is held; None if it can."""
    offer, verdict = terms.offer, envelope.verdict
    if verdict not in offer.verdicts:
        return f"the policy does not let reviewers {verdict}"
    match verdict:
        case ReviewVerdict.ESCALATE if envelope.queue is not None:
            if envelope.queue not in offer.senior_queues:
                return f"the policy does not escalate to queue {envelope.queue!r}"
        case ReviewVerdict.ESCALATE if not terms.may_escalate:
            return "no stronger stage may be asked"
        case ReviewVerdict.REVISE if offer.revisions_left < 1:
            return "no revision is left"
        case ReviewVerdict.APPROVE if not terms.proposal.text.strip():
            return "there is no answer to approve; edit or reject"
        case ReviewVerdict.APPROVE if offer.approval_needs_reason and not envelope.reason.strip():
            return "the policy asks for a reason with every approval"
        case ReviewVerdict.EDIT:
            barred = [name for name in envelope.overrule or () if name not in offer.overrule]
            if barred:
                return f"the policy does not let reviewers overrule {', '.join(barred)}"
    if verdict in (ReviewVerdict.APPROVE, ReviewVerdict.EDIT):
        return _approved_before(envelope, approvals)
    return None


def _approved_before(envelope: DecisionEnvelope, approvals: Sequence[Approval]) -> str | None:
    own = approval_of(envelope).people
    for approval in approvals:
        used = own & approval.people
        if used:
            return f"an approval of {', '.join(sorted(used))} counts already; another reviewer has to"
    return None


def approval_of(envelope: DecisionEnvelope) -> Approval:
    """The approval that ``envelope`` stands for."""
    return Approval(decision_id=envelope.decision_id, reviewer=envelope.reviewer, on_behalf_of=envelope.on_behalf_of)
