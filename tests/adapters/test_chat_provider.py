"""The chat completions adapter against servers that behave, misbehave, and do not answer."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.chat_answer import read_answer
from adapters.chat_provider import LARGEST_ANSWER, ChatProvider
from adapters.retry_after import LONGEST_WAIT, retry_after
from domain.catalog import Catalog, ModelEntry, ProviderEntry
from domain.errors import ProviderError
from domain.policy import Stage
from domain.ports import ModelCall
from domain.request import Message
from domain.stage import MAX_ANSWER_BYTES, FailureKind, StageAnswer
from domain.usage import Price

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = "sk-never-to-be-seen"
Handler = Callable[[httpx.Request], httpx.Response]

COMPLETION: dict[str, Any] = {
    "model": "small-2026-01",
    "choices": [
        {
            "message": {"role": "assistant", "content": "Four."},
            "finish_reason": "stop",
            "logprobs": {"content": [{"token": "Four", "logprob": -0.5}, {"token": ".", "logprob": -0.1}]},
        }
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 2},
}


def catalog(**provider: Any) -> Catalog:
    entry = {"base_url": "http://models.test/v1/", "base_url_env": "MODELS_URL", "api_key_env": "MODELS_KEY"}
    model = ModelEntry(
        name="small",
        provider="models",
        id="small",
        version="1",
        price=Price(input=Decimal(1), output=Decimal(2)),
        context_window=8000,
        quality=0.5,
        latency_ms=100,
    )
    return Catalog(providers={"models": ProviderEntry.model_validate(entry | provider)}, models=(model,))


def call(timeout: timedelta = timedelta(seconds=5), system: str | None = "Be brief.") -> ModelCall:
    stage = Stage(name="first", model="small", system=system, timeout=timeout, max_output_tokens=64, temperature=0.25)
    return ModelCall(
        call_key="req_1/first/1",
        model=catalog().models[0],
        stage=stage,
        conversation=(Message(role="user", content="Two and two?"),),
    )


def provider(
    handler: Handler | httpx.AsyncBaseTransport, environ: dict[str, str] | None = None, **entry: Any
) -> ChatProvider:
    transport = handler if isinstance(handler, httpx.AsyncBaseTransport) else httpx.MockTransport(handler)
    environment = {"MODELS_KEY": SECRET} if environ is None else environ
    return ChatProvider(catalog(**entry), httpx.AsyncClient(transport=transport), environment, now=lambda: NOW)


async def failure(subject: ChatProvider, request: ModelCall | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await subject.complete(request or call())
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


async def test_sends_the_whole_call_and_reads_the_whole_answer() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=COMPLETION)

    result = await provider(answer).complete(call())

    assert str(seen[0].url) == "http://models.test/v1/chat/completions"
    assert seen[0].headers["authorization"] == f"Bearer {SECRET}"
    assert seen[0].headers["idempotency-key"] == "req_1/first/1"
    assert json.loads(seen[0].content) == {
        "model": "small",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Two and two?"}],
        "temperature": 0.25,
        "max_tokens": 64,
        "logprobs": True,
    }
    assert result.text == "Four."
    assert result.model_version_served == "small-2026-01"
    assert result.finish_reason == "stop"
    assert (result.usage.input_tokens, result.usage.output_tokens, result.usage.estimated) == (12, 2, False)
    assert result.mean_logprob == pytest.approx(-0.3)
    assert (result.logprob_tokens, result.defect) == (2, None)


async def test_works_over_asgi() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == "/v1/chat/completions"
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(COMPLETION).encode()})

    assert (await provider(httpx.ASGITransport(app)).complete(call())).text == "Four."


async def test_follows_the_catalog_entry() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=COMPLETION)

    subject = provider(
        answer,
        {"MODELS_URL": "https://proxy.test/openai/"},
        api_key_env=None,
        logprobs=False,
        max_tokens_field="max_completion_tokens",
    )
    await subject.complete(call(system=None))

    body = json.loads(seen[0].content)
    assert str(seen[0].url) == "https://proxy.test/openai/chat/completions"
    assert "authorization" not in seen[0].headers
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert body["max_completion_tokens"] == 64
    assert not {"max_tokens", "logprobs"} & set(body)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "MODELS_KEY"),
        ({"MODELS_KEY": "  "}, "MODELS_KEY"),
        ({"MODELS_KEY": f"{SECRET}\nX-Evil: 1"}, "MODELS_KEY"),
        ({"MODELS_KEY": SECRET, "MODELS_URL": "file:///etc/passwd"}, "MODELS_URL"),
    ],
)
async def test_names_the_variable_that_is_missing_or_wrong(environ: dict[str, str], named: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        pytest.fail("nothing may be sent")

    error = await failure(provider(answer, environ))
    assert error.kind is FailureKind.PERMANENT
    assert named in str(error)
    assert not error.maybe_billed


async def test_a_provider_outside_the_catalog_is_permanent() -> None:
    request = call().model_copy(update={"model": catalog().models[0].model_copy(update={"provider": "other"})})
    error = await failure(provider(lambda _: httpx.Response(200)), request)
    assert error.kind is FailureKind.PERMANENT
    assert "'other'" in str(error)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
async def test_passing_trouble_is_transient(status: int) -> None:
    error = await failure(provider(lambda _: httpx.Response(status, headers={"Retry-After": "7"}, text="private")))
    assert error.kind is FailureKind.TRANSIENT
    assert error.retry_after == timedelta(seconds=7)
    assert error.maybe_billed is (status in (502, 504))
    assert str(status) in str(error)
    assert "private" not in str(error)


@pytest.mark.parametrize("status", [201, 204, 301, 307, 400, 401, 403, 404, 405, 413, 422, 451, 501, 505])
async def test_everything_else_is_permanent(status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "models.test"
        return httpx.Response(status, headers={"Location": "http://elsewhere.test/"})

    error = await failure(provider(answer))
    assert error.kind is FailureKind.PERMANENT
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ({"code": "context_length_exceeded", "message": "private"}, "(context_length_exceeded)"),
        ({"code": None, "type": "invalid_request_error"}, "(invalid_request_error)"),
        ({"code": f"{SECRET}", "type": "two words"}, "answered 400"),
        ("private", "answered 400"),
    ],
)
async def test_tells_the_code_of_an_error_but_nothing_else_of_it(error: Any, word: str) -> None:
    told = str(await failure(provider(lambda _: httpx.Response(400, json={"error": error}))))
    assert told.endswith(word)
    assert "private" not in told


async def test_an_empty_account_is_permanent() -> None:
    body = {"error": {"code": "insufficient_quota"}}
    assert (await failure(provider(lambda _: httpx.Response(429, json=body)))).kind is FailureKind.PERMANENT


@pytest.mark.parametrize(
    ("raised", "kind", "maybe_billed"),
    [
        (httpx.ConnectError(SECRET), FailureKind.TRANSIENT, False),
        (httpx.ConnectTimeout(SECRET), FailureKind.TRANSIENT, False),
        (httpx.PoolTimeout(SECRET), FailureKind.TRANSIENT, False),
        (httpx.ReadTimeout(SECRET), FailureKind.TRANSIENT, True),
        (httpx.ReadError(SECRET), FailureKind.TRANSIENT, True),
        (httpx.WriteError(SECRET), FailureKind.TRANSIENT, True),
        (httpx.RemoteProtocolError(SECRET), FailureKind.TRANSIENT, True),
        (httpx.LocalProtocolError(SECRET), FailureKind.PERMANENT, False),
        (httpx.UnsupportedProtocol(SECRET), FailureKind.PERMANENT, False),
    ],
)
async def test_classifies_what_the_network_does(raised: Exception, kind: FailureKind, maybe_billed: bool) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise raised

    error = await failure(provider(answer))
    assert (error.kind, error.maybe_billed) == (kind, maybe_billed)


class _Endless(httpx.AsyncByteStream):
    """Sends ``chunk`` for ever, or once and then keeps silent."""

    def __init__(self, chunk: bytes, *, silent: bool) -> None:
        self.chunk, self.silent, self.sent, self.closed = chunk, silent, 0, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += len(self.chunk)
            yield self.chunk
            await (asyncio.Event().wait() if self.silent else asyncio.sleep(0))

    async def aclose(self) -> None:
        self.closed = True


async def test_the_timeout_holds_for_the_whole_call() -> None:
    stream = _Endless(b" ", silent=True)
    subject = provider(lambda _: httpx.Response(200, stream=stream))
    async with asyncio.timeout(2):
        error = await failure(subject, call(timeout=timedelta(milliseconds=50)))
    assert (error.kind, error.maybe_billed) == (FailureKind.TRANSIENT, True)
    assert "0.05 s" in str(error)
    assert stream.closed


async def test_stops_reading_an_answer_that_does_not_end() -> None:
    stream = _Endless(b"x" * 65536, silent=False)
    result = await provider(lambda _: httpx.Response(200, stream=stream)).complete(call())
    assert result.defect == f"the reply is larger than {LARGEST_ANSWER} bytes"
    assert stream.sent <= LARGEST_ANSWER + 65536
    assert stream.closed
    assert result.usage.output_tokens == 64
    assert result.usage.estimated


async def test_does_not_unpack_what_was_not_asked_for() -> None:
    headers = {"Content-Encoding": "gzip"}
    stream = _Endless(b"\x1f\x8b", silent=True)
    result = await provider(lambda _: httpx.Response(200, headers=headers, stream=stream)).complete(call())
    assert result.defect is not None
    assert "compressed" in result.defect


@asynccontextmanager
async def _server(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_server_that_hangs_up_may_have_billed() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with _server(hang_up) as url, httpx.AsyncClient() as http:
        subject = ChatProvider(catalog(api_key_env=None, base_url_env="URL"), http, {"URL": url})
        error = await failure(subject)
    assert (error.kind, error.maybe_billed) == (FailureKind.TRANSIENT, True)


async def test_a_closed_port_is_transient_and_free() -> None:
    async with _server(lambda reader, writer: None) as url:
        pass
    async with httpx.AsyncClient() as http:
        subject = ChatProvider(catalog(api_key_env=None, base_url_env="URL"), http, {"URL": url})
        error = await failure(subject)
    assert (error.kind, error.maybe_billed) == (FailureKind.TRANSIENT, False)


@pytest.mark.parametrize(
    ("body", "defect"),
    [
        (b"", "not a JSON object"),
        (b"<html>", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"\xff\xfe\xff", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b"{}", "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": [3]}', "no choices"),
        (b'{"error": {"type": "overloaded_error"}}', "error (overloaded_error) sent as a success"),
        (b'{"choices": [{}]}', "no message"),
        (b'{"choices": [{"message": {"content": null}}]}', "no content"),
        (b'{"choices": [{"message": {"content": ["a"]}}]}', "not a text"),
    ],
)
def test_a_success_without_a_text_is_an_answer_with_a_defect(body: bytes, defect: str) -> None:
    result = read_answer(call(), body)
    assert result.text == ""
    assert defect in (result.defect or "")
    assert result.usage.estimated
    assert result.usage.output_tokens == 64


def test_a_text_longer_than_a_history_may_hold_is_a_defect() -> None:
    def answered(text: str) -> StageAnswer:
        return read_answer(call(), json.dumps({"choices": [{"message": {"content": text}}]}).encode())

    longest = "x" * MAX_ANSWER_BYTES
    assert (answered(longest).text, answered(longest).defect) == (longest, None)
    assert answered(longest + "x").text == ""
    assert "longer than" in (answered(longest + "x").defect or "")


def _with(**choice: Any) -> bytes:
    return json.dumps({**COMPLETION, "choices": [{**COMPLETION["choices"][0], **choice}]}).encode()


def test_a_refusal_is_told_as_one() -> None:
    result = read_answer(call(), _with(message={"content": None, "refusal": "I cannot."}))
    assert (result.text, result.finish_reason, result.defect) == ("I cannot.", "refusal", None)


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_passes_the_finish_reason_through(reason: str) -> None:
    assert read_answer(call(), _with(finish_reason=reason)).finish_reason == reason


def test_cleans_a_text_that_cannot_be_stored() -> None:
    result = read_answer(call(), _with(message={"content": "a\x00b\ud800c"}))
    assert result.text == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert "lone surrogates" in (result.defect or "")


@pytest.mark.parametrize(
    "usage",
    [None, 5, {}, {"prompt_tokens": 3}, {"prompt_tokens": -1, "completion_tokens": 1}]
    + [{"prompt_tokens": 1, "completion_tokens": wrong} for wrong in ("2", 2.5, True, 10**30, None)],
)
def test_estimates_usage_that_is_not_reported(usage: Any) -> None:
    result = read_answer(call(), json.dumps({**COMPLETION, "usage": usage}).encode())
    assert result.usage.estimated
    assert result.usage.output_tokens == 2
    assert result.usage.input_tokens == 3 + 4


def test_takes_the_mean_over_finite_logprobs_only() -> None:
    body = _with(logprobs="@").replace(
        b'"@"',
        b'{"content": [{"logprob": -1}, {"logprob": NaN}, {"logprob": -Infinity}, {"logprob": "x"}, {"logprob": true},'
        b' {}, 7, {"logprob": -1e308}, {"logprob": 1' + b"0" * 400 + b'}, {"logprob": 0.5}]}',
    )
    result = read_answer(call(), body)
    assert result.logprob_tokens == 3
    assert result.mean_logprob == pytest.approx((-1 - 9999 + 0) / 3)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("stop"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "message": _JSON | st.fixed_dictionaries({}, optional={"content": _JSON, "refusal": _JSON}),
        "finish_reason": _JSON,
        "logprobs": _JSON | st.fixed_dictionaries({"content": st.lists(st.fixed_dictionaries({"logprob": _JSON}))}),
    },
)
_DOCUMENT = _JSON | st.fixed_dictionaries(
    {},
    optional={
        "model": _JSON,
        "choices": _JSON | st.lists(_CHOICE, max_size=2),
        "usage": _JSON | st.fixed_dictionaries({"prompt_tokens": _JSON, "completion_tokens": _JSON}),
        "error": _JSON | st.fixed_dictionaries({}, optional={"code": _JSON, "type": _JSON}),
    },
)


@settings(deadline=None)
@given(document=_DOCUMENT)
def test_no_json_breaks_the_reading(document: Any) -> None:
    result = read_answer(call(), json.dumps(document).encode())
    result.text.encode("utf-8")
    assert "\x00" not in result.text + result.model_version_served + (result.finish_reason or "")
    assert result.mean_logprob is None or (math.isfinite(result.mean_logprob) and result.mean_logprob <= 0)
    assert type(result).model_validate_json(result.model_dump_json()) == result


@settings(deadline=None)
@given(body=st.binary(max_size=200), status=st.integers(200, 599), after=st.text(st.characters(codec="ascii")))
def test_no_reply_raises_anything_but_a_provider_error(body: bytes, status: int, after: str) -> None:
    header = after.replace("\r", "").replace("\n", "").replace("\x00", "")
    subject = provider(lambda _: httpx.Response(status, content=body, headers={"Retry-After": header}))
    if status == 200:
        asyncio.run(subject.complete(call()))
        return
    with pytest.raises(ProviderError) as caught:
        asyncio.run(subject.complete(call()))
    assert caught.value.retry_after is None or timedelta(0) <= caught.value.retry_after <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "0"}, timedelta(0)),
        ({"retry-after": "-3"}, timedelta(0)),
        ({"retry-after": "1.5"}, timedelta(seconds=1.5)),
        ({"retry-after": "inf"}, LONGEST_WAIT),
        ({"retry-after": "9" * 400}, LONGEST_WAIT),
        ({"retry-after-ms": "250", "retry-after": "9"}, timedelta(milliseconds=250)),
        ({"retry-after-ms": "?", "retry-after": "9"}, timedelta(seconds=9)),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:35 GMT"}, timedelta(seconds=30)),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:35 -0000"}, timedelta(seconds=30)),
        ({"retry-after": "Fri, 02 Jan 2026 01:00:00 GMT"}, timedelta(0)),
        ({"retry-after": "Fri, 02 Jan 2099 03:04:35 GMT"}, LONGEST_WAIT),
        ({"retry-after": "Fri, 99 Jan 2026 03:04:35 GMT"}, None),
    ],
)
def test_reads_every_form_of_retry_after(headers: dict[str, str], wait: timedelta | None) -> None:
    assert retry_after(headers, NOW) == wait


@settings(deadline=None)
@given(seconds=st.integers(0, 3600))
def test_seconds_and_dates_say_the_same(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after({"retry-after": str(seconds)}, NOW) == retry_after({"retry-after": date}, NOW)


@settings(deadline=None)
@given(written=st.text(), milliseconds=st.text() | st.none())
def test_no_text_breaks_the_reading_of_retry_after(written: str, milliseconds: str | None) -> None:
    headers = {"retry-after": written} | ({} if milliseconds is None else {"retry-after-ms": milliseconds})
    wait = retry_after(headers, NOW)
    assert wait is None or timedelta(0) <= wait <= LONGEST_WAIT
