"""Who is signed in on a page, and whether what a form sends was sent from that page."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.console.forms import local_path
from api.console.pages import render
from api.errors import ApiError
from api.services import services_of
from domain.identity import Principal, Role

SIGN_IN = "/console/sign-in"
LIFETIME = timedelta(hours=8)


@dataclass(frozen=True)
class ConsoleSession:
    """Somebody who is signed in. ``csrf`` goes into every form of the page as the field of this name."""

    principal: Principal
    csrf: str = field(repr=False)
    request: Request = field(repr=False, compare=False)


class PageError(ApiError):
    """An answer with an error status that is a page for people, or sends them to one."""

    def __init__(self, code: str, message: str, page: Response) -> None:
        super().__init__(page.status_code, code, message)
        self._page = page

    def response(self) -> Response:
        """The page."""
        return self._page


def refusal(request: Request, status: int, title: str, message: str) -> PageError:
    """A page that says why something is not possible, and what to do about it."""
    shown: ConsoleSession | None = getattr(request.state, "console_session", None)
    page = render(request, "refused.html", {"title": title, "message": message, "session": shown}, status)
    return PageError("refused", message, page)


async def find_session(request: Request) -> ConsoleSession | None:
    """Who is signed in in this browser, if anybody is."""
    token = request.cookies.get(cookie_name(request))
    session = await services_of(request).sessions.find(token) if token else None
    if session is None:
        return None
    principal = session.principal
    structlog.contextvars.bind_contextvars(tenant=principal.tenant, caller=principal.name)
    found = ConsoleSession(principal, session.csrf, request)
    request.state.console_session = found
    return found


async def signed_in(request: Request) -> ConsoleSession:
    """Who is signed in. Raises ``PageError``, which leads to the page for signing in and from there back here."""
    session = await find_session(request)
    if session is not None:
        return session
    query = f"?{request.url.query}" if request.url.query else ""
    back = local_path(request.url.path + query) if request.method == "GET" else None
    target = SIGN_IN if back is None else f"{SIGN_IN}?next={quote(back, safe='')}"
    raise PageError("sign_in_needed", "sign in first", redirect(target))


def require_role(session: ConsoleSession, *roles: Role) -> None:
    """Nothing for somebody who holds at least one of ``roles``; else raises ``PageError`` 403."""
    if session.principal.roles.isdisjoint(roles):
        needed = " or ".join(role.value for role in roles)
        held = ", ".join(sorted(role.value for role in session.principal.roles))
        message = f"This page is for people with the role {needed}. You have {held}. Ask an operator for the role."
        raise refusal(session.request, 403, "Not for your role", message)


def require_csrf(request: Request, form: Mapping[str, str]) -> None:
    """Nothing for a form that comes from a page of the person who is signed in; else raises ``PageError`` 403.

    Call ``signed_in`` first.
    """
    require_same_origin(request)
    session: ConsoleSession = request.state.console_session
    if not same_secret(form.get("csrf"), session.csrf):
        message = "What you sent does not come from a page of this sign-in. Open the page again and repeat it there."
        raise refusal(request, 403, "Not sent from your page", message)


def require_same_origin(request: Request) -> None:
    """Raises ``PageError`` 403 where the browser says that another site makes it send this."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site in (None, "same-origin") and (origin is None or _is_ours(request, origin, site)):
        return
    public = services_of(request).public_url
    remedy = f"Open the console at {public}." if public else "Behind a proxy, SLUICE_PUBLIC_URL has to be set."
    raise refusal(request, 403, "Sent from another site", f"Another site made your browser send this. {remedy}")


def _is_ours(request: Request, origin: str, site: str | None) -> bool:
    if origin == "null":  # what a browser says that hides where it comes from; the other header may still tell
        return site == "same-origin"
    public = services_of(request).public_url
    if public is not None:
        return origin.lower() == public
    try:
        return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    except ValueError:
        return False


def same_secret(given: str | None, expected: str | None) -> bool:
    """Whether both are there and alike, in a time that tells nothing about how nearly."""
    if not given or not expected:
        return False
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def cookie_name(request: Request, purpose: str = "") -> str:
    """The cookie's name; over HTTPS one that no neighbouring host and no unprotected page can set."""
    return f"{'__Host-' if _over_https(request) else ''}sluice{purpose}"


def set_cookie(request: Request, response: Response, value: str, lifetime: timedelta, purpose: str = "") -> None:
    """Give the browser a cookie that scripts do not see and that other sites' forms do not send."""
    response.set_cookie(
        cookie_name(request, purpose),
        value,
        max_age=int(lifetime.total_seconds()),
        path="/",
        secure=_over_https(request),
        httponly=True,
        samesite="lax",  # strict would withhold it on the way back from the identity provider
    )


def drop_cookie(request: Request, response: Response, purpose: str = "") -> None:
    """Take the cookie from the browser."""
    secure = _over_https(request)
    response.delete_cookie(cookie_name(request, purpose), path="/", secure=secure, httponly=True, samesite="lax")


def redirect(target: str) -> RedirectResponse:
    """Leads to ``target``, which is then read with GET."""
    return RedirectResponse(target, 303, {"Cache-Control": "no-store"})


def _over_https(request: Request) -> bool:
    return (services_of(request).public_url or "").startswith("https://")
