"""The HTTP client: one call, its retries, and what each kind of answer means for a shell.

**Correctness:** only calls that may run twice are repeated after a network failure: reads, and writes that carry an
idempotency key or a decision id. The caller makes that key before the first attempt, so a repeated write is the same
write, and the API answers it with what the first one did.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from cli.credentials import Connection
from cli.exits import CommandError, ExitCode

if TYPE_CHECKING:
    import httpx

PAUSES = (0.2, 1.0)
"""Seconds before the second and third attempt."""
LONGEST_POLL = 20
"""Seconds that one call may wait at the API; longer waits are made of several calls, so that no proxy cuts them."""
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 15.0
_SILENCE_SECONDS = 60.0
"""Longest silence of an event stream before it is opened anew."""
_NOT_READY = {502, 503, 504}
_ID = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,127}")


@dataclass(frozen=True)
class Answer:
    """What the API answered: the exact text, and the object in it."""

    status: int
    text: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One server-sent event. ``data`` is its text, ``id`` its position for a later resumption."""

    name: str
    data: str
    id: str | None


class Api:
    """A connection to one API with one key. Use it as a context; leaving it closes the sockets."""

    def __init__(self, connection: Connection) -> None:
        import httpx

        self._url = connection.url
        self._http = httpx.Client(
            base_url=connection.url,
            headers={"Authorization": f"Bearer {connection.key}", "User-Agent": "sluice-cli"},
            timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
            # A proxy of the environment cannot reach this machine's own loopback address.
            trust_env=not connection.loopback,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        wait: int = 0,
        accept: frozenset[int] = frozenset(),
    ) -> Answer:
        """The answer to a read. ``wait`` is how many seconds the API may take on top of the usual.

        ``accept`` names error statuses whose body is an answer all the same. Raises ``CommandError``.
        """
        asked = dict(params or {}) | ({"wait": wait} if wait else {})
        return self._call("GET", path, params=asked, seconds=wait, repeatable=True, accept=accept)

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        repeatable: bool = False,
        wait: int = 0,
        accept: frozenset[int] = frozenset(),
    ) -> Answer:
        """The answer to a write. It is repeated after a network failure if it has a key or is ``repeatable``.

        ``accept`` names error statuses whose body is an answer all the same. Raises ``CommandError``.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
        again = repeatable or idempotency_key is not None
        return self._call("POST", path, body=body, headers=headers, seconds=wait, repeatable=again, accept=accept)

    def put(self, path: str) -> Answer:
        """The answer to a write that means the same however often it is sent. Raises ``CommandError``."""
        return self._call("PUT", path, repeatable=True)

    def delete(self, path: str) -> Answer:
        """The answer to a removal; of one that was lost on the way, a repetition may find nothing any more."""
        return self._call("DELETE", path, repeatable=True)

    def events(self, path: str) -> Iterator[Event]:
        """The events of a stream, until the API ends it. After a break it is resumed behind the last event."""
        import httpx

        last: str | None = None
        pauses = iter(PAUSES)
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last is not None else {})
            try:
                with self._http.stream("GET", path, headers=headers, timeout=_SILENCE_SECONDS) as response:
                    if response.status_code >= 300:
                        response.read()
                        raise self._refusal(response)
                    for event in read_events(_lines(response.iter_text())):
                        last = event.id or last
                        pauses = iter(PAUSES)
                        yield event
                    return
            except httpx.RequestError as error:
                pause = next(pauses, None)
                if pause is None:
                    raise self._unreachable(error) from None
                time.sleep(pause)

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: int = 0,
        repeatable: bool,
        accept: frozenset[int] = frozenset(),
    ) -> Answer:
        import httpx

        request = self._http.build_request(
            method,
            path,
            params=params or None,
            content=None if body is None else _encoded(body),
            headers={**(headers or {}), **({"Content-Type": "application/json"} if body is not None else {})},
            timeout=httpx.Timeout(_READ_SECONDS + seconds, connect=_CONNECT_SECONDS),
        )
        for pause in (*(PAUSES if repeatable else ()), None):
            try:
                response = self._http.send(request)
            except httpx.RequestError as error:
                if pause is None:
                    raise self._unreachable(error) from None
            else:
                if pause is None or response.status_code not in _NOT_READY:
                    break
            time.sleep(pause)
        if response.status_code >= 300 and response.status_code not in accept:
            raise self._refusal(response)
        return self._answer(response)

    def _answer(self, response: httpx.Response) -> Answer:
        data = _object(response.text)
        if data is None:
            raise CommandError(
                ExitCode.OTHER,
                f"{self._url} answered {response.status_code} with something that is not a JSON object",
                "check that SLUICE_URL names a Sluice API",
            )
        return Answer(status=response.status_code, text=response.text, data=data)

    def _unreachable(self, error: Exception) -> CommandError:
        return CommandError(
            ExitCode.UNREACHABLE,
            f"the API at {self._url} cannot be reached ({type(error).__name__})",
            "start the embedded stack (make run), or set SLUICE_URL to where the API is",
        )

    def _refusal(self, response: httpx.Response) -> CommandError:
        status = response.status_code
        data = _object(response.text)
        error = data.get("error") if data is not None else None
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            return CommandError(
                _code(status),
                f"{self._url} answered {status} without saying why",
                "check that SLUICE_URL names a Sluice API",
                response.text if data is not None else None,
            )
        message = error["message"]
        param = error.get("param")
        if isinstance(param, str) and param not in message:
            message = f"{param}: {message}"
        return CommandError(_code(status), message, _REMEDIES.get(status), response.text)


_REMEDIES = {
    401: "set SLUICE_API_KEY to a valid key, or remove it to use var/credentials.json",
    403: "use a key of a role that may do this",
}


def _code(status: int) -> ExitCode:
    if status == 404:
        return ExitCode.NOT_FOUND
    if status == 409:
        return ExitCode.CONFLICT
    if status in _NOT_READY:
        return ExitCode.UNREACHABLE
    return ExitCode.REFUSED if 400 <= status < 500 else ExitCode.OTHER


def path_of(kind: str, identifier: str, *rest: str) -> str:
    """The path of one object. Raises ``CommandError`` (usage) for what cannot be an id, before it is sent."""
    if _ID.fullmatch(identifier) is None:
        raise CommandError(ExitCode.USAGE, f"{identifier!r} is not the id of a request", "ids look like req_abc123")
    return "/".join(("/v1", kind, quote(identifier, safe=""), *rest))


def path_of_member(queue: str, name: str) -> str:
    """The path of somebody's place in a queue. Raises ``CommandError`` (usage) for what cannot be one."""
    for option, value in (("QUEUE", queue), ("the name", name)):
        if not value.strip(".") or "/" in value or not value.isprintable():
            raise CommandError(ExitCode.USAGE, f"{option}: {value!r} cannot be one", "sluice queues lists them")
    return f"/v1/queues/{quote(queue, safe='')}/members/{quote(name, safe='')}"


def read_events(lines: Iterator[str]) -> Iterator[Event]:
    """The server-sent events in ``lines``: comments skipped, several data lines joined, an unfinished one dropped."""
    name, identifier = "message", None
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield Event(name=name, data="\n".join(data), id=identifier)
            name, data = "message", []
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            data.append(value)
        elif key == "id":
            identifier = value


def _lines(chunks: Iterator[str]) -> Iterator[str]:
    """The lines of a stream. Only real line ends count; JSON may hold other characters that look like one."""
    rest = ""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split("\n")
        yield from (line.removesuffix("\r") for line in whole)


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:
        raise CommandError(
            ExitCode.USAGE, "the text holds bytes that are not UTF-8", "convert it, for example with iconv"
        ) from None


def _object(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
