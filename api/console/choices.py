"""What a reviewer can choose on one review, and in words what each choice will do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from api.console.wording import plural
from api.review_views import ReviewAnswer
from domain.review import ReviewVerdict


@dataclass(frozen=True)
class Choice:
    """One choice. ``value`` is what the form sends, ``does`` what its button says, ``quote`` a text it leads to."""

    value: str
    key: str
    name: str
    effect: str
    does: str
    reason: bool = True
    """Whether a reason has to be given."""
    quote: str | None = None

    @property
    def id(self) -> str:
        """What tells it apart within its page."""
        return self.value.replace(":", "-")


def choices_of(review: ReviewAnswer, *, approved: bool) -> tuple[Choice, ...]:
    """What can be chosen. ``approved`` says that an approval of who asks counts already."""
    return tuple(_choices(review, approved))


def _choices(review: ReviewAnswer, approved: bool) -> Iterator[Choice]:
    offer = review.offer
    allowed = frozenset(offer.verdicts)
    if ReviewVerdict.APPROVE in allowed and review.proposal.text.strip() and not approved:
        yield _approve(review)
    if ReviewVerdict.EDIT in allowed and not approved:
        yield _edit(review)
    if ReviewVerdict.REJECT in allowed:
        yield Choice(
            value="reject",
            key="r",
            name="Reject",
            effect="The requester gets the safe output:"
            if offer.safe_output
            else "The requester gets the safe output.",
            quote=offer.safe_output,
            does="Reject: send the safe output",
        )
    if ReviewVerdict.ESCALATE in allowed:
        yield from _escalate(review)
    if ReviewVerdict.REVISE in allowed and offer.revisions_left > 0:
        yield Choice(
            value="revise",
            key="v",
            name="Revise",
            effect="The same model answers again under your instruction. "
            f"{plural(offer.revisions_left, 'revision is', 'revisions are')} left.",
            does="Have it revised",
        )


def _approve(review: ReviewAnswer) -> Choice:
    needed = review.offer.approvals_needed
    alone = needed == 1
    return Choice(
        value="approve",
        key="a",
        name="Approve",
        effect="The requester gets this answer as it stands."
        if alone
        else f"Counts as one of the {needed} approvals this text needs; it leaves with the last of them.",
        does="Approve and release" if alone else "Give my approval",
        reason=review.offer.approval_needs_reason,
    )


def _edit(review: ReviewAnswer) -> Choice:
    others = review.offer.approvals_needed - 1
    return Choice(
        value="edit",
        key="e",
        name="Edit",
        effect="The requester gets your text, once the checks let it pass."
        if others < 1
        else f"Your text takes this one's place with your approval; {plural(others, 'other')} must approve it too.",
        does="Release my text" if others < 1 else "Put my text forward",
    )


def _escalate(review: ReviewAnswer) -> Iterator[Choice]:
    offer = review.offer
    if review.may_escalate:
        stage = offer.next_stage or "the next stage"
        yield Choice(
            value="escalate",
            key="n",
            name=f"Ask {stage}",
            effect="A stronger model answers anew. Its answer is checked, and comes back here if it is held.",
            does=f"Ask {stage}",
        )
    for index, queue in enumerate(offer.senior_queues):
        yield Choice(
            value=f"escalate:{queue}",
            key="s" if index == 0 else "",
            name=f"Hand to {queue}",
            effect=f"Only senior reviewers of {queue} may then decide. The deadline stays.",
            does=f"Hand to {queue}",
        )
