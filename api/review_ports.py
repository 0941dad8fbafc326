"""What reviewing needs of the world: the queue and its reviews, who may decide, who has claimed what, how it goes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from adapters.claims import ClaimView, ReviewEvent
from adapters.decision_outbox import SubmittedDecision
from adapters.review_figures import Figures as FiguresView
from adapters.review_rows import AnswerView, DeliveryView, ReviewPage, ReviewQuery, ReviewVersion, ReviewView
from adapters.roster import DelegationView, QueueView
from domain.rights import Standing


class ReviewReader(Protocol):
    """Reads reviews; everything is bound to one tenant."""

    async def reviews(self, tenant: str, query: ReviewQuery, limit: int, cursor: str | None) -> ReviewPage:
        """One page of reviews, what expires first at the beginning. Raises ``CursorError``."""
        ...

    async def review(self, request_id: str, tenant: str, now: datetime) -> ReviewView | None:
        """One review; whose claim on it lives is told as of ``now``."""
        ...

    async def count_pending(self, tenant: str) -> int:
        """How many reviews await a decision."""
        ...

    async def next_pending(self, tenant: str, after: tuple[datetime, str] | None, query: ReviewQuery) -> str | None:
        """The first review of ``query`` behind this expiry and id; None where there is none."""
        ...

    async def versions(self, request_id: str, tenant: str) -> list[ReviewVersion]:
        """The text that each version of a review showed, in order."""
        ...

    async def answers(self, request_id: str, tenant: str) -> list[AnswerView]:
        """What models answered, in the order they were asked."""
        ...

    async def deliveries(self, request_id: str, tenant: str) -> list[DeliveryView]:
        """What became of notices."""
        ...

    async def decision(self, request_id: str, decision_id: str) -> SubmittedDecision | None:
        """What became of a decision or an override."""
        ...

    async def decisions(self, request_id: str, tenant: str) -> list[SubmittedDecision]:
        """All decisions and overrides that were submitted on a request."""
        ...


class Roster(Protocol):
    """Knows the people of a tenant: their roles, their queues, and who decides in whose place."""

    async def standing(
        self, tenant: str, reviewer: str, on_behalf_of: str | None, queue: str, at: datetime
    ) -> Standing:
        """What is known of a reviewer, and of whom they act for, at this moment."""
        ...

    async def delegators(self, tenant: str, delegate: str, queue: str, at: datetime) -> tuple[str, ...]:
        """Who has delegated this queue to ``delegate`` at this moment."""
        ...

    async def queues(self, tenant: str) -> tuple[QueueView, ...]:
        """Every queue that has members or reviews."""
        ...

    async def add_member(self, tenant: str, queue: str, name: str, by: str) -> None:
        """Put somebody into a queue. Again is no change."""
        ...

    async def remove_member(self, tenant: str, queue: str, name: str) -> bool:
        """Take somebody out of a queue; False if they were not in it."""
        ...

    async def delegate(
        self,
        tenant: str,
        delegator: str,
        delegate: str,
        queue: str | None,
        starts_at: datetime,
        ends_at: datetime,
        by: str,
    ) -> DelegationView:
        """Let ``delegate`` decide for ``delegator``; in every queue if None. Raises ``RosterError``."""
        ...

    async def delegations(self, tenant: str, person: str | None) -> tuple[DelegationView, ...]:
        """All delegations from or to ``person``; of everybody if None."""
        ...

    async def revoke_delegation(self, tenant: str, id: str) -> DelegationView | None:
        """End a delegation; None if there is none of this id."""
        ...


class Claims(Protocol):
    """Who works on which review; coordination, which the protocol does not know."""

    async def claim(self, request_id: str, tenant: str, name: str, lease: timedelta, now: datetime) -> ClaimView:
        """Claim a review for ``lease``, or renew one's claim. Raises ``ClaimedError`` or ``NotPendingError``."""
        ...

    async def release(self, request_id: str, tenant: str, name: str, now: datetime) -> bool:
        """Give one's claim up; False if there was none."""
        ...

    async def reassign(
        self, request_id: str, tenant: str, to: str, by: str, lease: timedelta, reason: str, now: datetime
    ) -> ClaimView:
        """Give the claim to somebody, whoever has it. Raises ``NotPendingError``."""
        ...

    async def look(self, request_id: str, tenant: str, name: str, now: datetime) -> tuple[str, ...]:
        """Note that somebody looks at a review; who else does."""
        ...

    async def events(self, request_id: str, tenant: str) -> list[ReviewEvent]:
        """The human steps on a review, in order."""
        ...


class Figures(Protocol):
    """Counts how reviewing goes."""

    async def figures(self, tenant: str, since: datetime, now: datetime, hasty: timedelta) -> FiguresView:
        """The figures of decisions since ``since``, and of what is pending at ``now``."""
        ...
