"""A small real OpenID provider on loopback: discovery, authorize, token and keys over HTTP, and ways to misbehave.

Whoever comes to ``authorize`` is signed in at once as the person that ``claims`` describe.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any
from urllib.parse import unquote_plus, urlencode

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

STOP_SECONDS = 10.0
CLIENT_ID = "sluice console"
CLIENT_SECRET = "client secret: s+/%é"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Forgery = Callable[["FakeIdentityProvider", dict[str, Any]], str]


@dataclass(frozen=True)
class SigningKey:
    """A private key under a key id."""

    kid: str
    algorithm: str
    private: PrivateKey

    @classmethod
    def make(cls, kid: str, algorithm: str) -> SigningKey:
        if algorithm == "RS256":
            return cls(kid, algorithm, rsa.generate_private_key(public_exponent=65537, key_size=2048))
        if algorithm == "ES256":
            return cls(kid, algorithm, ec.generate_private_key(ec.SECP256R1()))
        return cls(kid, algorithm, ed25519.Ed25519PrivateKey.generate())

    def jwk(self) -> dict[str, Any]:
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            described = RSAAlgorithm.to_jwk(public, as_dict=True)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            described = ECAlgorithm.to_jwk(public, as_dict=True)
        else:
            described = OKPAlgorithm.to_jwk(public, as_dict=True)
        return {**described, "kid": self.kid, "use": "sig"}

    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.kid, **header})


@cache  # making one takes longer than most tests do
def usual_key() -> SigningKey:
    """The key that a provider signs with unless a test says otherwise."""
    return SigningKey.make("key-1", "RS256")


@dataclass
class FakeIdentityProvider:
    """All state, and everything a test can change."""

    origin: str
    signing: SigningKey = field(default_factory=usual_key)
    claims: dict[str, Any] = field(
        default_factory=lambda: {
            "sub": "248289761001",
            "email": "Rita@Example.com",
            "email_verified": True,
            "roles": ["sluice-reviewers", "staff"],
        }
    )
    secret: str | None = CLIENT_SECRET
    """None for a public client."""
    published: list[Any] | None = None
    """The key set, where it is not the public part of ``signing``."""
    document: dict[str, Any] = field(default_factory=dict)
    """What the discovery document says otherwise."""
    forge: Forgery | None = None
    """Makes the ID token out of its claims, instead of ``signing``."""
    answers: dict[str, Callable[[], Response]] = field(default_factory=dict)
    """What a path answers instead of what it should."""
    seen: Counter[str] = field(default_factory=Counter)
    """How often each path was asked for."""
    forms: list[dict[str, str]] = field(default_factory=list)
    """What came to the token endpoint."""
    authorizations: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"{self.origin}/realms/acme"

    @cached_property
    def app(self) -> Starlette:
        routes = {
            "/realms/acme/.well-known/openid-configuration": self._discovery,
            "/realms/acme/authorize": self._authorize,
            "/realms/acme/token": self._token,
            "/realms/acme/keys": self._keys,
        }
        methods = ["GET", "POST"]
        return Starlette(routes=[Route(path, self._watched(serve), methods=methods) for path, serve in routes.items()])

    def _watched(self, serve: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def watched(request: Request) -> Response:
            name = request.url.path.rpartition("/")[2]
            self.seen[name] += 1
            instead = self.answers.get(name)
            answer: Response = instead() if instead is not None else await serve(request)
            return answer

        watched.__name__ = serve.__name__
        return watched

    async def _discovery(self, _request: Request) -> Response:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?realm=acme",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
        }
        return JSONResponse({**document, **self.document})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        good = (
            asked.get("client_id") == CLIENT_ID
            and asked.get("response_type") == "code"
            and asked.get("realm") == "acme"
            and "openid" in asked.get("scope", "").split()
            and asked.get("code_challenge_method") == "S256"
        )
        if not good:
            return JSONResponse({"error": "invalid_request"}, 400)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", 302)

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.forms.append(form)
        self.authorizations.append(request.headers.get("authorization", ""))
        if not self._authenticated(form):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        if (
            asked is None
            or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != asked["redirect_uri"]
            or proof != asked["code_challenge"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        claims = self.id_claims(asked["nonce"])
        token = self.forge(self, claims) if self.forge is not None else self.signing.sign(claims)
        return JSONResponse({"access_token": "opaque", "token_type": "Bearer", "id_token": token})

    def _authenticated(self, form: dict[str, str]) -> bool:
        if self.secret is None:
            return form.get("client_id") == CLIENT_ID
        if "client_secret" in form:
            methods = self.document.get("token_endpoint_auth_methods_supported", [])
            return "client_secret_post" in methods and form["client_secret"] == self.secret
        kind, _, encoded = self.authorizations[-1].partition(" ")
        given = base64.b64decode(encoded).decode().split(":")
        return kind == "Basic" and [unquote_plus(part) for part in given] == [CLIENT_ID, self.secret]

    async def _keys(self, _request: Request) -> Response:
        return JSONResponse({"keys": [self.signing.jwk()] if self.published is None else self.published})

    def id_claims(self, nonce: str) -> dict[str, Any]:
        """What an honest ID token says now."""
        now = int(time.time())
        meant = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce}
        return {**meant, **self.claims}


def oversized() -> Response:
    """An answer that does not end before a megabyte."""
    return Response(b" " * 1024 * 1024, media_type="application/json")


def dripping() -> Response:
    """An answer of which a byte comes now and then, for longer than anybody waits."""

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(2000):
            yield b" "
            await asyncio.sleep(0.01)

    return StreamingResponse(drip(), media_type="application/json")


def status(code: int, body: object = None) -> Callable[[], Response]:
    """An answer with this status."""
    return lambda: JSONResponse(body, code)


def moved(target: str) -> Callable[[], Response]:
    """An answer that sends elsewhere."""
    return lambda: RedirectResponse(target, 302)


def text(body: str) -> Callable[[], Response]:
    """An answer of this text."""
    return lambda: Response(body, media_type="application/json")


def confused(provider: FakeIdentityProvider, claims: dict[str, Any]) -> str:
    """A token signed by HS256 with the provider's public key in the place of a secret."""
    return _signed_with_secret({"alg": "HS256", "kid": provider.signing.kid}, claims, provider.signing.public_pem())


def unsigned(provider: FakeIdentityProvider, claims: dict[str, Any]) -> str:
    """A token with the algorithm ``none``."""
    return jwt.encode(claims, "", algorithm="none", headers={"kid": provider.signing.kid})


def weak(provider: FakeIdentityProvider, claims: dict[str, Any]) -> str:
    """A token signed by a published key that is too short."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    provider.published = [SigningKey("key-1", "RS256", key).jwk()]
    parts = b".".join(_part(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "key-1"}, claims))
    return (parts + b"." + _part(key.sign(parts, PKCS1v15(), SHA256()))).decode()


def _signed_with_secret(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    parts = b".".join(_part(json.dumps(part).encode()) for part in (header, claims))
    return (parts + b"." + _part(hmac.digest(secret, parts, "sha256"))).decode()


def _part(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


class Loopback:
    """A place on loopback at which one provider after the other can be found, while ``serving`` holds it open."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._provider = self.fresh()

    def fresh(self) -> FakeIdentityProvider:
        """A new provider in the place of the one before."""
        self._provider = FakeIdentityProvider(self._origin)
        return self._provider

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._provider.app(scope, receive, send)


@contextmanager
def serving() -> Iterator[Loopback]:
    """A server on a free port of loopback, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        loopback = Loopback(f"http://127.0.0.1:{listening.getsockname()[1]}")
        config = uvicorn.Config(
            loopback, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield loopback
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS)
            assert not thread.is_alive()
