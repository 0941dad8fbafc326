"""Turns templates into pages: escaped, never cached, and under a policy that lets nothing foreign into them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.console import wording
from api.console.places import places
from api.console.static_files import static_url
from api.services import services_of

_TEMPLATES = Path(__file__).parent / "templates"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def content_security_policy(*form_targets: str) -> str:
    """What a page may load and where its forms may lead: to ourselves, and to the origins in ``form_targets``."""
    return "; ".join(
        (
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            " ".join(("form-action 'self'", *form_targets)),
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def render(
    request: Request,
    template: str,
    context: Mapping[str, object],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The page ``template`` with ``context``; ``headers`` replace the usual ones of the same name.

    A page for somebody who is signed in has their ``session`` in its context; the head of the page shows it.
    """
    shown = {"session": None, "path": request.url.path, "now": services_of(request).clock(), **context}
    return HTMLResponse(
        _environment().get_template(template).render(shown),
        status,
        {**_HEADERS, "Content-Security-Policy": content_security_policy(), **(headers or {})},
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"static": static_url, "places": places}
    environment.filters.update(wording.FILTERS)
    return environment
