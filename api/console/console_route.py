"""Errors on the console's way become pages for people; everything else about a route stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.requests import Request
from starlette.responses import Response

from api.console.session import PageError, refusal
from api.console.wording import sentence
from api.errors import ApiError, unavailable

_TITLES = {
    400: "That cannot be",
    403: "Not yours to do",
    404: "Not here",
    409: "Not now",
    413: "Too long",
    503: "Away for a moment",
}


class ConsoleRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route, with its errors told as pages."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(request)
            except PageError as error:
                return error.response()
            except ApiError as error:
                return as_page(request, error)
            except (OperationalError, InterfaceError):
                return as_page(request, unavailable("the database", "try again in a moment"))

        return told


def as_page(request: Request, error: ApiError) -> Response:
    """``error`` for people."""
    page = refusal(request, error.status, _TITLES.get(error.status, "Not possible"), sentence(error.detail.message))
    return page.response()
