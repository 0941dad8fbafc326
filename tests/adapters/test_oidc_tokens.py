"""ID tokens: which are believed, and whom they name."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.oidc import NotEntitledError, OidcClient, SignInError
from adapters.oidc_tokens import principal_of, usable_keys
from domain.identity import Role
from tests.adapters.fake_identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    FakeIdentityProvider,
    Forgery,
    Loopback,
    SigningKey,
    confused,
    serving,
    unsigned,
    weak,
)
from tests.adapters.oidc_journey import RITA, ROLES, Journey, by_someone_else


@pytest.fixture(scope="module")
def loopback() -> Iterator[Loopback]:
    with serving() as loopback:
        yield loopback


@pytest.fixture
async def journey(loopback: Loopback) -> AsyncIterator[Journey]:
    async with httpx.AsyncClient(trust_env=False) as http:
        yield Journey(loopback.fresh(), http)


def claiming(**changes: Any) -> Forgery:
    """Signs the claims with the right key, but other ones; None takes a claim away, a function is asked now."""

    def forge(provider: FakeIdentityProvider, claims: dict[str, Any]) -> str:
        said = {name: change() if callable(change) else change for name, change in changes.items()}
        changed = {name: value for name, value in {**claims, **said}.items() if value is not None}
        return provider.signing.sign(changed)

    return forge


def headed(**header: Any) -> Forgery:
    return lambda provider, claims: provider.signing.sign(claims, **header)


def altered(provider: FakeIdentityProvider, claims: dict[str, Any]) -> str:
    head, _, signature = provider.signing.sign(claims).split(".")
    body = json.dumps({**claims, "email": "root@example.com"}).encode()
    return f"{head}.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}.{signature}"


def past(seconds: int) -> Callable[[], int]:
    return lambda: int(time.time()) - seconds


UNTRUSTED: dict[str, tuple[Forgery, str]] = {
    "no nonce": (claiming(nonce=None), "another sign-in"),
    "wrong nonce": (claiming(nonce="wrong"), "another sign-in"),
    "nonce that is no text": (claiming(nonce=5), "another sign-in"),
    "nonce outside of ASCII": (claiming(nonce="é"), "another sign-in"),
    "wrong audience": (claiming(aud="another client"), "InvalidAudienceError"),
    "no audience": (claiming(aud=None), "MissingRequiredClaimError"),
    "empty audience": (claiming(aud=[]), "MissingRequiredClaimError"),
    "several audiences and nobody authorised": (claiming(aud=[CLIENT_ID, "another"]), "another client"),
    "several audiences and another authorised": (claiming(aud=[CLIENT_ID, "another"], azp="another"), "another client"),
    "another party authorised": (claiming(azp="another"), "another client"),
    "wrong issuer": (claiming(iss="https://elsewhere.example"), "InvalidIssuerError"),
    "issuer with one character more": (
        lambda provider, claims: claiming(iss=f"{provider.issuer}/")(provider, claims),
        "InvalidIssuerError",
    ),
    "no issuer": (claiming(iss=None), "MissingRequiredClaimError"),
    "expired": (claiming(exp=past(61), iat=past(400)), "ExpiredSignatureError"),
    "no expiry": (claiming(exp=None), "MissingRequiredClaimError"),
    "expiry that is no number": (claiming(exp="soon"), "DecodeError"),
    "from the future": (claiming(iat=past(-120)), "ImmatureSignatureError"),
    "not yet valid": (claiming(nbf=past(-120)), "ImmatureSignatureError"),
    "no time of issue": (claiming(iat=None), "MissingRequiredClaimError"),
    "no subject": (claiming(sub=None), "MissingRequiredClaimError"),
    "none": (unsigned, "not signed by one of RS256, ES256, EdDSA"),
    "HS256 with the public key": (confused, "not signed by one of RS256, ES256, EdDSA"),
    "altered": (altered, "InvalidSignatureError"),
    "another key under the same id": (by_someone_else, "InvalidSignatureError"),
    "a key that is too short": (weak, "InvalidKeyError"),
    "critical extension": (headed(crit=["unheard-of"]), "InvalidTokenError"),
    "no token": (lambda _provider, _claims: "not-a-token", "DecodeError"),
    "empty": (lambda _provider, _claims: "", "DecodeError"),
    "four parts": (lambda provider, claims: provider.signing.sign(claims) + ".e30", "DecodeError"),
}


@pytest.mark.parametrize(("forge", "detail"), UNTRUSTED.values(), ids=UNTRUSTED.keys())
async def test_a_token_that_does_not_hold_signs_nobody_in(journey: Journey, forge: Forgery, detail: str) -> None:
    journey.provider.forge = forge
    error = await journey.refused()
    assert type(error) is SignInError
    assert (error.status, detail in error.detail) == (400, True)


TRUSTED: dict[str, Forgery] = {
    "expired within the skew": claiming(exp=past(30)),
    "ahead within the skew": claiming(iat=past(-30)),
    "list of one audience": claiming(aud=[CLIENT_ID]),
    "several audiences and we are authorised": claiming(aud=["another", CLIENT_ID], azp=CLIENT_ID),
    "the only key need not be named": headed(kid="key-1", typ="JWT"),
}


@pytest.mark.parametrize("forge", TRUSTED.values(), ids=TRUSTED.keys())
async def test_what_the_protocol_allows_is_accepted(journey: Journey, forge: Forgery) -> None:
    journey.provider.forge = forge
    assert await journey.sign_in() == RITA


async def test_a_token_without_key_id_fits_the_only_key(journey: Journey) -> None:
    key = journey.provider.signing
    journey.provider.forge = lambda _provider, claims: jwt.encode(claims, key.private, key.algorithm)
    assert await journey.sign_in() == RITA
    journey.provider.published = [key.jwk(), SigningKey.make("key-2", "RS256").jwk()]
    assert (await journey.refused(journey.installation())).detail == "no published key fits the ID token"


async def test_a_published_secret_signs_nobody_in(journey: Journey) -> None:
    secret = base64.urlsafe_b64encode(b"s" * 32).decode()
    journey.provider.published = [{"kty": "oct", "kid": "key-1", "k": secret, "alg": "HS256"}]
    journey.provider.forge = lambda _provider, claims: jwt.encode(claims, b"s" * 32, "HS256", {"kid": "key-1"})
    assert (await journey.refused()).status == 400


async def test_keys_that_cannot_be_read_do_not_shut_out_the_others(journey: Journey) -> None:
    good = journey.provider.signing.jwk()
    journey.provider.published = [
        None,
        "key",
        {},
        {"kty": ["RSA"]},
        {"kty": "RSA", "kid": "a", "n": "AA", "e": "!"},
        {"kty": "RSA", "kid": "b"},
        {"kty": "EC", "crv": "P-9", "x": "AA", "y": "AA"},
        {**good, "kid": "c", "alg": ["RS256"]},
        {**good, "kid": "d", "alg": "HS256"},
        {**good, "kid": "key-1", "use": "enc"},
        {**good, "kid": "key-1", "alg": "PS256"},
        good,
    ]
    assert await journey.sign_in() == RITA
    assert [key.key_id for key in usable_keys(journey.provider.published)] == ["key-1"]


@pytest.fixture
def client() -> OidcClient:
    return OidcClient("https://login.example", CLIENT_ID, "acme", ROLES)


@pytest.mark.parametrize("verified", [True, "true", ...])
def test_a_verified_address_or_one_that_is_not_judged_is_a_name(client: OidcClient, verified: Any) -> None:
    claims = {"email": "Rita@Example.com", "roles": ["sluice-reviewers"]}
    assert principal_of(claims if verified is ... else {**claims, "email_verified": verified}, client) == RITA


@pytest.mark.parametrize("verified", [False, "false", "False", None, 0, 1, "", []])
def test_an_unverified_address_is_no_name(client: OidcClient, verified: Any) -> None:
    claims = {"email": "rita@example.com", "email_verified": verified, "roles": ["sluice-reviewers"]}
    with pytest.raises(NotEntitledError, match="not verified"):
        principal_of(claims, client)
    named = replace(client, name_claim="preferred_username")
    assert principal_of({**claims, "preferred_username": "Rita"}, named).name == "Rita"


@pytest.mark.parametrize("name", [None, "", " rita", "rita\n", "ri\x00ta", "\u202erita", "r" * 201, 5, ["rita"], {}])
def test_what_is_no_usable_name_signs_nobody_in(client: OidcClient, name: Any) -> None:
    named = replace(client, name_claim="who")
    with pytest.raises(NotEntitledError, match="no name"):
        principal_of({"who": name, "roles": ["sluice-reviewers"]}, named)


UNMAPPED: list[Any] = [None, [], "", ["staff"], "sluice-reviewers,sluice-audit", ["SLUICE-REVIEWERS"], ["reviewer"]]
UNMAPPED += [5, {"sluice-reviewers": True}, [["sluice-reviewers"]], [None, 5]]


@pytest.mark.parametrize("roles", UNMAPPED)
def test_without_a_mapped_role_nobody_enters(client: OidcClient, roles: Any) -> None:
    with pytest.raises(NotEntitledError, match="operator"):
        principal_of({"email": "rita@example.com", "roles": roles}, client)
    with pytest.raises(NotEntitledError, match="operator"):
        principal_of({"email": "rita@example.com"}, client)


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("roles", {"roles": "sluice-reviewers"}),
        ("realm_access.roles", {"realm_access": {"roles": ["sluice-reviewers", "offline"]}}),
        ("https://acme.example/roles", {"https://acme.example/roles": ["sluice-reviewers"]}),
    ],
)
def test_roles_lie_where_the_operator_says(client: OidcClient, path: str, claims: dict[str, Any]) -> None:
    found = principal_of({"email": "rita@example.com", **claims}, replace(client, role_claim=path))
    assert found.roles == {Role.REVIEWER}


@given(st.lists(st.sampled_from(["sluice-reviewers", "sluice-audit", "staff", "reviewer", "operator"])))
def test_only_mapped_values_give_roles(values: list[str]) -> None:
    client = OidcClient("https://login.example", CLIENT_ID, "acme", ROLES)
    expected = {role for value in values for role in ROLES.get(value, ())}
    claims = {"email": "rita@example.com", "roles": values}
    if expected:
        assert principal_of(claims, client).roles == expected
    else:
        with pytest.raises(NotEntitledError):
            principal_of(claims, client)


def test_nothing_secret_is_shown(client: OidcClient) -> None:
    assert CLIENT_SECRET not in repr(replace(client, client_secret=CLIENT_SECRET))
