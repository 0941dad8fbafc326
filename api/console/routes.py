"""All pages of the console but those for signing in."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.console import (
    claim_routes,
    figures_routes,
    people_routes,
    queue_routes,
    request_routes,
    review_routes,
    static_files,
)
from api.console.console_route import ConsoleRoute
from api.console.places import first_place
from api.console.session import redirect, refusal, signed_in
from api.errors import not_found

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)


@router.get("/console")
async def start(request: Request) -> Response:
    """Leads to the first page that the person may open."""
    session = await signed_in(request)
    place = first_place(session.principal)
    if place is None:
        raise refusal(request, 403, "Nothing here for you", "Your key opens no page of the console.")
    return redirect(place)


for part in (
    static_files,
    queue_routes,
    claim_routes,
    review_routes,
    request_routes,
    figures_routes,
    people_routes,
):
    router.include_router(part.router)


@router.get("/console/{path:path}")
async def nowhere(request: Request, path: str) -> Response:
    """Says that there is no such page."""
    await signed_in(request)
    raise not_found("page", path[:64].encode("ascii", "replace").decode())
