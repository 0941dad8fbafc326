"""ID tokens: whether one was made by our identity provider, for us and for this very sign-in, and whom it names.

SignInError                     the answer to this sign-in cannot be trusted or was used up
├── IdentityProviderError       the identity provider cannot be reached or is not as agreed; an operator has to look
└── NotEntitledError            the person is known there, but may not enter here
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from domain.errors import SluiceError
from domain.identity import Principal, Role

ALGORITHMS = ("RS256", "ES256", "EdDSA")
CLOCK_SKEW_SECONDS = 60
_LONGEST_NAME = 200
_AGAIN = "The answer of your identity provider cannot be used. Start the sign-in again."


class SignInError(SluiceError):
    """Nobody was signed in. The message is for the person who tried, ``detail`` for the log; neither holds a claim."""

    status = 400

    def __init__(self, message: str, detail: str) -> None:
        super().__init__(message)
        self.detail = detail


class IdentityProviderError(SignInError):
    """The identity provider gave no usable answer. Trying again later may help, else an operator has to look."""

    status = 503


class NotEntitledError(SignInError):
    """The identity provider knows the person, who still may not enter."""

    status = 403


@dataclass(frozen=True)
class OidcClient:
    """How this installation is registered at the identity provider, and what it reads of an ID token.

    ``roles`` maps values of the claim ``role_claim`` to roles here. A claim is named by its own name or, where it lies
    inside others, by a path with dots such as ``realm_access.roles``.
    """

    issuer: str
    client_id: str
    tenant: str
    roles: Mapping[str, frozenset[Role]]
    client_secret: str | None = field(default=None, repr=False)
    name_claim: str = "email"
    role_claim: str = "roles"


def usable_keys(described: Iterable[Any]) -> tuple[jwt.PyJWK, ...]:
    """Those of a JWK set's keys that can sign ID tokens by an algorithm we accept; never a shared secret."""
    keys = []
    for jwk in described:
        if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(jwk)
        except (jwt.PyJWTError, TypeError, ValueError, KeyError):
            continue  # one key that nobody can read must not shut out the others
        if key.algorithm_name in ALGORITHMS:
            keys.append(key)
    return tuple(keys)


def key_for(token: str, keys: tuple[jwt.PyJWK, ...]) -> jwt.PyJWK | None:
    """The key the token says it was signed with; without such a word the only one there is. None if it is not there.

    Raises ``SignInError`` for what is no token or names an algorithm that is not accepted.
    """
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise _untrusted(error) from None
    if header.get("alg") not in ALGORITHMS:
        raise SignInError(_AGAIN, f"the ID token is not signed by one of {', '.join(ALGORITHMS)}")
    named = header.get("kid")
    fitting = [key for key in keys if key.algorithm_name == header["alg"] and named in (None, key.key_id)]
    return fitting[0] if len(fitting) == 1 else None


def verified_claims(token: str, key: jwt.PyJWK, client: OidcClient, nonce: str) -> dict[str, Any]:
    """The claims of an ID token that ``key`` signed for ``client`` and this sign-in. Raises ``SignInError``."""
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=client.client_id,
            issuer=client.issuer,
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat"], "enforce_minimum_key_length": True},
        )
    except jwt.PyJWTError as error:
        raise _untrusted(error) from None
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else client.client_id) != client.client_id:
        raise SignInError(_AGAIN, "the ID token was made for another client")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode("utf-8", "replace"), nonce.encode("utf-8")):
        raise SignInError(_AGAIN, "the ID token was made for another sign-in")
    return claims


def principal_of(claims: Mapping[str, Any], client: OidcClient) -> Principal:
    """Whom the verified ``claims`` name, with the roles they have here. Raises ``NotEntitledError``.

    An address of email is written in lower case, so that one person has one name however the provider writes it.
    """
    name = _name(claims, client.name_claim)
    roles = frozenset[Role]().union(*(client.roles.get(value, ()) for value in _texts(claims, client.role_claim)))
    if not roles:
        message = (
            "You are known to the identity provider, but your account carries no role for Sluice. Ask whoever runs "
            "Sluice in your organisation (an operator) for one of the groups or roles that let people in, then sign "
            "in again."
        )
        raise NotEntitledError(message, f"no value of the claim {client.role_claim!r} is mapped in SLUICE_OIDC_ROLES")
    return Principal(tenant=client.tenant, name=name, roles=roles)


def _name(claims: Mapping[str, Any], path: str) -> str:
    name = _claim(claims, path)
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= _LONGEST_NAME
        or not name.isprintable()
        or name != name.strip()
    ):
        raise NotEntitledError(
            "Your account at the identity provider gives no name that can be used here. Ask an operator of Sluice.",
            f"the claim {path!r} holds no usable name; see SLUICE_OIDC_NAME_CLAIM",
        )
    if path != "email":
        return name
    verified = claims.get("email_verified", True)
    if verified is not True and verified != "true":
        raise NotEntitledError(
            "Your email address is not verified at the identity provider. Verify it there, then sign in again.",
            "the email address is not verified",
        )
    return name.lower()


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this very name, which may itself hold dots, or the one at the end of the path; None if absent."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def _texts(claims: Mapping[str, Any], path: str) -> list[str]:
    found = _claim(claims, path)
    return [value for value in (found if isinstance(found, list) else [found]) if isinstance(value, str)]


def _untrusted(error: jwt.PyJWTError) -> SignInError:
    # Only the kind: the library's own words repeat what the token holds.
    return SignInError(_AGAIN, f"the ID token does not hold ({type(error).__name__})")
