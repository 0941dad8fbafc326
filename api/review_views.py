"""What people see of reviews: an item of the queue, and one review with everything a careful decision needs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from adapters.review_rows import ReviewRowView, ReviewView
from api.views import PolicyRef, View, utc
from domain.guardrails import Finding, Verdict
from domain.ledger import DecisionRecord
from domain.request import Message
from domain.review import Proposal, ReviewOffer, ReviewState, ReviewVerdict
from domain.risk import RiskTier


class ReviewLinks(View):
    """Where to go on from a review."""

    self: str
    decisions: str
    claim: str
    request: str
    timeline: str


class _Review(View):
    id: str
    state: ReviewState
    queue: str
    senior_only: bool
    """Only senior reviewers may decide over it."""
    policy: PolicyRef
    requester: str
    subject: str | None
    risk: RiskTier
    why: str
    rule: str
    may_escalate: bool
    opened_at: datetime
    expires_at: datetime
    reminders: int
    approvals_needed: int
    """How many different reviewers must approve the same text."""
    approvals: int | None
    """How many have; null where that is hidden from who asks, until they have decided themselves."""
    claimed_by: str | None
    """Who works on it; nobody else can decide over it until ``claimed_until``."""
    claimed_until: datetime | None
    decided_by: str | None
    decided_verdict: ReviewVerdict | None
    closed_at: datetime | None
    links: ReviewLinks


class ProposalRef(View):
    """Which text a review is about, without the text."""

    review_version: int
    result_sha256: str
    stage_index: int | None
    edited: bool


class ReviewItem(_Review):
    """A held answer in the queue. ``preview`` is the beginning of the proposed text, for telling items apart."""

    proposal: ProposalRef
    preview: str


class ReviewSummary(_Review):
    """A held answer with its whole text. The hash and the version of its proposal go into a decision on it."""

    proposal: Proposal


class CheckView(View):
    """One verdict of a check. ``stage`` is None for checks of the input and of reviewers' own texts.

    The offsets of ``findings`` are characters of the text that was judged.
    """

    stage: str | None
    name: str
    verdict: Verdict
    rationale: str
    check: str | None = None
    score: float | None = None
    threshold: float | None = None
    findings: tuple[Finding, ...] = ()


class TriedStage(View):
    """What a stage gave: an answer with what every check said of it, or why there is none."""

    number: int
    """Counts the stages that were tried, from 1."""
    stage: str
    model: str | None
    model_version_served: str | None
    text: str | None
    """None where there is no answer, or its text was erased."""
    result_sha256: str | None
    failure: str | None
    """Why there is no answer."""
    defect: str | None
    finish_reason: str | None
    confidence: float | None
    """From 0 to 1: what the confidence check made of it, else what the tokens' own probabilities say."""
    cost_usd: float
    """Of all attempts."""
    latency_ms: float | None
    """Of all attempts."""
    tokens: int
    attempts: int
    checks: tuple[CheckView, ...]
    proposed: bool
    """Whether this is the text that is held, or the one that a reviewer edited into it."""


class VersionView(View):
    """The text that a version of the review showed."""

    review_version: int
    text: str
    result_sha256: str
    stage_index: int | None
    edited: bool
    opened_at: datetime


class EditView(View):
    """What a reviewer changed: the difference as lines of a unified diff, without its two head lines."""

    review_version: int
    """The version that was edited."""
    edited_by: str | None
    """None where that is hidden from who asks, until they have decided themselves."""
    lines: tuple[str, ...]


class MayDecide(View):
    """Whether the caller may decide now."""

    allowed: bool
    because: str | None = None
    """Why not."""
    reviewer: bool = True
    """Whether the caller is a reviewer at all."""
    on_behalf_of: str | None = None
    """For whom a decision counts unless it names somebody."""
    delegators: tuple[str, ...] = ()
    """For whom the caller may decide, because they delegated this queue to them."""


class ReviewAnswer(ReviewSummary):
    """A held answer with the request it answers and everything a reviewer may see that was recorded about it."""

    messages: tuple[Message, ...]
    offer: ReviewOffer
    """What can be decided, and what each verdict leads to."""
    may_decide: MayDecide
    checks: tuple[CheckView, ...]
    """The verdicts on the input and on every answer so far, in order."""
    proposal_checks: tuple[CheckView, ...]
    """The verdicts on the text that is held; their findings lie in it."""
    attempts: tuple[TriedStage, ...]
    versions: tuple[VersionView, ...]
    edits: tuple[EditView, ...]
    viewers: tuple[str, ...]
    """Who else has this review open at the moment."""
    records: tuple[DecisionRecord, ...]
    blind: bool
    """Whether other people's decisions are hidden from the caller, until they have decided themselves."""


class ReviewList(View):
    """One page of the queue; ``next_cursor`` leads to the next one."""

    items: tuple[ReviewItem, ...]
    next_cursor: str | None


def links_of(request_id: str) -> ReviewLinks:
    """The links of a review."""
    own, request = f"/v1/reviews/{request_id}", f"/v1/requests/{request_id}"
    return ReviewLinks(
        self=own, decisions=f"{own}/decisions", claim=f"{own}/claim", request=request, timeline=f"{request}/timeline"
    )


_AS_STORED = frozenset({"state", "queue", "senior_only", "requester", "subject", "risk", "why", "rule"}) | {
    *("may_escalate", "reminders", "approvals_needed", "claimed_by", "decided_by", "decided_verdict")
}


def shared_fields(review: ReviewView | ReviewRowView, *, hide_approvals: bool) -> dict[str, Any]:
    """What an item of the queue and a whole review have in common."""
    return {field: getattr(review, field) for field in _AS_STORED} | {
        "id": review.request_id,
        "policy": PolicyRef(name=review.policy, version=review.policy_version),
        "opened_at": utc(review.opened_at),
        "expires_at": utc(review.expires_at),
        "claimed_until": utc(review.claimed_until),
        "closed_at": utc(review.closed_at),
        "approvals": None if hide_approvals else review.approvals,
        "links": links_of(review.request_id),
    }


def review_summary(review: ReviewView, *, hide_approvals: bool) -> ReviewSummary:
    """A review with its text."""
    return ReviewSummary(**shared_fields(review, hide_approvals=hide_approvals), proposal=review.proposal)
