"""One installation at one identity provider on loopback, and a browser between both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from adapters.oidc import OidcClient, OpenIdConnect, SignInError, Started
from domain.identity import Principal, Role
from tests.adapters.fake_identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    FakeIdentityProvider,
    SigningKey,
)

BACK = "https://sluice.example/console/sign-in/callback"
ROLES = {"sluice-reviewers": frozenset({Role.REVIEWER}), "sluice-audit": frozenset({Role.AUDITOR})}
RITA = Principal(tenant="acme", name="rita@example.com", roles=frozenset({Role.REVIEWER}))
OTHER_KEY = SigningKey.make("key-1", "RS256")


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Journey:
    """One installation at one provider, and a browser between both."""

    def __init__(self, provider: FakeIdentityProvider, http: httpx.AsyncClient) -> None:
        self.provider = provider
        self.http = http
        self.clock = Clock()
        self.client = OidcClient(provider.issuer, CLIENT_ID, "acme", ROLES, CLIENT_SECRET)
        self.subject = self.installation()

    def installation(self, seconds: float = 5.0, **changes: Any) -> OpenIdConnect:
        return OpenIdConnect(replace(self.client, **changes), self.http, seconds, self.clock)

    async def browse(self, started: Started) -> str:
        """The code the provider sends the browser back with."""
        answer = await self.http.get(started.url)
        assert answer.status_code == 302, answer.text
        location = answer.headers["location"]
        assert location.startswith(f"{started.redirect_uri}?")
        brought = dict(parse_qsl(urlsplit(location).query))
        assert brought["state"] == started.state
        return brought["code"]

    async def sign_in(self, subject: OpenIdConnect | None = None) -> Principal:
        subject = subject or self.subject
        started = await subject.start(BACK)
        return await subject.finish(await self.browse(started), started)

    async def refused(self, subject: OpenIdConnect | None = None) -> SignInError:
        """Why nobody was signed in; it must not repeat what the provider or the configuration says."""
        with pytest.raises(SignInError) as caught:
            await self.sign_in(subject)
        told = f"{caught.value!s} {caught.value.detail} {caught.value!r}".lower()
        for private in (CLIENT_SECRET, "rita", "248289761001", "sluice-reviewers", self.provider.origin, "eyj"):
            assert private.lower() not in told
        return caught.value


def by_someone_else(_provider: FakeIdentityProvider, claims: dict[str, Any]) -> str:
    """A token that somebody else signed, under the id of the provider's key."""
    return OTHER_KEY.sign(claims)
