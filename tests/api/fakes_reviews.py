"""People, queues and claims behind the API without a database: the same promises, kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.claims import ClaimedError, ClaimView, NotPendingError, ReviewEvent, ReviewEventKind
from adapters.review_figures import (
    AgeBand,
    DecisionTimes,
    Figures,
    HastyApproval,
    PolicyFigures,
    QueuePending,
    QuorumFigures,
    ReviewerFigures,
)
from adapters.review_rows import ReviewQuery, ReviewRowView, ReviewView
from adapters.roster import DelegationView, MemberView, QueueView, RosterError
from adapters.sessions import OpenedSession, Session
from domain.identity import Principal, Role
from domain.payload import sha256_text
from domain.review import ReviewState
from domain.rights import Person, Standing

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


@dataclass
class People:
    """Who there is: their roles, their queues, who decides for whom."""

    roles: dict[str, frozenset[Role]] = field(default_factory=dict)
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of each queue its members, with who added them."""
    delegations: dict[str, DelegationView] = field(default_factory=dict)

    def let(self, delegate: str, decide_for: str, queue: str | None = None, days: int = 1) -> DelegationView:
        """A delegation from now on."""
        made = DelegationView(
            id=f"del{len(self.delegations) + 1}",
            delegator=decide_for,
            delegate=delegate,
            queue=queue,
            starts_at=NOW,
            ends_at=NOW + timedelta(days=days),
            created_by=decide_for,
            created_at=NOW,
            revoked_at=None,
        )
        self.delegations[made.id] = made
        return made

    def in_force(self, delegate: str, queue: str, at: datetime) -> dict[str, datetime]:
        """Who has delegated the queue, until when."""
        return {
            found.delegator: found.ends_at
            for found in self.delegations.values()
            if found.delegate == delegate
            and found.queue in (None, queue)
            and found.starts_at <= at < found.ends_at
            and found.revoked_at is None
        }


class FakeRoster:
    """The roster of one tenant, ``acme``."""

    def __init__(self, people: People, pending: Callable[[], Sequence[ReviewView]]) -> None:
        self._people = people
        self._pending = pending

    async def standing(
        self, tenant: str, reviewer: str, on_behalf_of: str | None, queue: str, at: datetime
    ) -> Standing:
        def person(name: str) -> Person:
            members = self._people.members.get(queue, {})
            return Person(
                name=name, roles=self._people.roles.get(name, frozenset()), member=not members or name in members
            )

        return Standing(
            reviewer=person(reviewer),
            on_behalf_of=None if on_behalf_of is None else person(on_behalf_of),
            delegated_until=self._people.in_force(reviewer, queue, at).get(on_behalf_of or ""),
        )

    async def delegators(self, tenant: str, delegate: str, queue: str, at: datetime) -> tuple[str, ...]:
        return tuple(sorted(self._people.in_force(delegate, queue, at)))

    async def queues(self, tenant: str) -> tuple[QueueView, ...]:
        if tenant != "acme":
            return ()
        waiting = [review.queue for review in self._pending()]
        names = sorted({*waiting, *(name for name, members in self._people.members.items() if members)})
        return tuple(
            QueueView(
                name=name,
                members=tuple(
                    MemberView(name=member, added_by=by, added_at=NOW)
                    for member, by in sorted(self._people.members.get(name, {}).items())
                ),
                pending=waiting.count(name),
            )
            for name in names
        )

    async def add_member(self, tenant: str, queue: str, name: str, by: str) -> None:
        self._people.members.setdefault(queue, {}).setdefault(name, by)

    async def remove_member(self, tenant: str, queue: str, name: str) -> bool:
        return tenant == "acme" and self._people.members.get(queue, {}).pop(name, None) is not None

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
        if delegator == delegate or ends_at <= starts_at:
            raise RosterError("nobody delegates to themselves, or backwards in time")
        made = self._people.let(delegate, delegator, queue)
        made = made.model_copy(update={"starts_at": starts_at, "ends_at": ends_at, "created_by": by})
        self._people.delegations[made.id] = made
        return made

    async def delegations(self, tenant: str, person: str | None) -> tuple[DelegationView, ...]:
        return tuple(
            found
            for found in self._people.delegations.values()
            if tenant == "acme" and person in (None, found.delegator, found.delegate)
        )

    async def revoke_delegation(self, tenant: str, id: str) -> DelegationView | None:
        found = self._people.delegations.get(id) if tenant == "acme" else None
        if found is not None and found.revoked_at is None:
            found = self._people.delegations[id] = found.model_copy(update={"revoked_at": NOW})
        return found


@dataclass
class Desk:
    """The reviews there are, and what people do on them beside the protocol."""

    reviews: dict[str, ReviewView] = field(default_factory=dict)
    events: dict[str, list[ReviewEvent]] = field(default_factory=dict)
    seen: dict[str, dict[str, datetime]] = field(default_factory=dict)

    def note(self, request_id: str, at: datetime, actor: str, kind: ReviewEventKind, **data: Any) -> None:
        """Record a human step."""
        event = ReviewEvent(at=at, actor=actor, kind=kind, data=data)
        self.events.setdefault(request_id, []).append(event)

    def change(self, request_id: str, **changes: Any) -> ReviewView:
        """The review with some fields changed."""
        self.reviews[request_id] = self.reviews[request_id].model_copy(update=changes)
        return self.reviews[request_id]

    def claimed(self, request_id: str, name: str | None, until: datetime | None = None) -> None:
        """Somebody has claimed the review, or nobody has."""
        until = until or (None if name is None else NOW + timedelta(minutes=15))
        self.change(request_id, claimed_by=name, claimed_until=until)


class FakeClaims:
    """Claims and open pages."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def _pending(self, request_id: str) -> ReviewView:
        review = self._desk.reviews[request_id]
        if review.state is not ReviewState.PENDING:
            raise NotPendingError
        return review

    async def claim(self, request_id: str, tenant: str, name: str, lease: timedelta, now: datetime) -> ClaimView:
        review = self._pending(request_id)
        by, until = review.claimed_by, review.claimed_until
        if by not in (None, name) and by is not None and until is not None and until > now:
            raise ClaimedError(by, until)
        self._desk.claimed(request_id, name, now + lease)
        self._desk.note(request_id, now, name, ReviewEventKind.CLAIMED)
        return ClaimView(claimed_by=name, claimed_until=now + lease)

    async def release(self, request_id: str, tenant: str, name: str, now: datetime) -> bool:
        if self._desk.reviews[request_id].claimed_by != name:
            return False
        self._desk.claimed(request_id, None)
        self._desk.note(request_id, now, name, ReviewEventKind.RELEASED)
        return True

    async def reassign(
        self, request_id: str, tenant: str, to: str, by: str, lease: timedelta, reason: str, now: datetime
    ) -> ClaimView:
        self._pending(request_id)
        self._desk.claimed(request_id, to, now + lease)
        self._desk.note(request_id, now, by, ReviewEventKind.REASSIGNED, to=to, reason=reason)
        return ClaimView(claimed_by=to, claimed_until=now + lease)

    async def look(self, request_id: str, tenant: str, name: str, now: datetime) -> tuple[str, ...]:
        seen = self._desk.seen.setdefault(request_id, {})
        if name not in seen:
            self._desk.note(request_id, now, name, ReviewEventKind.OPENED_PAGE)
        seen[name] = now
        return tuple(sorted(other for other, at in seen.items() if other != name and at > now - timedelta(seconds=30)))

    async def events(self, request_id: str, tenant: str) -> list[ReviewEvent]:
        return self._desk.events.get(request_id, [])


def row_of(review: ReviewView) -> ReviewRowView:
    """A review as a list has it."""
    proposal = review.proposal
    kept = review.model_dump(exclude={"proposal", "messages", "offer"})
    return ReviewRowView(
        **kept,
        review_version=proposal.review_version,
        result_sha256=proposal.result_sha256,
        stage_index=proposal.stage_index,
        edited=proposal.edited,
        preview=proposal.text[:120],
    )


def meets(review: ReviewView, query: ReviewQuery) -> bool:
    """Whether the review is one that ``query`` asks for."""
    text = (query.text or "").casefold()
    return (
        query.state in (None, review.state)
        and query.queue in (None, review.queue)
        and query.policy in (None, review.policy)
        and query.risk in (None, review.risk)
        and query.claimed_by in (None, review.claimed_by or "")
        and (text in review.request_id.casefold() or text in (review.subject or "").casefold())
    )


@dataclass
class FakeFigures:
    """Figures as they were set, and what was asked for."""

    hasty: tuple[HastyApproval, ...] = ()
    asked: list[tuple[str, datetime, datetime, timedelta]] = field(default_factory=list)

    async def figures(self, tenant: str, since: datetime, now: datetime, hasty: timedelta) -> Figures:
        self.asked.append((tenant, since, now, hasty))
        return Figures(
            pending_by_age=(AgeBand(label="under 1 h", at_least=timedelta(0), count=2, overdue=0),),
            pending_by_queue=(QueuePending(queue="default", count=2, overdue=0),),
            time_to_decision=DecisionTimes(median_seconds=60.0, p90_seconds=600.0, n=7),
            per_policy=(PolicyFigures(policy="plain", decided=7, approved=4, edited=2, rejected=1, changed_rate=0.43),),
            agreement=QuorumFigures(reviews=2, agreed=1, rate=0.5),
            per_reviewer=(ReviewerFigures(reviewer="rita", decided=7, approvals=4, median_seconds=50.0, hasty=1),),
            hasty=self.hasty,
        )


class FakeSessions:
    """Sessions by their token."""

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}

    async def open(self, principal: Principal, source: str, lifetime: timedelta) -> OpenedSession:
        token = sha256_text(f"{principal.name}/{len(self._open)}")
        session = Session(principal=principal, csrf=f"csrf-{token[:8]}", source=source, expires_at=NOW + lifetime)
        self._open[token] = session
        return OpenedSession(token=token, csrf=session.csrf, expires_at=session.expires_at)

    async def find(self, token: str) -> Session | None:
        return self._open.get(token)

    async def end(self, token: str) -> None:
        self._open.pop(token, None)
