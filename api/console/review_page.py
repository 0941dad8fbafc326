"""What the page of one review shows, out of what the API knows of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from adapters.ledger_reader import RequestView
from api.console.choices import choices_of
from api.console.diff import Change, changes, shortened
from api.console.facts import facts_of
from api.console.marks import notes_of, pieces_of
from api.console.rules import settings_of
from api.console.verdict_form import VerdictForm
from api.console.wording import DECIDED, sentence, time_left, urgency
from api.entitlement import is_reviewer
from api.review_views import CheckView, ReviewAnswer, TriedStage
from domain.hold import Rung, RungAction
from domain.identity import Principal
from domain.policy import PolicySnapshot
from domain.review import ReviewState, ReviewVerdict

_MOMENTS_SHOWN = 3
"""Of a step that comes again and again, such as a reminder."""


@dataclass(frozen=True)
class Step:
    """What happens while nobody decides, and at which moments."""

    at: tuple[datetime, ...]
    words: str


@dataclass(frozen=True)
class Holder:
    """Who has taken a review, and what the reader can do about that: ``claim``, ``release`` or nothing."""

    words: str
    until: datetime | None
    action: str | None


@dataclass(frozen=True)
class EarlierVersion:
    """What a reviewer made of the version before."""

    title: str
    changes: tuple[Change | None, ...]


@dataclass(frozen=True)
class End:
    """How a review ended: in words, why, and with which text."""

    words: str
    reason: str | None
    label: str
    output: str | None


@dataclass(frozen=True)
class Shown:
    """Everything a page of a review is made of."""

    review: ReviewAnswer
    request: RequestView
    snapshot: PolicySnapshot | None
    """The policy's present version, as this process knows it."""
    principal: Principal
    now: datetime
    stands_in_for: tuple[str, ...] = ()
    """For whom ``principal`` may decide, who may not in their own name."""


def review_context(shown: Shown, form: VerdictForm) -> dict[str, Any]:
    """What the template ``review.html`` is given; ``form`` is what the reader has entered so far."""
    review, principal = shown.review, shown.principal
    pending = review.state is ReviewState.PENDING and review.expires_at > shown.now
    approved = has_approved(review, principal)
    may = review.may_decide.allowed or bool(shown.stands_in_for)
    choices = choices_of(review, approved=approved) if pending and may else ()
    notes = notes_of(review.proposal.text, review.proposal_checks)
    return {
        "review": review,
        "pending": pending,
        "left": time_left(review.expires_at, shown.now),
        "urgency": urgency(review.expires_at, review.opened_at, shown.now),
        "settings": settings_of(review.rule, shown.snapshot, review.policy.version),
        "ladder": ladder(review, shown.now),
        "facts": facts_of(shown.request.body),
        "pieces": pieces_of(review.proposal.text, notes),
        "notes": notes,
        "origin": _origin(review),
        "versions": tuple(_versions(review)),
        "tries": review.attempts,
        "spent": sum(stage.cost_usd for stage in review.attempts),
        "sources": tuple(_sources(review.attempts)),
        "holder": holder(review, principal, may_take=pending and review.may_decide.allowed),
        "approved": approved,
        "choices": choices,
        "editable": any(choice.value == "edit" for choice in choices),
        "may_not": _may_not(review, principal) if pending and not may else "",
        "for_others": shown.stands_in_for or review.may_decide.delegators,
        "own_name": review.may_decide.allowed and review.may_decide.on_behalf_of is None,
        "form": form,
        "end": None if pending else end_of(shown),
        "shortcuts": (*((choice.key, choice.name) for choice in choices if choice.key), *_SHORTCUTS),
    }


_SHORTCUTS = (
    ("w", "write the reason"),
    ("Ctrl Enter", "send the verdict"),
    ("Esc", "leave a field"),
    ("c", "take it"),
    ("u", "back to the queue"),
    ("?", "this list"),
)


def _may_not(review: ReviewAnswer, principal: Principal) -> str:
    if review.claimed_by not in (None, principal.name):
        return f"{review.claimed_by} works on it. You can decide once they give it back, or their time is over."
    return f"You cannot decide over this one: {review.may_decide.because}."


def has_approved(review: ReviewAnswer, principal: Principal) -> bool:
    """Whether an approval of ``principal`` counts already: only then may a reviewer see how far a quorum has come."""
    return (
        review.state is ReviewState.PENDING
        and review.approvals_needed > 1
        and not review.blind
        and is_reviewer(principal)
    )


def ladder(review: ReviewAnswer, now: datetime) -> tuple[Step, ...]:
    """What is still to come while nobody decides: the nearest steps, and the end of the hold."""
    coming: list[Step] = []
    for moment in review.offer.moments:
        words = _rung(moment.rung)
        if moment.at <= now:
            continue
        if coming and coming[-1].words == words:
            coming[-1] = Step((*coming[-1].at, moment.at), words)
        else:
            coming.append(Step((moment.at,), words))
    return (*(_short(step) for step in coming), Step((review.expires_at,), "expires: the safe output is sent"))


def _short(step: Step) -> Step:
    """The step with its nearest moments only."""
    more = len(step.at) - _MOMENTS_SHOWN
    return step if more <= 0 else Step(step.at[:_MOMENTS_SHOWN], f"and {more} more times: {step.words}")


def _rung(rung: Rung) -> str:
    told = f" ({', '.join(rung.channels)})" if rung.channels else ""
    match rung.do:
        case RungAction.REMIND:
            return f"reminder{told}"
        case RungAction.NOTIFY:
            return f"notice{told}"
        case RungAction.REASSIGN:
            return f"moves to queue {rung.queue}{told}"
        case RungAction.ESCALATE:
            return f"goes to seniors{f' of {rung.queue}' if rung.queue else ''}{told}"


def _origin(review: ReviewAnswer) -> str:
    proposed = next((stage for stage in review.attempts if stage.proposed), None)
    model = f"{proposed.stage} · {proposed.model}" if proposed is not None else ""
    if review.proposal.edited:
        return f"a reviewer's text{f', after {model}' if model else ''}"
    return model


def _versions(review: ReviewAnswer) -> Iterator[EarlierVersion]:
    """For each text of a reviewer that was put forward: what it changed."""
    names = {edit.review_version: edit.edited_by for edit in review.edits}
    for before, after in pairwise(review.versions):
        if after.edited:
            who = names.get(before.review_version) or "A reviewer"
            title = f"What {who} changed for version {after.review_version}"
            yield EarlierVersion(title, shortened(changes(before.text, after.text)))


@dataclass(frozen=True)
class Source:
    """What a verification service looked up or found."""

    check: str
    verdict: str
    detail: str


def _sources(stages: Sequence[TriedStage]) -> Iterator[Source]:
    proposed = next((stage for stage in stages if stage.proposed), None)
    for check in proposed.checks if proposed is not None else ():
        if check.check == "external":
            yield from _looked_up(check)


def _looked_up(check: CheckView) -> Iterator[Source]:
    if not check.findings:
        yield Source(check.name, check.verdict, check.rationale.partition(": ")[2] or check.rationale)
    for finding in check.findings:
        yield Source(check.name, check.verdict, finding.detail)


def holder(review: ReviewAnswer, principal: Principal, *, may_take: bool) -> Holder:
    """Who has taken the review, and what ``principal`` can do about it."""
    action = "release" if review.claimed_by == principal.name else None
    if review.claimed_by is None and may_take:
        action = "claim"
    return Holder(holder_of(review.claimed_by, principal.name), review.claimed_until, action)


def holder_of(claimed_by: str | None, me: str) -> str:
    """Who has taken a review, told to the person called ``me``."""
    if claimed_by is None:
        return "Nobody has taken it"
    return "You have it" if claimed_by == me else f"{claimed_by} has it"


def end_of(shown: Shown) -> End:
    """How the review ended."""
    review, request = shown.review, shown.request
    match review.state:
        case ReviewState.DECIDED:
            words = f"{DECIDED[review.decided_verdict or ReviewVerdict.APPROVE].capitalize()} by {review.decided_by}"
        case ReviewState.OVERRIDDEN:
            words = f"{review.decided_by or 'An operator'} ordered otherwise"
        case ReviewState.CANCELLED:
            words = "The request was cancelled"
        case _:
            words = "Nobody decided in time"
    ended = request.status.ended
    label = "Sent to the requester" if request.output is not None and ended else ""
    return End(words, sentence(request.reason or "") if ended else None, label, request.output if ended else None)
