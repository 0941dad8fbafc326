"""What became of somebody's decision, told on the page they come to next; read from the ledger and never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.decision_outbox import SubmittedDecision
from adapters.review_rows import ReviewView
from api.console.filters import Filters
from api.console.wording import VERDICTS, sentence
from api.errors import checked_id
from api.orders import DecisionAnswer
from api.review_detail import may_decide
from api.services import Services
from domain.identity import Principal
from domain.payload import sha256_text
from domain.review import DecisionEnvelope, DecisionStatus, ReviewState, ReviewVerdict

QUEUE = "/console/reviews"
_LOOKED_AT = 5
"""Reviews that are looked at to find the next one that a person can decide over."""
_AGAIN = (DecisionStatus.STALE, DecisionStatus.INAPPLICABLE, DecisionStatus.UNAUTHORISED)
"""After these the reviewer stays where they were: the review still waits, perhaps for them."""
_APPLIED = {
    ReviewVerdict.APPROVE: "The answer has been released.",
    ReviewVerdict.EDIT: "Your text has been released.",
    ReviewVerdict.REJECT: "The safe output has been sent.",
    ReviewVerdict.ESCALATE: "A stronger model is asked.",
    ReviewVerdict.REVISE: "The model answers again; you see it here when it has.",
}


@dataclass(frozen=True)
class News:
    """One message. ``draft`` is the text of an edit that had no effect, to go on with."""

    text: str
    tone: str
    href: str
    link: str
    draft: str = ""


async def news_of(services: Services, principal: Principal, given: Mapping[str, str]) -> News | None:
    """What became of the decision that an address names; None where it names none of this person's."""
    review_id, decision_id = given.get("decided", ""), given.get("decision", "")
    if not review_id or not decision_id or "\x00" in decision_id:
        return None
    review = await services.reader.review(checked_id("review", review_id), principal.tenant, services.clock())
    if review is None:
        return None
    found = await services.reader.decision(review_id, decision_id)
    if found is None or not isinstance(found.envelope, DecisionEnvelope) or found.envelope.reviewer != principal.name:
        return None
    return _news(review, found, found.envelope)


def _news(review: ReviewView, found: SubmittedDecision, envelope: DecisionEnvelope) -> News:
    about = f"{review.policy}, {review.subject}" if review.subject else review.policy
    done = found.status in (DecisionStatus.APPLIED, DecisionStatus.COUNTED)
    return News(
        text=f"{VERDICTS[envelope.verdict]}, {about}: {_became(review, found, envelope)}",
        tone="" if done else "soon" if found.status is DecisionStatus.PENDING else "bad",
        href=f"{QUEUE}/{review.request_id}",
        link="Show it",
        draft="" if done else envelope.output or "",
    )


def _became(review: ReviewView, found: SubmittedDecision, envelope: DecisionEnvelope) -> str:
    match found.status:
        case DecisionStatus.PENDING:
            return "stored, and takes effect as soon as the request takes it in."
        case DecisionStatus.COUNTED:
            same = review.proposal.review_version in (envelope.review_version, envelope.review_version + 1)
            counted = f", {review.approvals} of {review.approvals_needed}" if same and _waits(review) else ""
            return f"your approval counts{counted}. Another reviewer has to give the next."
        case DecisionStatus.APPLIED if envelope.queue is not None:
            return f"it is with the seniors of {envelope.queue} now."
        case DecisionStatus.APPLIED:
            return _APPLIED[envelope.verdict]
        case _:
            return f"this had no effect ({found.status}). {sentence(found.because)}"


def _waits(review: ReviewView) -> bool:
    return review.state is ReviewState.PENDING


async def aftermath(
    services: Services, principal: Principal, review_id: str, answer: DecisionAnswer, filters: Filters
) -> str:
    """The address of the page that comes after a decision: the next review, or the same where it still waits."""
    told = {"decided": review_id, "decision": answer.decision_id}
    waits = answer.review is not None and answer.review.state is ReviewState.PENDING
    if answer.status in _AGAIN and waits:
        return filters.address(f"{QUEUE}/{review_id}", **told)
    following = await _next(services, principal, review_id, filters)
    return filters.address(QUEUE if following is None else f"{QUEUE}/{following}", **told)


async def _next(services: Services, principal: Principal, review_id: str, filters: Filters) -> str | None:
    """The first review behind this one in the filtered queue that this person could decide over; else the first."""
    now = services.clock()
    query = filters.review_query(principal.name, now)
    current = await services.reader.review(review_id, principal.tenant, now)
    place = None if current is None else (current.expires_at, current.request_id)
    for start in (place, None):
        after = start
        for _ in range(_LOOKED_AT):
            found = await services.reader.next_pending(principal.tenant, after, query)
            review = None if found is None else await services.reader.review(found, principal.tenant, now)
            if review is None:
                break
            after = (review.expires_at, review.request_id)
            if review.request_id != review_id and await _for(services, principal, review):
                return review.request_id
    return None


async def _for(services: Services, principal: Principal, review: ReviewView) -> bool:
    """Whether the review waits for a decision of this person, who may give one and has not."""
    if not (await may_decide(services, principal, review)).allowed:
        return False
    if review.approvals_needed == 1:
        return True
    orders = await services.reader.decisions(review.request_id, principal.tenant)
    return not any(_counts(order, principal, review) for order in orders)


def _counts(order: SubmittedDecision, principal: Principal, review: ReviewView) -> bool:
    """Whether it is an approval of this person for the text that is held now."""
    envelope = order.envelope
    if not isinstance(envelope, DecisionEnvelope) or order.status is not DecisionStatus.COUNTED:
        return False
    approved = envelope.output if envelope.verdict is ReviewVerdict.EDIT else None
    same = sha256_text(approved) if approved is not None else envelope.result_sha256
    return envelope.reviewer == principal.name and same == review.proposal.result_sha256
