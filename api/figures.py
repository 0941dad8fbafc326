"""How reviewing goes, for those who answer for it. What a blind approver must not learn stays out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from adapters.review_figures import (
    AgeBand,
    DecisionTimes,
    HastyApproval,
    PolicyFigures,
    QueuePending,
    QuorumFigures,
    ReviewerFigures,
)
from api.auth import check_role
from api.blindness import sight
from api.entitlement import is_reviewer
from api.services import Services
from api.views import View, utc
from domain.identity import Principal, Role

READERS = (Role.SENIOR_REVIEWER, Role.OPERATOR, Role.AUDITOR)
USUAL_DAYS = 30
MOST_DAYS = 366


class FiguresAnswer(View):
    """What waits now, and how was decided since ``since``."""

    since: datetime | None
    days: int
    hasty_below_seconds: float
    """An approval given sooner than this after its reviewer first saw the text counts as hasty."""
    pending_by_age: tuple[AgeBand, ...]
    pending_by_queue: tuple[QueuePending, ...]
    time_to_decision: DecisionTimes
    per_policy: tuple[PolicyFigures, ...]
    agreement: QuorumFigures
    per_reviewer: tuple[ReviewerFigures, ...]
    hasty: tuple[HastyApproval, ...]


async def figures(services: Services, principal: Principal, days: int = USUAL_DAYS) -> FiguresAnswer:
    """The figures of the last ``days`` days. Raises ``ApiError`` 403."""
    check_role(principal, *READERS)
    now = services.clock()
    since = now - timedelta(days=days)
    found = await services.figures.figures(principal.tenant, since, now, services.hasty)
    hasty = await _visible(services, principal, found.hasty) if is_reviewer(principal) else found.hasty
    return FiguresAnswer(
        **dict(found) | {"hasty": hasty},
        since=utc(since),
        days=days,
        hasty_below_seconds=services.hasty.total_seconds(),
    )


async def _visible(
    services: Services, principal: Principal, hasty: Sequence[HastyApproval]
) -> tuple[HastyApproval, ...]:
    """Without approvals that count in a quorum in which ``principal`` has not decided yet."""
    requests = sorted({approval.request_id for approval in hasty})
    hidden = await asyncio.gather(*(_hides(services, principal, request_id) for request_id in requests))
    shown = {request_id for request_id, hides in zip(requests, hidden, strict=True) if not hides}
    return tuple(approval for approval in hasty if approval.reviewer == principal.name or approval.request_id in shown)


async def _hides(services: Services, principal: Principal, request_id: str) -> bool:
    review = await services.reader.review(request_id, principal.tenant, services.clock())
    if review is None:
        return False
    return sight(principal, review, await services.reader.records(request_id, principal.tenant)).blind
