"""Signing in to the console, with a key or through an identity provider, and out of it."""

from __future__ import annotations

import base64
import binascii
import math
import secrets
from collections.abc import Mapping
from datetime import timedelta

import structlog
from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from adapters.api_keys import prefix_of
from adapters.oidc import IdentityProviderError, NotEntitledError, SignInError, Started
from api.console.console_route import ConsoleRoute
from api.console.failed_sign_ins import address_of, failed_sign_ins
from api.console.forms import local_path, read_form
from api.console.pages import render
from api.console.places import first_place
from api.console.session import (
    LIFETIME,
    SIGN_IN,
    cookie_name,
    drop_cookie,
    find_session,
    redirect,
    refusal,
    require_csrf,
    require_same_origin,
    same_secret,
    set_cookie,
)
from api.services import services_of
from domain.identity import Principal
from domain.payload import Payload

CALLBACK = f"{SIGN_IN}/callback"

_FORM = "-form"
_UNDER_WAY = "-under-way"
_PATIENCE = timedelta(minutes=10)
"""How long somebody may take at the identity provider."""
_LONGEST_KEY = 512
_LONGEST_CODE = 4096
_RETRY_AFTER_SECONDS = "30"

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)


class _UnderWay(Payload):
    """What the browser keeps while its person is at the identity provider."""

    started: Started
    back: str | None


@router.get(SIGN_IN)
async def ask(request: Request) -> Response:
    """The page for signing in; somebody who is signed in already goes on."""
    back = local_path(request.query_params.get("next"))
    session = await find_session(request)
    first = None if session is None else first_place(session.principal)
    return _form(request, back) if first is None else redirect(back or first)


@router.post(SIGN_IN)
async def with_key(request: Request) -> Response:
    """Sign in with an API key. The key stands in the body only, and no page repeats it."""
    require_same_origin(request)
    form = await read_form(request)
    back = local_path(form.get("next"))
    if not same_secret(form.get("csrf"), request.cookies.get(cookie_name(request, _FORM))):
        return _form(request, back, "This page had been open for too long. Send it again.", 403)
    address, now = address_of(request), services_of(request).clock()
    wait = failed_sign_ins(request).begin(address, now)
    if wait > timedelta(0):
        return _too_often(request, back, wait)
    secret = form.get("key", "").strip()
    principal = None
    if len(secret) <= _LONGEST_KEY and secret.isascii():
        principal = await services_of(request).keys.authenticate(secret)
    if principal is None:
        _refused("the key is unknown, revoked or expired")
        return _form(request, back, "This key is unknown, revoked or expired. Ask an operator for another.", 403)
    failed_sign_ins(request).succeeded(address, now)
    return await _open(request, principal, f"key:{prefix_of(secret)}", back)


@router.get(f"{SIGN_IN}/oidc")
async def with_provider(request: Request) -> Response:
    """Send the browser to the identity provider."""
    services, back = services_of(request), local_path(request.query_params.get("next"))
    if services.identity_provider is None or services.public_url is None:
        return _form(request, back, "There is no identity provider here. Sign in with a key.", 404)
    try:
        started = await services.identity_provider.start(f"{services.public_url}{CALLBACK}")
    except SignInError as error:
        return _not_signed_in(request, back, error)
    response = redirect(started.url)
    # Without the address, which has served its purpose: browsers drop a cookie that is too long.
    kept = _UnderWay(started=started.model_copy(update={"url": ""}), back=back)
    set_cookie(request, response, _packed(kept), _PATIENCE, _UNDER_WAY)
    return response


@router.get(CALLBACK)
async def back_from_provider(request: Request) -> Response:
    """Where the identity provider sends the browser back to.

    **Correctness:** what was kept for this sign-in goes with the first answer, and a code works once at the provider;
    the same address opened again signs nobody in.
    """
    response = await _finish(request)
    drop_cookie(request, response, _UNDER_WAY)
    return response


@router.post("/console/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session of this browser."""
    require_same_origin(request)
    if await find_session(request) is not None:
        require_csrf(request, await read_form(request))
        await services_of(request).sessions.end(request.cookies[cookie_name(request)])
    response = redirect(SIGN_IN)
    drop_cookie(request, response)
    return response


async def _finish(request: Request) -> Response:
    provider, query = services_of(request).identity_provider, request.query_params
    kept = _unpacked(request.cookies.get(cookie_name(request, _UNDER_WAY)))
    if provider is None or kept is None or not same_secret(query.get("state"), kept.started.state):
        _refused("the answer belongs to no sign-in that began in this browser")
        problem = "This sign-in did not begin in this browser, took too long, or is over already. Start it again."
        return _form(request, None, problem, 400)
    back, code = local_path(kept.back), query.get("code", "")
    if "error" in query or not 0 < len(code) <= _LONGEST_CODE:
        _refused("the identity provider sent no code")
        return _form(request, back, "The identity provider did not sign you in. Start again, or ask it why.", 400)
    try:
        principal = await provider.finish(code, kept.started)
    except SignInError as error:
        return _not_signed_in(request, back, error)
    return await _open(request, principal, provider.source, back)


async def _open(request: Request, principal: Principal, source: str, back: str | None) -> Response:
    """Sign ``principal`` in, in the place of whoever was signed in in this browser before."""
    first = first_place(principal)
    if first is None:
        _refused("no page is for the roles held")
        held = ", ".join(sorted(role.value for role in principal.roles)) or "none"
        message = f"Your roles open no page of the console: {held}. Ask an operator of Sluice for the role you need."
        return refusal(request, 403, "Nothing here for your roles", message).response()
    sessions = services_of(request).sessions
    before = request.cookies.get(cookie_name(request))
    if before:
        await sessions.end(before)
    opened = await sessions.open(principal, source, LIFETIME)
    structlog.get_logger("api").info("signed_in", by=source.partition(":")[0])
    response = redirect(back or first)
    set_cookie(request, response, opened.token, LIFETIME)
    drop_cookie(request, response, _FORM)
    return response


def _form(
    request: Request,
    back: str | None,
    problem: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The page for signing in, with a token that its form and its cookie share: nobody else can send the form."""
    token = request.cookies.get(cookie_name(request, _FORM)) or secrets.token_urlsafe(32)
    shown = {
        "csrf": token,
        "back": back,
        "problem": problem,
        "with_provider": services_of(request).identity_provider is not None,
    }
    response = render(request, "sign_in.html", shown, status, headers)
    set_cookie(request, response, token, LIFETIME, _FORM)
    return response


def _too_often(request: Request, back: str | None, wait: timedelta) -> Response:
    seconds = math.ceil(wait.total_seconds())
    _refused("too many failures from one address")
    problem = f"Too many keys from your address were none. Wait {seconds} seconds, then try again."
    return _form(request, back, problem, 429, {"Retry-After": str(seconds)})


def _not_signed_in(request: Request, back: str | None, error: SignInError) -> Response:
    _refused(error.detail)
    if isinstance(error, NotEntitledError):
        return refusal(request, error.status, "You cannot enter", str(error)).response()
    headers = {"Retry-After": _RETRY_AFTER_SECONDS} if isinstance(error, IdentityProviderError) else None
    return _form(request, back, str(error), error.status, headers)


def _refused(because: str) -> None:
    structlog.get_logger("api").warning("sign_in_refused", because=because)


def _packed(kept: _UnderWay) -> str:
    return base64.urlsafe_b64encode(kept.model_dump_json().encode("utf-8")).decode("ascii")


def _unpacked(cookie: str | None) -> _UnderWay | None:
    try:
        return _UnderWay.model_validate_json(base64.urlsafe_b64decode(cookie or ""))
    except (binascii.Error, ValueError, ValidationError):
        return None  # none, or not from here
