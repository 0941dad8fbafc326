"""The verification adapter: only a well-formed verdict is one, everything else is an error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.http_verifier import LARGEST_VERDICT, HttpVerifier
from domain.catalog import Catalog, VerifierEntry
from domain.errors import VerifierError
from domain.guardrails import Finding, Verdict

SECRET = "never-to-be-seen"


def verifier(answer: Callable[[httpx.Request], httpx.Response], environ: dict[str, str] | None = None) -> HttpVerifier:
    entry = VerifierEntry(url="http://checks.test/verify", url_env="CHECKS_URL", api_key_env="CHECKS_KEY")
    catalog = Catalog(providers={}, models=(), verifiers={"citations": entry})
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return HttpVerifier(catalog, http, {"CHECKS_KEY": SECRET} if environ is None else environ)


async def failure(subject: HttpVerifier, name: str = "citations", seconds: float = 5) -> VerifierError:
    with pytest.raises(VerifierError) as caught:
        await subject.verify(name, "private text", "private input", seconds)
    assert SECRET not in str(caught.value)
    assert "private" not in str(caught.value)
    return caught.value


def replies(body: Any, status: int = 200) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, json=body)


async def test_sends_text_and_input_and_reads_the_verdict() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        finding = {"kind": "unsupported", "detail": "no such source", "start": 3, "end": 9, "more": 1}
        body = {"verdict": "fail", "rationale": "one claim", "score": 0.25, "findings": [finding], "more": 1}
        return httpx.Response(200, json=body)

    result = await verifier(answer).verify("citations", "text", None, 5)

    assert json.loads(seen[0].content) == {"text": "text", "input": None}
    assert seen[0].headers["authorization"] == f"Bearer {SECRET}"
    assert result.verdict is Verdict.FAIL
    assert (result.rationale, result.score) == ("one claim", 0.25)
    assert result.findings == (Finding(kind="unsupported", detail="no such source", start=3, end=9),)


async def test_the_address_of_the_environment_wins() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://other.test/v"
        return httpx.Response(200, json={"verdict": "pass", "rationale": "fine"})

    subject = verifier(answer, {"CHECKS_KEY": SECRET, "CHECKS_URL": "http://other.test/v"})
    assert (await subject.verify("citations", "text", "input", 5)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ([], "the reply"),
        ({"rationale": "no verdict"}, "verdict"),
        ({"verdict": "PASS", "rationale": ""}, "verdict"),
        ({"verdict": "error", "rationale": ""}, "verdict"),
        ({"verdict": True, "rationale": ""}, "verdict"),
        ({"verdict": "pass"}, "rationale"),
        ({"verdict": "pass", "rationale": 5}, "rationale"),
        ({"verdict": "pass", "rationale": "x" * 4001}, "rationale"),
        ({"verdict": "pass", "rationale": "\x00"}, "rationale"),
        ({"verdict": "pass", "rationale": "", "score": 1.5}, "score"),
        ({"verdict": "pass", "rationale": "", "score": "0.5"}, "score"),
        ({"verdict": "pass", "rationale": "", "findings": {}}, "findings"),
        ({"verdict": "pass", "rationale": "", "findings": [{"kind": "a"}]}, "findings.0.detail"),
        ({"verdict": "pass", "rationale": "", "findings": [{"kind": "a", "detail": "", "start": -1}]}, "start"),
    ],
)
async def test_whatever_is_not_as_agreed_is_an_error(body: Any, place: str) -> None:
    error = await failure(verifier(replies(body)))
    assert place in str(error)
    assert not error.transient


@pytest.mark.parametrize("body", [b"", b"pass", b'{"verdict": "pass", "rationale": "\\ud800"}', b"[" * 50_000, b"\xff"])
async def test_whatever_is_no_json_is_an_error(body: bytes) -> None:
    assert not (await failure(verifier(lambda _: httpx.Response(200, content=body)))).transient


@pytest.mark.parametrize(
    ("status", "transient"),
    [(status, False) for status in (201, 204, 302, 400, 401, 404)]
    + [(status, True) for status in (408, 425, 429, 500, 503)],
)
async def test_every_status_but_200_is_an_error(status: int, transient: bool) -> None:
    error = await failure(verifier(replies({"verdict": "pass", "rationale": ""}, status)))
    assert error.transient is transient
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("raised", "transient"),
    [(httpx.ConnectError(SECRET), True), (httpx.ReadError(SECRET), True), (httpx.UnsupportedProtocol(SECRET), False)],
)
async def test_trouble_on_the_network(raised: Exception, transient: bool) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise raised

    assert (await failure(verifier(answer))).transient is transient


class _Silence(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b" "
        await asyncio.Event().wait()


async def test_the_timeout_holds_for_the_whole_call() -> None:
    async with asyncio.timeout(2):
        error = await failure(verifier(lambda _: httpx.Response(200, stream=_Silence())), seconds=0.05)
    assert error.transient


async def test_a_reply_that_is_too_long_is_an_error() -> None:
    body = b" " * LARGEST_VERDICT + b'{"verdict": "pass", "rationale": ""}'
    error = await failure(verifier(lambda _: httpx.Response(200, content=body)))
    assert not error.transient
    assert str(LARGEST_VERDICT) in str(error)


async def test_names_what_is_not_configured() -> None:
    never = replies({"verdict": "pass", "rationale": ""})
    assert "CHECKS_KEY" in str(await failure(verifier(never, {})))
    assert "'other'" in str(await failure(verifier(never), name="other"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["pass", "fail", "Pass"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    body=_JSON
    | st.fixed_dictionaries({"verdict": _JSON, "rationale": _JSON}, optional={"score": _JSON, "findings": _JSON})
)
def test_no_json_passes_by_accident(body: Any) -> None:
    content = json.dumps(body).encode()
    try:
        result = asyncio.run(verifier(lambda _: httpx.Response(200, content=content)).verify("citations", "t", None, 5))
    except VerifierError:
        return
    assert body["verdict"] == result.verdict.value
    assert isinstance(body["rationale"], str)
