"""The queue: what waits for a person, what is due first at the top, and kept up to date while somebody looks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.console.console_route import ConsoleRoute
from api.console.filters import ANY_STATE, ME, NOBODY, Filters
from api.console.news import QUEUE, news_of
from api.console.pages import render
from api.console.places import READERS
from api.console.session import ConsoleSession, require_role, signed_in
from api.console.wording import STATES, plural, urgency
from api.review_queue import list_page
from api.review_views import ReviewItem, ReviewList
from api.services import services_of
from domain.review import ReviewState
from domain.risk import RiskTier

_ROWS = 50
_MOST_BACK = 40
"""Pages that can be gone back through; behind them a link leads to the first."""
_SHORTCUTS = (
    ("j", "next row"),
    ("k", "row before"),
    ("Enter", "open the row"),
    ("/", "search by id or subject"),
    ("?", "this list"),
)

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)


@dataclass(frozen=True)
class Row:
    """One review in the list."""

    item: ReviewItem
    href: str
    urgency: str
    mine: bool
    theirs: bool


@dataclass(frozen=True)
class Tab:
    """A view of the queue that people change to all day."""

    name: str
    href: str
    current: bool


@router.get(QUEUE)
async def show_queue(request: Request) -> Response:
    """The page of the queue."""
    session = await signed_in(request)
    require_role(session, *READERS)
    services, filters = services_of(request), Filters.of(request.query_params)
    cursor, trail = request.query_params.get("cursor") or None, _trail(request.query_params.get("trail", ""))
    page = await _page(request, session, filters, cursor)
    rows = _rows_context(request, session, filters, page)
    queues = await services.roster.queues(session.principal.tenant)
    context: dict[str, Any] = {
        **rows,
        "session": session,
        "news": await news_of(services, session.principal, request.query_params),
        "title": "Waiting for a person" if filters.state == ReviewState.PENDING else "Reviews",
        "tabs": _tabs(filters),
        "states": (*STATES.items(), (ANY_STATE, "any")),
        "risks": tuple(RiskTier),
        "queues": _choices(filters.queue, (queue.name for queue in queues)),
        "policies": _choices(filters.policy, services.policies.names()),
        "filtered": filters != Filters(),
        "live": filters.address(f"{QUEUE}/rows", cursor=cursor),
        "tag": _tag(page, session),
        "newer": _newer(filters, cursor, trail),
        "older": _older(filters, cursor, trail, page),
        "shortcuts": _SHORTCUTS,
    }
    return render(request, "queue.html", context)


@router.get(f"{QUEUE}/rows")
async def show_rows(request: Request) -> Response:
    """The rows alone, for a page that is open; 304 where they are as that page has them."""
    session = await signed_in(request)
    require_role(session, *READERS)
    filters = Filters.of(request.query_params)
    page = await _page(request, session, filters, request.query_params.get("cursor") or None)
    tag = _tag(page, session)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(None, 304, headers)
    return render(request, "queue_rows.html", _rows_context(request, session, filters, page), headers=headers)


async def _page(request: Request, session: ConsoleSession, filters: Filters, cursor: str | None) -> ReviewList:
    services, principal = services_of(request), session.principal
    query = filters.review_query(principal.name, services.clock())
    return await list_page(services, principal, query, _ROWS, cursor)


def _rows_context(request: Request, session: ConsoleSession, filters: Filters, page: ReviewList) -> dict[str, Any]:
    now, me = services_of(request).clock(), session.principal.name
    return {
        "rows": tuple(_row(item, filters, me, now) for item in page.items),
        "filters": filters,
        "said": _said(page),
        "narrowed": filters.but(state=ReviewState.PENDING.value) != Filters(),
    }


def _row(item: ReviewItem, filters: Filters, me: str, now: datetime) -> Row:
    return Row(
        item=item,
        href=filters.address(f"{QUEUE}/{item.id}"),
        urgency=urgency(item.expires_at, item.opened_at, now),
        mine=item.claimed_by == me,
        theirs=item.claimed_by not in (None, me),
    )


def _said(page: ReviewList) -> str:
    """How many reviews the list holds, for those who hear it."""
    count = plural(len(page.items), "review")
    return f"{count}, and more behind" if page.next_cursor is not None else count


def _tag(page: ReviewList, session: ConsoleSession) -> str:
    """Changes whenever a row would: with what is listed, not with the time that goes by."""
    told = json.dumps([session.principal.name, page.model_dump(mode="json")], sort_keys=True)
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'


def _tabs(filters: Filters) -> tuple[Tab, ...]:
    return tuple(
        Tab(name, filters.but(who=who).address(QUEUE), filters.who == who)
        for name, who in (("All", ""), ("Mine", ME), ("Not taken", NOBODY))
    )


def _choices(current: str, names: Any) -> tuple[str, ...]:
    return tuple(sorted({*names, current} - {""}))


def _trail(given: str) -> tuple[str, ...]:
    """The cursors of the pages before, as an address holds them."""
    return tuple(given.split("."))[-_MOST_BACK:] if given else ()


def _newer(filters: Filters, cursor: str | None, trail: tuple[str, ...]) -> str | None:
    """The address of the page before; None on the first one."""
    if cursor is None:
        return None
    return filters.address(QUEUE, cursor=trail[-1] if trail else None, trail=".".join(trail[:-1]))


def _older(filters: Filters, cursor: str | None, trail: tuple[str, ...], page: ReviewList) -> str | None:
    """The address of the page behind this one; None on the last."""
    if page.next_cursor is None:
        return None
    longer = trail if cursor is None else (*trail, cursor)
    return filters.address(QUEUE, cursor=page.next_cursor, trail=".".join(longer[-_MOST_BACK:]))
