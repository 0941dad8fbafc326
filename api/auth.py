"""Who is calling, and whether their key may be used for what they ask."""

from __future__ import annotations

import structlog
from starlette.requests import Request

from api.errors import ApiError
from api.services import services_of
from domain.identity import Principal, Role

_LONGEST_KEY = 512


async def require(request: Request, *roles: Role) -> Principal:
    """The caller, who holds at least one of ``roles``. Raises ``ApiError`` 401 or 403, before anything is looked up."""
    principal = await _authenticate(request)
    structlog.contextvars.bind_contextvars(tenant=principal.tenant, caller=principal.name)
    check_role(principal, *roles)
    return principal


def check_role(principal: Principal, *roles: Role) -> None:
    """Raises ``ApiError`` 403 unless ``principal`` holds at least one of ``roles``."""
    if principal.roles.isdisjoint(roles):
        needed = " or ".join(role.value for role in roles)
        message = f"this needs a key with the role {needed}; the key of {principal.name!r} has {_names(principal)}"
        raise ApiError(403, "role_required", message, param="Authorization")


def _names(principal: Principal) -> str:
    return ", ".join(sorted(role.value for role in principal.roles)) or "no role"


async def _authenticate(request: Request) -> Principal:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise _unauthenticated("send an API key in the header 'Authorization: Bearer sk-sluice-...'")
    principal = None
    if len(secret) <= _LONGEST_KEY and secret.isascii():
        principal = await services_of(request).keys.authenticate(secret)
    if principal is None:
        raise _unauthenticated("this API key is unknown, revoked or expired; ask an operator for another")
    return principal


def _unauthenticated(message: str) -> ApiError:
    return ApiError(
        401, "invalid_api_key", message, param="Authorization", headers={"WWW-Authenticate": 'Bearer realm="sluice"'}
    )
