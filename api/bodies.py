"""Reading what callers send: bodies with a hard cap, as JSON, and query parameters; nothing unknown passes.

Bodies are read by hand and not by the framework, because the cap has to hold before the body is in memory and every
refusal has to name its field.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from api.errors import ApiError, bad_request
from domain.request import RequestBody

BodyT = TypeVar("BodyT", bound=BaseModel)

_MAX_DEPTH = 100
_MOST_DISCARDED = 32 * 1024 * 1024
_DISCARD_SECONDS = 5.0
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}:]')
_UNION_PART = re.compile(r"^(bool|int|float|str|constrained-str|function-.*)$")


async def read_json(
    request: Request, model: type[BodyT], max_bytes: int, extra: Literal["forbid"] | None = "forbid"
) -> BodyT:
    """The body as a ``model``. No unknown field passes; with ``extra`` None the models themselves say what does.

    Raises ``ApiError`` 400, 413 or 415.
    """
    _check_content_type(request)
    return parse_json(await read_bytes(request, max_bytes), model, extra)


def _check_content_type(request: Request) -> None:
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() == "application/json" and charset in ("", "charset=utf-8"):
        return
    message = "send the body as JSON in UTF-8, with the header 'Content-Type: application/json'"
    raise ApiError(415, "unsupported_media_type", message, param="Content-Type")


async def read_bytes(request: Request, max_bytes: int) -> bytes:
    """The raw body. Raises ``ApiError`` 413 if it is longer than ``max_bytes``; no more than that is kept."""
    stream = request.stream()
    if _declared(request) <= max_bytes:
        parts: list[bytes] = []
        size = 0
        async for part in stream:
            size += len(part)
            if size > max_bytes:
                break
            parts.append(part)
        else:
            return b"".join(parts)
    if _declared(request) <= _MOST_DISCARDED and not _asks_first(request):
        await _discard(stream)
    raise _too_large(max_bytes)


def _declared(request: Request) -> int:
    declared = request.headers.get("content-length", "")
    return int(declared) if re.fullmatch(r"[0-9]{1,18}", declared) else 0


async def _discard(stream: AsyncIterator[bytes]) -> None:
    """Take in and throw away what is still on its way, within bounds.

    A connection that is closed over unread data is reset, and its caller never reads why.
    """
    size = 0
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_DISCARD_SECONDS):
            async for part in stream:
                size += len(part)
                if size > _MOST_DISCARDED:
                    return


def _asks_first(request: Request) -> bool:
    """Whether the caller sends its body only after being told to; then nothing is on its way."""
    return request.headers.get("expect", "").lower() == "100-continue"


def _too_large(max_bytes: int) -> ApiError:
    message = f"the body is longer than {max_bytes} bytes; shorten it"
    return ApiError(413, "body_too_large", message, param="body", headers={"Connection": "close"})


def parse_json(raw: bytes, model: type[BodyT], extra: Literal["forbid"] | None = "forbid") -> BodyT:
    """``raw`` as a ``model``. Raises ``ApiError`` 400 that names the first field at fault."""
    try:
        parsed = model.model_validate_json(raw, extra=extra)
    except ValidationError as error:
        raise _explain(raw, model, error) from None
    _refuse_repeated_keys(raw)
    return parsed


def request_body(fields: Mapping[str, Any], renamed: Mapping[str, str]) -> RequestBody:
    """A request made of ``fields``. Raises ``ApiError`` 400 with the names in ``renamed``, which the caller used."""
    try:
        return RequestBody.model_validate(fields, extra="forbid")
    except ValidationError as error:
        raise field_error(error, renamed) from None


def _explain(raw: bytes, model: type[BaseModel], error: ValidationError) -> ApiError:
    if error.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
        return field_error(error)
    deep = _too_deep(raw)
    if deep is not None:
        return bad_request(f"{deep}: nested more than {_MAX_DEPTH} levels deep; flatten it", deep, "invalid_json")
    try:
        # Python's own parser accepts lone surrogates, so that the model can say in which field they are.
        model.model_validate(json.loads(raw), extra="forbid")
    except ValidationError as named:
        return field_error(named)
    except (ValueError, RecursionError):
        pass  # no JSON by any reading: the first error says where
    problem = str(error.errors(include_url=False, include_input=False)[0]["msg"])
    return bad_request(f"the body is no JSON: {problem.removeprefix('Invalid JSON: ')}", "body", "invalid_json")


def field_error(error: ValidationError, renamed: Mapping[str, str] | None = None) -> ApiError:
    """400 for the first field that ``error`` complains about; ``renamed`` maps top-level fields to callers' names."""
    found = error.errors(include_url=False, include_input=False)
    first = found[0]
    location = first["loc"]
    if location and isinstance(location[-1], str) and _UNION_PART.match(location[-1]) and len(found) > 1:
        location = location[:-1]
        same = [item for item in found if item["loc"][:-1] == location]
        own = next((item for item in same if item["type"] == "value_error"), None)
        problem = str(own["msg"]) if own is not None else "must be text, a finite number, true or false"
    else:
        problem = str(first["msg"])
    names = [str(part) for part in location]
    if names and renamed is not None:
        names[0] = renamed.get(names[0], names[0])
    param = ".".join(names)[:200] or None
    if first["type"] == "extra_forbidden":
        return bad_request(f"{param}: there is no such field; remove it or check its spelling", param, "unknown_field")
    if first["type"] == "missing":
        return bad_request(f"{param}: is missing; add it", param, "missing_field")
    if first["type"] == "string_unicode":
        problem = "contains a lone surrogate, which is no text in UTF-8; remove it"
    problem = problem.removeprefix("Value error, ")
    return bad_request(f"{param}: {problem}" if param else problem, param or "body")


def _too_deep(raw: bytes) -> str | None:
    """The top-level field that nests deeper than allowed, or None."""
    depth, field, last = 0, "body", b""
    for match in _TOKENS.finditer(raw):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
        elif token == b":" and depth == 1:
            field = last.decode("utf-8", "replace")[:64]
        else:
            last = token.strip(b'"')
        if depth > _MAX_DEPTH:
            return field
    return None


def _refuse_repeated_keys(raw: bytes) -> None:
    """Two readers may take different ones of two equal keys, and one of them may be a guardrail."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)[:64]
            raise bad_request(f"{twice}: is given twice; keep one", twice, "repeated_field")
        return found

    json.loads(raw, object_pairs_hook=pairs)


def read_query(request: Request, *allowed: str) -> Mapping[str, str]:
    """The query parameters. Raises ``ApiError`` 400 for one that is unknown or given twice."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed:
            known = f"known are {', '.join(allowed)}" if allowed else "there are none here"
            raise bad_request(f"{name[:64]}: there is no such query parameter; {known}", name[:64], "unknown_parameter")
        if name in given:
            raise bad_request(f"{name}: is given twice; keep one", name, "repeated_parameter")
        given[name] = value
    return given


def number_from(query: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """The query parameter ``name`` as a number from ``low`` to ``high``. Raises ``ApiError`` 400."""
    written = query.get(name)
    if written is None:
        return default
    if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", written) and low <= float(written) <= high:
        return float(written)
    raise bad_request(f"{name}: must be a number from {low:g} to {high:g}", name)
