"""The course of one request as people follow it: what models, checks, reviewers and notices did, when and how long.

The service that asked sees the same steps; who decided and why stay out of it where the policy keeps them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.claims import ReviewEvent, ReviewEventKind
from adapters.ledger_reader import RequestView
from adapters.review_rows import DeliveryView
from api.auth import check_role, require
from api.blindness import Sight, sight
from api.bodies import read_query
from api.errors import checked_id, not_found
from api.openapi import documented, error_answers
from api.services import Services, services_of
from api.views import View, utc
from domain.identity import Principal, Role
from domain.ledger import DecisionRecord, RecordKind
from domain.request import Outcome, Status
from domain.review import DecisionStatus

_FULL = (Role.REVIEWER, Role.SENIOR_REVIEWER, Role.AUDITOR, Role.OPERATOR)
READERS = (Role.SERVICE, *_FULL)
_PEOPLE = {"reviewer": "a reviewer", "operator": "an operator"}
"""Kinds of people who act on a request, and what they are called where their name is kept."""
_JUDGED = (RecordKind.DECISION_JUDGED, RecordKind.OVERRIDE_JUDGED)
_STAGES = (RecordKind.STAGE_ANSWERED, RecordKind.STAGE_FAILED)
_HOLD_ENDS = (RecordKind.HELD, RecordKind.HOLD_EXPIRED, RecordKind.ENDED)
_FOR_REVIEWERS = "review."
"""How the names of notices begin that are for reviewers and not for the service."""
_TITLES = {
    RecordKind.ADMITTED: "admitted",
    RecordKind.INPUT_CHECKED: "check {name} of the input: {verdict}",
    RecordKind.ROUTED: "routed",
    RecordKind.STAGE_ANSWERED: "{stage} answered",
    RecordKind.STAGE_FAILED: "{stage} gave no answer",
    RecordKind.OUTPUT_CHECKED: "check {name} of {stage}'s answer: {verdict}",
    RecordKind.DECIDED: "the policy says {verb}",
    RecordKind.HELD: "held for review, version {review_version}",
    RecordKind.REMINDED: "reviewers reminded",
    RecordKind.DECISION_JUDGED: "decision {verdict}: {status}",
    RecordKind.EDIT_CHECKED: "check {name} of the reviewer's text: {verdict}",
    RecordKind.HOLD_EXPIRED: "the hold expired",
    RecordKind.REASSIGNED: "moved to another queue",
    RecordKind.RAISED_TO_SENIORS: "raised to senior reviewers",
    RecordKind.NOTIFIED: "notice {event} for {channel}",
    RecordKind.OVERRIDE_JUDGED: "override {action}: {status}",
    RecordKind.ENDED: "ended: {outcome}",
}
_HUMAN_TITLES = {
    ReviewEventKind.OPENED_PAGE: "opened the review",
    ReviewEventKind.CLAIMED: "claimed the review",
    ReviewEventKind.RELEASED: "released the review",
    ReviewEventKind.REASSIGNED: "reassigned the review",
}

router = APIRouter(prefix="/v1/requests", tags=["requests"])


class TimelineEntry(View):
    """One step. ``who`` is None where no person, model or check did it."""

    at: datetime
    """When it began, as far as the record tells."""
    kind: str
    who: str | None
    title: str
    detail: str | None
    duration_ms: float | None
    """How long it took; None for what takes no time, and for what goes on."""


class TimelineAnswer(View):
    """The steps of a request in order of time."""

    id: str
    status: Status
    outcome: Outcome | None
    created_at: datetime
    ended_at: datetime | None
    entries: tuple[TimelineEntry, ...]
    blind: bool
    """Whether what other reviewers have done is hidden from who asks, until they have decided themselves."""


async def timeline(services: Services, principal: Principal, request_id: str) -> TimelineAnswer:
    """The course of a request. Raises ``ApiError`` 403 or 404."""
    check_role(principal, *READERS)
    reader, tenant = services.reader, principal.tenant
    row = await reader.request(checked_id("request", request_id), tenant)
    if row is None:
        raise not_found("recorded request", request_id)
    records, events, deliveries, review = await asyncio.gather(
        reader.records(request_id, tenant),
        services.claims.events(request_id, tenant),
        reader.deliveries(request_id, tenant),
        reader.review(request_id, tenant, services.clock()),
    )
    seen = sight(principal, review, records)
    kept = principal.roles.isdisjoint(_FULL) and _keeps_reviewers(services, row)
    entries = [*_recorded(seen.records, records, kept=kept), *_human(events, seen, principal.name, kept=kept)]
    entries += _notices(deliveries, seen, kept=kept)
    return TimelineAnswer(
        id=row.request_id,
        status=row.status,
        outcome=row.outcome,
        created_at=row.created_at.astimezone(UTC),
        ended_at=utc(row.ended_at),
        entries=tuple(sorted(entries, key=lambda entry: entry.at)),
        blind=seen.blind,
    )


def _keeps_reviewers(services: Services, row: RequestView) -> bool:
    """Whether the requester is not told who decided and why. Unknown, because the policy has changed since, is yes."""
    snapshot = services.policies.snapshot(row.policy)
    if snapshot is None or snapshot.version != row.policy_version:
        return True
    return snapshot.policy.hold.reason_for_requester == "kept"


def _recorded(
    visible: Sequence[DecisionRecord], every: Sequence[DecisionRecord], *, kept: bool
) -> Iterator[TimelineEntry]:
    whole = len(visible) == len(every)
    for index, record in enumerate(visible):
        if kept and str(record.data.get("event", "")).startswith(_FOR_REVIEWERS):
            continue
        duration = _duration(record, every[index + 1 :] if whole else ())
        yield TimelineEntry(
            at=record.at - duration if duration is not None and record.kind in _STAGES else record.at,
            kind=record.kind.value,
            who=_who(record, kept=kept),
            title=_title(record),
            detail=None if kept and record.kind in _JUDGED else record.rationale,
            duration_ms=None if duration is None else _milliseconds(duration),
        )


def _who(record: DecisionRecord, *, kept: bool) -> str | None:
    kind, _, name = record.actor.partition(":")
    if not name:
        return None
    if kept and kind in _PEOPLE:
        return _PEOPLE[kind]
    principal = record.data.get("on_behalf_of")
    return name if principal is None or kind != "reviewer" else f"{name} for {principal}"


def _title(record: DecisionRecord) -> str:
    told = {"stage": record.stage, **{key: value for key, value in record.data.items() if value is not None}}
    return _TITLES[record.kind].format_map(_Told(told))


class _Told(dict[str, object]):
    def __missing__(self, key: str) -> str:
        # A Signal that held nothing readable, and records of older versions.
        return "unreadable" if key in ("verdict", "action") else "unknown"


def _duration(record: DecisionRecord, later: Sequence[DecisionRecord]) -> timedelta | None:
    if record.kind in _STAGES:
        told = [attempt.get("latency_ms") for attempt in record.data.get("attempts", ())]
        known = [latency for latency in told if latency is not None]
        return timedelta(milliseconds=sum(known)) if known else None
    if record.kind is RecordKind.HELD:
        return next((end.at - record.at for end in later if _ends_hold(end)), None)
    return None


def _ends_hold(record: DecisionRecord) -> bool:
    if record.kind in _HOLD_ENDS:
        return True
    raised = record.data.get("queue") is not None
    return record.kind in _JUDGED and record.data.get("status") == DecisionStatus.APPLIED and not raised


def _milliseconds(span: timedelta) -> float:
    return round(span.total_seconds() * 1000, 1)


def _human(events: Sequence[ReviewEvent], seen: Sight, name: str, *, kept: bool) -> Iterator[TimelineEntry]:
    for event in events:
        if event.actor != name and not seen.shows(event.at):
            continue
        yield TimelineEntry(
            at=event.at,
            kind=event.kind.value,
            who=_PEOPLE["reviewer"] if kept else event.actor,
            title=_HUMAN_TITLES[event.kind],
            detail=None if kept else _detail(event),
            duration_ms=None,
        )


def _detail(event: ReviewEvent) -> str | None:
    to, reason = event.data.get("to"), event.data.get("reason")
    return ": ".join(str(part) for part in (f"to {to}" if to else None, reason) if part) or None


def _notices(deliveries: Sequence[DeliveryView], seen: Sight, *, kept: bool) -> Iterator[TimelineEntry]:
    for delivery in deliveries:
        if not seen.shows(delivery.at) or (kept and delivery.event.startswith(_FOR_REVIEWERS)):
            continue
        became = "delivered" if delivery.delivered else "not delivered"
        yield TimelineEntry(
            at=delivery.at,
            kind="delivery",
            who=None,
            title=f"notice {delivery.event} {became} to {delivery.channel}",
            detail=delivery.detail or None,
            duration_ms=None,
        )


@router.get(
    "/{id}/timeline",
    response_model=TimelineAnswer,
    responses=error_answers(400, 403, 404),
    openapi_extra=documented(),
)
async def read_timeline(request: Request, id: str) -> Response:
    """What happened to a request, step by step. A service learns who decided and why only where the policy says so."""
    principal = await require(request, *READERS)
    read_query(request)
    answer = await timeline(services_of(request), principal, id)
    headers = {"x-sluice-request-id": answer.id, "x-sluice-state": answer.status.value}
    return Response(answer.model_dump_json(), 200, headers, "application/json")
