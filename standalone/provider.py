"""The simulated model provider and the verification services, in a process of their own.

    python -m standalone.provider --port 8091
        [--samples DIR] [--recorded FILE] [--fixed-latency-ms N] [--calls-file FILE]

It speaks the OpenAI wire protocol (``POST /v1/chat/completions``, ``GET /v1/models``) and says in every answer's model
name what it is. To the bundled samples the models ``simulated-small``, ``-medium`` and ``-large`` give scripted answers
with scripted confidence and latency; to anything else they answer that they are simulated and cannot know. A message
can ask for failures with lines such as ``[[simulate: status=503 times=2 retry_after=1]]``; ``standalone/simulation.py``
lists them all. With ``--recorded`` it also serves answers that real models gave to the questions of a recorded file,
under those models' own names; unknown questions are 404 there. With ``--fixed-latency-ms`` every answer is the same and
takes that long; the small model is then unsure of prompts with the word ``hard``.

``GET /calls`` (loopback only) counts all chat calls by idempotency key and by model, and separately those that were
answered: a second answered call for one key is one that a real provider would have billed twice.

``POST /verify/citations`` and ``POST /verify/arithmetic`` take ``{"text", "input"}`` and answer with a verdict.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import ipaddress
import json
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import uvicorn
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from domain.ports import Verification
from standalone.arithmetic import verify_arithmetic
from standalone.citations import CitationCheck, load_register
from standalone.samples import SAMPLES, load_samples
from standalone.scripted import RECORDED_MODELS, SIZES, Answer, Repertoire, estimated_tokens, logprobs
from standalone.simulation import DirectiveError, Plan, Simulation

MAX_BODY_BYTES = 8 * 1024 * 1024
_REFUSAL = "I'm sorry, but I can't help with that request."


_Body = TypeVar("_Body", bound=BaseModel)


class _TextPart(BaseModel):
    text: str = ""


class _ChatMessage(BaseModel):
    role: str
    content: str | list[_TextPart] | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or ())


class ChatCall(BaseModel):
    """What is read of a chat completion request."""

    model: str
    messages: Annotated[list[_ChatMessage], Field(min_length=1)]
    logprobs: bool = False
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stream: bool = False

    @property
    def prompt(self) -> str:
        """The text of the last user message."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def longest_answer(self) -> int | None:
        """Tokens the answer may have."""
        return self.max_completion_tokens or self.max_tokens


class _VerifyCall(BaseModel):
    text: str
    input: str | None = None


class Calls:
    """Counts chat calls; with a file, over restarts too.

    **Correctness:** a call is counted when it arrives and again as answered just before its answer is sent, so a
    process killed in between has counted the call but not the answer.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._arrived: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._by_model: Counter[str] = Counter()
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                self._count(json.loads(line))

    def arrived(self, key: str, model: str) -> None:
        """A call has come in."""
        self._note({"key": key, "model": model, "event": "arrived"})

    def answered(self, key: str, model: str) -> None:
        """A call is being answered with a success, which a real provider would bill."""
        self._note({"key": key, "model": model, "event": "answered"})

    def counts(self) -> dict[str, Any]:
        """Totals, by idempotency key and by model."""
        return {
            "total": self._arrived.total(),
            "by_key": dict(self._arrived),
            "by_model": dict(self._by_model),
            "answered_total": self._answered.total(),
            "answered_by_key": dict(self._answered),
        }

    def _note(self, entry: dict[str, str]) -> None:
        self._count(entry)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(entry) + "\n")

    def _count(self, entry: dict[str, str]) -> None:
        if entry["event"] == "answered":
            self._answered[entry["key"]] += 1
        else:
            self._arrived[entry["key"]] += 1
            self._by_model[entry["model"]] += 1


class _Refused(HTTPException):
    """Ends a call with an OpenAI error envelope."""

    def __init__(self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None):
        super().__init__(status, message, headers)
        self.code = code


class Provider:
    """The endpoints of the process. One per application."""

    def __init__(self, repertoire: Repertoire, calls: Calls, citations: CitationCheck) -> None:
        self._repertoire = repertoire
        self._calls = calls
        self._citations = citations
        self._simulation = Simulation()

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        arrived = asyncio.get_running_loop().time()
        call = await _body(request, ChatCall)
        if call.stream:
            raise _Refused(400, "the simulated provider does not stream; leave out 'stream'", "unsupported")
        key = request.headers.get("idempotency-key", "")
        if call.model not in self._repertoire.models:
            raise _Refused(404, f"model {call.model!r} does not exist", "model_not_found")
        self._calls.arrived(key, call.model)
        answer, plan = self._answer(call, key)
        await _wait_until(arrived + (answer.latency_ms + plan.delay_ms) / 1000)
        if plan.status is not None and plan.ending == "status":
            seconds = None if plan.retry_after is None else {"Retry-After": f"{plan.retry_after:g}"}
            raise _Refused(plan.status, "simulated failure", "simulated", seconds)
        self._calls.answered(key, call.model)
        if plan.ending == "not_json":
            return Response("<html><body>simulated gateway page</body></html>", media_type="text/html")
        return JSONResponse(_completion(call, answer, key, with_logprobs=call.logprobs and not plan.no_logprobs))

    def _answer(self, call: ChatCall, key: str) -> tuple[Answer, Plan]:
        if call.model in RECORDED_MODELS:
            answer = self._repertoire.recorded_answer(call.model, call.prompt)
            if answer is None:
                raise _Refused(404, f"no answer of {call.model} to this prompt was recorded", "not_recorded")
            return answer, Plan()
        size = SIZES[call.model]
        try:
            plan = self._simulation.plan(call.prompt, key, size)
        except DirectiveError as error:
            raise _Refused(400, str(error), "bad_directive") from None
        scripted = self._repertoire.answer(size, call.prompt)
        return _limited(_changed(scripted, plan), call.longest_answer), plan

    async def models(self, _: Request) -> Response:
        """``GET /v1/models``."""
        entries = [
            {"id": name, "object": "model", "created": 0, "owned_by": "simulated" if name in SIZES else "recorded"}
            for name in self._repertoire.models
        ]
        return JSONResponse({"object": "list", "data": entries})

    async def calls(self, request: Request) -> Response:
        """``GET /calls``."""
        if request.client is None or not ipaddress.ip_address(request.client.host).is_loopback:
            raise _Refused(403, "the call counts are for this machine only")
        return JSONResponse(self._calls.counts())

    async def health(self, _: Request) -> Response:
        """``GET /health``."""
        return JSONResponse({"status": "ok"})

    async def verify_citations(self, request: Request) -> Response:
        """``POST /verify/citations``."""
        call = await _body(request, _VerifyCall)
        return _verdict(await run_in_threadpool(self._citations.verify, call.text))

    async def verify_arithmetic(self, request: Request) -> Response:
        """``POST /verify/arithmetic``."""
        call = await _body(request, _VerifyCall)
        return _verdict(await run_in_threadpool(verify_arithmetic, call.text))


def create_app(repertoire: Repertoire, calls_file: Path | None = None) -> Starlette:
    """The provider as an ASGI application."""
    provider = Provider(repertoire, Calls(calls_file), CitationCheck(load_register()))
    routes = [
        Route("/v1/chat/completions", provider.chat, methods=["POST"]),
        Route("/v1/models", provider.models),
        Route("/calls", provider.calls),
        Route("/health", provider.health),
        Route("/verify/citations", provider.verify_citations, methods=["POST"]),
        Route("/verify/arithmetic", provider.verify_arithmetic, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _envelope})


async def _envelope(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    code = error.code if isinstance(error, _Refused) else None
    body = {"error": {"message": error.detail, "type": kind, "param": None, "code": code}}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _body(request: Request, model: type[_Body]) -> _Body:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise _Refused(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise _Refused(400, f"{place}: {first['msg']}") from None


async def _wait_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))


def _changed(answer: Answer, plan: Plan) -> Answer:
    text, finish_reason = answer.text if plan.answer is None else plan.answer, answer.finish_reason
    if plan.ending == "empty":
        text = ""
    elif plan.ending == "truncated":
        text, finish_reason = text[: len(text) // 2], "length"
    elif plan.ending == "refusal":
        text = _REFUSAL
    confidence = answer.confidence if plan.confidence is None else plan.confidence
    return Answer(text, answer.served_as, confidence, answer.latency_ms, finish_reason)


def _limited(answer: Answer, longest: int | None) -> Answer:
    if longest is None or estimated_tokens(answer.text) <= longest:
        return answer
    return Answer(answer.text[: longest * 4], answer.served_as, answer.confidence, answer.latency_ms, "length")


def _completion(call: ChatCall, answer: Answer, key: str, with_logprobs: bool) -> dict[str, Any]:
    sent = sum(estimated_tokens(message.text) for message in call.messages)
    received = estimated_tokens(answer.text)
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text, "refusal": None},
        "finish_reason": answer.finish_reason,
        "logprobs": None,
    }
    if with_logprobs and answer.confidence is not None:
        choice["logprobs"] = {"content": logprobs(answer.text, answer.confidence), "refusal": None}
    return {
        "id": "chatcmpl-" + hashlib.sha256(f"{key}\x00{call.model}\x00{call.prompt}".encode()).hexdigest()[:24],
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answer.served_as,
        "choices": [choice],
        "usage": {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received},
    }


def _verdict(verification: Verification) -> Response:
    return JSONResponse(verification.model_dump(mode="json", exclude_none=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m standalone.provider", description="A simulated model provider.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8091, help="port to listen on; 0 takes a free one and prints it")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="folder of sample requests with their answers")
    parser.add_argument("--recorded", type=Path, help="file of recorded answers (.jsonl.gz) to serve as well")
    parser.add_argument("--fixed-latency-ms", type=int, help="answer everything alike, after exactly this long")
    parser.add_argument("--calls-file", type=Path, help="file that keeps the call counts over restarts")
    return parser.parse_args()


def main() -> NoReturn:
    """Serve until interrupted. Prints the address once the port is bound."""
    arguments = _arguments()
    repertoire = Repertoire.of(load_samples(arguments.samples), arguments.recorded, arguments.fixed_latency_ms)
    listener = socket.create_server((arguments.host, arguments.port))
    # Connections inherit it; without it head and body of an answer wait for each other for 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    host, port = listener.getsockname()[:2]
    print(f"simulated provider on http://{host}:{port}/v1", flush=True)
    app = create_app(repertoire, arguments.calls_file)
    # An answer that a directive delays by minutes must not delay the end of the process.
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])
    raise SystemExit(0)


if __name__ == "__main__":
    main()
