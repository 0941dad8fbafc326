"""Sign-in at an identity provider, against a real one on loopback that behaves and misbehaves."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from starlette.responses import Response

from adapters.oidc import IdentityProviderError, SignInError, identity_provider
from adapters.secure_address import is_secure
from adapters.settings import Settings
from domain.identity import Role
from tests.adapters.fake_identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    Loopback,
    SigningKey,
    dripping,
    moved,
    oversized,
    serving,
    status,
    text,
)
from tests.adapters.oidc_journey import BACK, OTHER_KEY, RITA, Journey, by_someone_else


@pytest.fixture(scope="module")
def loopback() -> Iterator[Loopback]:
    with serving() as loopback:
        yield loopback


@pytest.fixture
async def journey(loopback: Loopback) -> AsyncIterator[Journey]:
    async with httpx.AsyncClient(trust_env=False) as http:
        yield Journey(loopback.fresh(), http)


async def test_a_person_signs_in(journey: Journey) -> None:
    assert await journey.sign_in() == RITA
    (form,) = journey.provider.forms
    assert "client_secret" not in form
    assert journey.provider.authorizations[0].startswith("Basic ")
    assert journey.subject.source == f"oidc:{journey.provider.issuer}"


async def test_a_sign_in_begins_with_fresh_secrets_that_stay_here(journey: Journey) -> None:
    first, second = await journey.subject.start(BACK), await journey.subject.start(BACK)
    asked = parse_qs(urlsplit(first.url).query)
    digest = hashlib.sha256(first.verifier.encode()).digest()
    assert asked["code_challenge"] == [base64.urlsafe_b64encode(digest).decode().rstrip("=")]
    assert asked["code_challenge_method"] == ["S256"]
    assert (asked["state"], asked["nonce"]) == ([first.state], [first.nonce])
    assert (asked["redirect_uri"], asked["client_id"], asked["realm"]) == ([BACK], [CLIENT_ID], ["acme"])
    assert first.verifier not in first.url
    assert len({first.state, first.nonce, first.verifier, second.state, second.nonce, second.verifier}) == 6
    assert all(secret not in repr(first).replace(first.url, "") for secret in (first.state, first.verifier))


async def test_what_the_provider_publishes_is_asked_for_once(journey: Journey) -> None:
    for _ in range(3):
        await journey.sign_in()
    assert journey.provider.seen == {"openid-configuration": 1, "authorize": 3, "token": 3, "keys": 1}
    journey.clock.now += 3601
    await journey.sign_in()
    assert (journey.provider.seen["openid-configuration"], journey.provider.seen["keys"]) == (2, 2)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_each_accepted_algorithm(journey: Journey, algorithm: str) -> None:
    journey.provider.signing = SigningKey.make("k", algorithm)
    assert await journey.sign_in() == RITA


async def test_a_public_client_proves_itself_by_pkce_alone(journey: Journey) -> None:
    journey.provider.secret = None
    assert await journey.sign_in(journey.installation(client_secret=None)) == RITA
    assert journey.provider.authorizations == [""]
    assert "client_secret" not in journey.provider.forms[0]


async def test_the_secret_goes_into_the_form_where_the_provider_wants_it_there(journey: Journey) -> None:
    journey.provider.document["token_endpoint_auth_methods_supported"] = ["private_key_jwt", "client_secret_post"]
    assert await journey.sign_in() == RITA
    assert journey.provider.authorizations == [""]
    journey.provider.document["token_endpoint_auth_methods_supported"] = ["private_key_jwt"]
    assert (await journey.refused(journey.installation())).status == 503


async def test_a_wrong_secret_is_for_the_operator(journey: Journey) -> None:
    error = await journey.refused(journey.installation(client_secret="wrong"))
    assert isinstance(error, IdentityProviderError)
    assert "check client id and secret" in error.detail


async def test_a_code_works_once(journey: Journey) -> None:
    started = await journey.subject.start(BACK)
    code = await journey.browse(started)
    assert await journey.subject.finish(code, started) == RITA
    with pytest.raises(SignInError, match="Start it again") as caught:
        await journey.subject.finish(code, started)
    assert (caught.value.status, code in caught.value.detail) == (400, False)


async def test_a_code_is_bound_to_the_browser_that_began(journey: Journey) -> None:
    mine, theirs = await journey.subject.start(BACK), await journey.subject.start(BACK)
    with pytest.raises(SignInError, match="Start it again"):
        await journey.subject.finish(await journey.browse(theirs), mine)


async def test_a_token_is_bound_to_its_sign_in(journey: Journey) -> None:
    mine = await journey.subject.start(BACK)
    other = mine.model_copy(update={"nonce": "other"})
    with pytest.raises(SignInError) as caught:
        await journey.subject.finish(await journey.browse(mine), other)
    assert caught.value.detail == "the ID token was made for another sign-in"


async def test_a_new_key_is_looked_for_but_not_more_than_once_a_minute(journey: Journey) -> None:
    provider = journey.provider
    await journey.sign_in()
    provider.signing = SigningKey.make("key-2", "ES256")
    assert (await journey.refused()).detail == "no published key fits the ID token"
    assert provider.seen["keys"] == 1
    journey.clock.now += 60
    assert await journey.sign_in() == RITA
    assert provider.seen["keys"] == 2
    journey.clock.now += 60
    provider.forge = by_someone_else
    provider.published = []
    provider.signing = OTHER_KEY
    for _ in range(3):
        assert (await journey.refused()).status == 400
    assert provider.seen["keys"] == 3


async def test_keys_that_have_aged_are_not_used_for_want_of_newer_ones(journey: Journey) -> None:
    await journey.sign_in()
    journey.clock.now += 3600
    journey.provider.answers["keys"] = status(503)
    for _ in range(2):
        assert (await journey.refused()).status == 503
    del journey.provider.answers["keys"]
    assert await journey.sign_in() == RITA


@pytest.mark.parametrize(
    ("where", "answer", "detail"),
    [
        ("openid-configuration", status(503), "answered with 503"),
        ("openid-configuration", status(429), "answered with 429"),
        ("openid-configuration", status(404), "answered with 404"),
        ("openid-configuration", moved("/realms/acme/keys"), "answered with 302"),
        ("openid-configuration", oversized, "larger than 262144 bytes"),
        ("openid-configuration", text("<html>"), "not as agreed: it (json_invalid)"),
        ("openid-configuration", text("[" * 100_000), "not as agreed: it (json_invalid)"),
        ("openid-configuration", text('{"issuer": 5}'), "not as agreed: issuer (string_type)"),
        ("token", status(502), "answered with 502"),
        ("token", status(403), "answered 403; check client id and secret"),
        ("token", moved("/realms/acme/keys"), "answered 302"),
        ("token", oversized, "larger than 262144 bytes"),
        ("token", status(200, {"access_token": "opaque"}), "not as agreed: id_token (missing)"),
        ("token", status(200, {"id_token": None}), "not as agreed: id_token (string_type)"),
        ("keys", status(500), "answered with 500"),
        ("keys", moved("/realms/acme/token"), "answered with 302"),
        ("keys", oversized, "larger than 262144 bytes"),
        ("keys", status(200, []), "not as agreed: it (model_type)"),
        ("keys", status(200, {"keys": {}}), "not as agreed: keys (list_type)"),
    ],
)
async def test_a_provider_that_is_not_as_agreed(
    journey: Journey, where: str, answer: Callable[[], Response], detail: str
) -> None:
    journey.provider.answers[where] = answer
    error = await journey.refused()
    assert isinstance(error, IdentityProviderError)
    assert detail in error.detail
    del journey.provider.answers[where]
    assert await journey.sign_in() == RITA


@pytest.mark.parametrize("where", ["openid-configuration", "token", "keys"])
async def test_a_provider_that_never_finishes_is_left_in_time(journey: Journey, where: str) -> None:
    journey.provider.answers[where] = dripping
    began = time.monotonic()
    error = await journey.refused(journey.installation(seconds=0.3))
    assert (error.status, error.detail.endswith("(TimeoutError)")) == (503, True)
    assert time.monotonic() - began < 5


async def test_a_provider_that_is_down(journey: Journey) -> None:
    error = await journey.refused(journey.installation(issuer="http://127.0.0.1:1"))
    assert isinstance(error, IdentityProviderError)
    assert "cannot be reached" in str(error)
    assert "ConnectError" in error.detail


@pytest.mark.parametrize("field", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("address", ["http://login.example/x", "file:///etc/passwd", "https://me@login.example", "/x"])
async def test_no_secret_is_sent_where_it_can_be_read(journey: Journey, field: str, address: str) -> None:
    journey.provider.document[field] = address
    error = await journey.refused()
    assert error.detail == f"{field} of the discovery document is no https:// address"
    assert journey.provider.forms == []


async def test_the_provider_must_be_the_one_that_was_configured(journey: Journey) -> None:
    journey.provider.document["issuer"] = journey.provider.issuer + "/"
    assert "SLUICE_OIDC_ISSUER" in (await journey.refused()).detail


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://login.example", True),
        ("https://login.example:8443/x?y", True),
        ("http://127.0.0.1:9000", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:9000/x", True),
        ("http://localhost:9000", True),
        ("http://login.example", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://10.0.0.1", False),
        ("https://", False),
        ("https:///x", False),
        ("https://a@b", False),
        ("https://login.example:99999", False),
        ("https://[::1", False),
        ("ftp://127.0.0.1", False),
        ("login.example", False),
        ("", False),
    ],
)
def test_where_secrets_may_be_sent(url: str, secure: bool) -> None:
    assert is_secure(url) is secure


async def test_the_settings_name_the_provider(journey: Journey) -> None:
    assert identity_provider(Settings(), journey.http) is None
    settings = Settings(
        oidc_issuer=journey.provider.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=SecretStr(CLIENT_SECRET),
        oidc_tenant="acme",
        oidc_roles={"staff": frozenset({Role.REVIEWER})},
        public_url="https://sluice.example",
    )
    named = identity_provider(settings, journey.http)
    assert named is not None
    assert await journey.sign_in(named) == RITA
