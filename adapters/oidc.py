"""Sign-in at an identity provider: OpenID Connect's authorization code with PKCE.

The provider is found by its discovery document. Everything it says is read with a limit on time and size, redirects
are not followed, and all of its addresses are HTTPS unless it runs on this very machine.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote_plus

import httpx
import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.oidc_tokens import (
    IdentityProviderError,
    NotEntitledError,
    OidcClient,
    SignInError,
    key_for,
    principal_of,
    usable_keys,
    verified_claims,
)
from adapters.secure_address import is_secure
from domain.identity import Principal
from domain.payload import Payload

if TYPE_CHECKING:
    from adapters.settings import Settings

__all__ = [
    "IdentityProviderError",
    "NotEntitledError",
    "OidcClient",
    "OpenIdConnect",
    "SignInError",
    "Started",
    "identity_provider",
]

LARGEST_REPLY = 256 * 1024
_SCOPES = "openid email profile"
_REMEMBERED_SECONDS = 3600.0
_BETWEEN_KEY_SEARCHES = 60.0
_TRANSIENT = frozenset({408, 425, 429})
_AWAY = "The identity provider cannot be reached at the moment. Try again in a while, or sign in with a key."
_UNFIT = "The identity provider does not answer as agreed. Tell an operator of Sluice; its log says what is wrong."


class Started(Payload):
    """A sign-in under way: where to send the browser, and what has to be kept for it until it comes back.

    All but ``url`` must stay between this installation and that one browser.
    """

    url: str
    state: str = Field(repr=False)
    nonce: str = Field(repr=False)
    verifier: str = Field(repr=False)
    redirect_uri: str


class _Said(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


SaidT = TypeVar("SaidT", bound=_Said)


class _Discovery(_Said):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]


class _KeySet(_Said):
    keys: list[Any]


class _Tokens(_Said):
    id_token: str


class OpenIdConnect:
    """Signs people in at the provider that ``client`` names. ``http`` must not take proxies from the environment.

    ``seconds`` is the longest time one exchange with the provider may take. Discovery document and keys are remembered
    for an hour; a key that is not among them is looked for at once, at most once a minute.
    """

    def __init__(
        self,
        client: OidcClient,
        http: httpx.AsyncClient,
        seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._http = http
        self._seconds = seconds
        self._clock = clock
        self._lock = asyncio.Lock()
        self._document: tuple[_Discovery, float] | None = None
        self._keys: tuple[tuple[jwt.PyJWK, ...], float] | None = None

    @property
    def source(self) -> str:
        """What sessions say of where their person comes from."""
        return f"oidc:{self._client.issuer}"

    async def start(self, redirect_uri: str) -> Started:
        """Begin a sign-in that comes back to ``redirect_uri``. Raises ``IdentityProviderError``."""
        document = await self._discover()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=")
        asked = {
            "response_type": "code",
            "scope": _SCOPES,
            "client_id": self._client.client_id,
            "redirect_uri": redirect_uri,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge.decode("ascii"),
            "code_challenge_method": "S256",
        }
        try:
            url = httpx.URL(document.authorization_endpoint).copy_merge_params(asked)
        except httpx.InvalidURL:
            raise IdentityProviderError(_UNFIT, "the authorization_endpoint is no address") from None
        return Started(url=str(url), state=state, nonce=nonce, verifier=verifier, redirect_uri=redirect_uri)

    async def finish(self, code: str, started: Started) -> Principal:
        """Whom ``code`` stands for, which the browser brought back from the sign-in ``started``.

        Raises ``SignInError``. **Correctness:** a code works once; the provider refuses it the second time.
        """
        document = await self._discover()
        token = await self._redeem(document, code, started)
        key = await self._key(document, token)
        return principal_of(verified_claims(token, key, self._client, started.nonce), self._client)

    async def _discover(self) -> _Discovery:
        if self._document is not None and self._clock() - self._document[1] < _REMEMBERED_SECONDS:
            return self._document[0]
        url = self._client.issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = _read(_Discovery, await self._get(url, "discovery document"), "discovery document")
        if document.issuer != self._client.issuer:
            raise IdentityProviderError(_UNFIT, "the provider's 'issuer' is not exactly SLUICE_OIDC_ISSUER")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not is_secure(getattr(document, name)):
                raise IdentityProviderError(_UNFIT, f"{name} of the discovery document is no https:// address")
        self._document = (document, self._clock())
        return document

    async def _redeem(self, document: _Discovery, code: str, started: Started) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": started.redirect_uri,
            "code_verifier": started.verifier,
            "client_id": self._client.client_id,
        }
        headers = self._authenticate(document, form)
        status, body = await self._exchange("POST", document.token_endpoint, "token endpoint", headers, form)
        if status == httpx.codes.BAD_REQUEST:
            message = "The identity provider did not confirm this sign-in; it may have taken too long. Start it again."
            raise SignInError(message, "the token endpoint refused the code")
        if status != httpx.codes.OK:
            remedy = "; check client id and secret" if status in (401, 403) else ""
            raise IdentityProviderError(_UNFIT, f"the token endpoint answered {status}{remedy}")
        return _read(_Tokens, body, "token endpoint's reply").id_token

    def _authenticate(self, document: _Discovery, form: dict[str, str]) -> dict[str, str]:
        """The headers that prove who we are; a provider that wants the proof in ``form`` finds it there."""
        secret, supported = self._client.client_secret, document.token_endpoint_auth_methods_supported
        if secret is None:
            return {}
        if "client_secret_basic" in supported:
            pair = f"{quote_plus(self._client.client_id)}:{quote_plus(secret)}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode('ascii')).decode('ascii')}"}
        if "client_secret_post" in supported:
            form["client_secret"] = secret
            return {}
        raise IdentityProviderError(_UNFIT, "the provider takes no client secret; it offers neither basic nor post")

    async def _key(self, document: _Discovery, token: str) -> jwt.PyJWK:
        async with self._lock:
            keys, read_at = self._keys or ((), -math.inf)
            age = self._clock() - read_at
            key = key_for(token, keys) if age < _REMEMBERED_SECONDS else None
            if key is None and age >= _BETWEEN_KEY_SEARCHES:
                found = _read(_KeySet, await self._get(document.jwks_uri, "key set"), "key set")
                self._keys = (usable_keys(found.keys), self._clock())
                key = key_for(token, self._keys[0])
        if key is None:
            message = "The identity provider signed with a key that it does not publish. Try again in a minute."
            raise SignInError(message, "no published key fits the ID token")
        return key

    async def _get(self, url: str, what: str) -> bytes:
        status, body = await self._exchange("GET", url, what)
        if status != httpx.codes.OK:
            raise IdentityProviderError(_UNFIT, f"the {what} was answered with {status}")
        return body

    async def _exchange(
        self, method: str, url: str, what: str, headers: Mapping[str, str] | None = None, form: Any = None
    ) -> tuple[int, bytes]:
        """Status and body of the reply. Raises ``IdentityProviderError`` without a whole one of bearable size."""
        asked = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._http.stream(
                    method, url, data=form, headers=asked, timeout=self._seconds, follow_redirects=False
                ) as response,
            ):
                status = response.status_code
                if status >= 500 or status in _TRANSIENT:
                    raise IdentityProviderError(_AWAY, f"the {what} was answered with {status}")
                if response.headers.get("content-encoding", "identity").lower() != "identity":
                    raise IdentityProviderError(_UNFIT, f"the {what} came compressed, which was not asked for")
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST_REPLY:
                        raise IdentityProviderError(_UNFIT, f"the {what} is larger than {LARGEST_REPLY} bytes")
        except (TimeoutError, httpx.HTTPError) as error:
            raise IdentityProviderError(_AWAY, f"no {what} ({type(error).__name__})") from None
        except httpx.InvalidURL:
            raise IdentityProviderError(_UNFIT, f"the address of the {what} cannot be used") from None
        return status, bytes(body)


def identity_provider(settings: Settings, http: httpx.AsyncClient) -> OpenIdConnect | None:
    """The provider that ``settings`` name; None without one. Raises ``SecretFileError``."""
    client = settings.oidc_client()
    return None if client is None else OpenIdConnect(client, http)


def _read(model: type[SaidT], body: bytes, what: str) -> SaidT:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise IdentityProviderError(_UNFIT, f"the {what} is not as agreed: {place} ({first['type']})") from None
