"""How reviewing goes, for those who answer for it: what waits, how people decide and how fast, and who is hasty."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.console.console_route import ConsoleRoute
from api.console.pages import render
from api.console.places import LEADS
from api.console.session import require_role, signed_in
from api.figures import MOST_DAYS, USUAL_DAYS, FiguresAnswer, figures
from api.services import services_of

FIGURES = "/console/figures"
_PERIODS = (1, 7, 30, 90)

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)


@router.get(FIGURES)
async def show_figures(request: Request) -> Response:
    """The page of figures."""
    session = await signed_in(request)
    require_role(session, *LEADS)
    days = _days(request.query_params.get("days", ""))
    found = await figures(services_of(request), session.principal, days)
    context = {
        "session": session,
        "found": found,
        "periods": _PERIODS,
        "waiting": sum(band.count for band in found.pending_by_age),
        "most": _most(found),
    }
    return render(request, "figures.html", context)


def _days(written: str) -> int:
    """The period in days; the usual one where the address holds none."""
    return min(int(written), MOST_DAYS) if written.isascii() and written.isdigit() and int(written) else USUAL_DAYS


def _most(found: FiguresAnswer) -> dict[str, int]:
    """The longest bar of each picture."""

    def longest(counts: Iterable[int]) -> int:
        return max(counts, default=0) or 1

    return {
        "age": longest(band.count for band in found.pending_by_age),
        "queue": longest(queue.count for queue in found.pending_by_queue),
        "policy": longest(policy.decided for policy in found.per_policy),
        "reviewer": longest(reviewer.decided for reviewer in found.per_reviewer),
    }
