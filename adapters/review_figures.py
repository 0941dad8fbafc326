"""How reviewing goes: what waits, how fast and how people decide, and who approves without looking.

Counted in Python over few columns of the decisions of the period, since databases differ in what they can count.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from adapters.database import Database
from adapters.figure_rows import BANDS, Decided, Pending, count_expired, count_overridden, read_decided, read_pending
from domain.payload import Payload
from domain.review import ReviewVerdict

HASTY_SHOWN = 100
"""Hasty approvals that are named, the newest ones; the counts have all of them."""

_OPINIONS = (ReviewVerdict.APPROVE, ReviewVerdict.EDIT, ReviewVerdict.REJECT, ReviewVerdict.REVISE)
"""Verdicts that say what somebody thinks of a text; to escalate only says who else should."""


class AgeBand(Payload):
    """Reviews that have waited at least so long, and less than the next band says; ``overdue`` past their expiry."""

    label: str
    at_least: timedelta
    count: int
    overdue: int


class QueuePending(Payload):
    """Reviews that wait in one queue; ``overdue`` past their expiry."""

    queue: str
    count: int
    overdue: int


class DecisionTimes(Payload):
    """Seconds from the opening of a review's version to the decision that took effect; None where there was none."""

    median_seconds: float | None
    p90_seconds: float | None
    n: int


class PolicyFigures(Payload):
    """What became of what a policy held. An approved text that a reviewer had written counts as edited.

    ``overridden`` counts operators' orders that took effect, on any request of the policy. ``changed_rate`` is the
    share of edited and rejected among approved, edited and rejected; None where there are none.
    """

    policy: str
    decided: int = 0
    approved: int = 0
    edited: int = 0
    rejected: int = 0
    escalated: int = 0
    revised: int = 0
    expired: int = 0
    overridden: int = 0
    changed_rate: float | None = None


class QuorumFigures(Payload):
    """Texts on which two or more people gave a verdict, and how many of these all of them approved."""

    reviews: int
    agreed: int
    rate: float | None


class ReviewerFigures(Payload):
    """One person's decisions that took effect or counted. ``median_seconds`` is from the page's opening on."""

    reviewer: str
    decided: int
    approvals: int
    median_seconds: float | None
    hasty: int


class HastyApproval(Payload):
    """An approval given ``seconds`` after the reviewer first saw the text, or after it was opened if they never did."""

    request_id: str
    reviewer: str
    seconds: float
    decided_at: datetime


class Figures(Payload):
    """How reviewing goes in one tenant. What waits is told as of now, the rest of decisions since a moment."""

    pending_by_age: tuple[AgeBand, ...]
    pending_by_queue: tuple[QueuePending, ...]
    time_to_decision: DecisionTimes
    per_policy: tuple[PolicyFigures, ...]
    agreement: QuorumFigures
    per_reviewer: tuple[ReviewerFigures, ...]
    hasty: tuple[HastyApproval, ...]


class ReviewFigures:
    """Reads figures; writes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def figures(self, tenant: str, since: datetime, now: datetime, hasty: timedelta) -> Figures:
        """The tenant's figures. An approval given sooner than ``hasty`` after the text was seen counts as hasty."""
        return await self._database.read(partial(_figures, tenant=tenant, since=since, now=now, hasty=hasty))


def _figures(connection: Connection, tenant: str, since: datetime, now: datetime, hasty: timedelta) -> Figures:
    pending = read_pending(connection, tenant, now)
    decided = read_decided(connection, tenant, since)
    rash = _hasty(decided, hasty)
    return Figures(
        pending_by_age=_by_age(pending),
        pending_by_queue=_by_queue(pending),
        time_to_decision=_times(one.waited for one in decided if one.applied),
        per_policy=_per_policy(
            decided, count_expired(connection, tenant, since), count_overridden(connection, tenant, since)
        ),
        agreement=_agreement(decided),
        per_reviewer=_per_reviewer(decided, Counter(one.reviewer for one in rash)),
        hasty=tuple(rash[:HASTY_SHOWN]),
    )


def _hasty(decided: Sequence[Decided], hasty: timedelta) -> list[HastyApproval]:
    """Approvals given too soon, the newest one first."""
    rash = [
        HastyApproval(
            request_id=one.request_id,
            reviewer=one.reviewer,
            seconds=one.took.total_seconds(),
            decided_at=one.decided_at,
        )
        for one in decided
        if one.verdict is ReviewVerdict.APPROVE and one.took is not None and one.took < hasty
    ]
    return sorted(rash, key=lambda approval: approval.decided_at, reverse=True)


def _by_age(pending: Pending) -> tuple[AgeBand, ...]:
    return tuple(
        AgeBand(
            label=label,
            at_least=at_least,
            count=sum(count for _, band, count, _ in pending if band == at),
            overdue=sum(overdue for _, band, _, overdue in pending if band == at),
        )
        for at, (label, at_least) in enumerate(BANDS)
    )


def _by_queue(pending: Pending) -> tuple[QueuePending, ...]:
    return tuple(
        QueuePending(
            queue=name,
            count=sum(count for queue, _, count, _ in pending if queue == name),
            overdue=sum(overdue for queue, _, _, overdue in pending if queue == name),
        )
        for name in sorted({queue for queue, *_ in pending})
    )


def _times(spans: Iterable[timedelta | None]) -> DecisionTimes:
    seconds = sorted(span.total_seconds() for span in spans if span is not None)
    if not seconds:
        return DecisionTimes(median_seconds=None, p90_seconds=None, n=0)
    p90 = seconds[math.ceil(0.9 * len(seconds)) - 1]
    return DecisionTimes(median_seconds=statistics.median(seconds), p90_seconds=p90, n=len(seconds))


def _per_policy(
    decided: Sequence[Decided], expired: dict[str, int], overridden: dict[str, int]
) -> tuple[PolicyFigures, ...]:
    verdicts: dict[str, Counter[ReviewVerdict]] = defaultdict(Counter)
    for one in decided:
        if one.applied:
            own_text = one.verdict is ReviewVerdict.APPROVE and one.edited_before
            verdicts[one.policy][ReviewVerdict.EDIT if own_text else one.verdict] += 1
    figures = []
    for policy in sorted({*verdicts, *expired, *overridden}):
        count = verdicts[policy]
        approved, edited, rejected = (count[verdict] for verdict in _OPINIONS[:3])
        final = approved + edited + rejected
        figures.append(
            PolicyFigures(
                policy=policy,
                decided=count.total(),
                approved=approved,
                edited=edited,
                rejected=rejected,
                escalated=count[ReviewVerdict.ESCALATE],
                revised=count[ReviewVerdict.REVISE],
                expired=expired.get(policy, 0),
                overridden=overridden.get(policy, 0),
                changed_rate=(edited + rejected) / final if final else None,
            )
        )
    return tuple(figures)


def _agreement(decided: Sequence[Decided]) -> QuorumFigures:
    opinions: dict[tuple[str, int], dict[str, ReviewVerdict]] = defaultdict(dict)
    for one in decided:
        if one.verdict in _OPINIONS:
            opinions[one.request_id, one.review_version][one.reviewer] = one.verdict
        if one.verdict is ReviewVerdict.EDIT and not one.applied:  # the author of the next version's text
            opinions[one.request_id, one.review_version + 1][one.reviewer] = ReviewVerdict.APPROVE
    shared = [set(given.values()) for given in opinions.values() if len(given) > 1]
    agreed = sum(given == {ReviewVerdict.APPROVE} for given in shared)
    return QuorumFigures(reviews=len(shared), agreed=agreed, rate=agreed / len(shared) if shared else None)


def _per_reviewer(decided: Sequence[Decided], hasty: Counter[str]) -> tuple[ReviewerFigures, ...]:
    own: dict[str, list[Decided]] = defaultdict(list)
    for one in decided:
        own[one.reviewer].append(one)
    return tuple(
        ReviewerFigures(
            reviewer=name,
            decided=len(theirs),
            approvals=sum(one.verdict is ReviewVerdict.APPROVE for one in theirs),
            median_seconds=_times(one.took for one in theirs).median_seconds,
            hasty=hasty[name],
        )
        for name, theirs in sorted(own.items())
    )
