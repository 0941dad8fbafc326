"""Errors as callers see them: always the OpenAI envelope, always naming the field and the remedy, never content.

Everything that leaves with a status of 400 or above comes from here, so that a client needs one way to read it.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from temporalio.service import RPCError, RPCStatusCode

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 409: "conflict_error"}
_RETRY_AFTER_SECONDS = 2
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_OUTAGES = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.ABORTED,
    }
)


class ErrorDetail(BaseModel):
    """What went wrong. ``param`` names the field, header or parameter at fault, ``code`` is for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer with a status of 400 or above."""

    error: ErrorDetail


class ApiError(Exception):
    """An answer with an error status. ``message`` says what to do about it and repeats no content."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = error_detail(status, code, message, param)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        return JSONResponse({"error": self.detail.model_dump()}, self.status, self.headers)


def error_detail(status: int, code: str, message: str, param: str | None = None) -> ErrorDetail:
    """The inside of the envelope, with the ``type`` that belongs to ``status``."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return ErrorDetail(message=message, type=kind, param=param, code=code)


def bad_request(message: str, param: str | None, code: str = "invalid_value") -> ApiError:
    """400: the caller has to change ``param``."""
    return ApiError(400, code, message, param=param)


def not_found(what: str, name: str) -> ApiError:
    """404: absent, or another tenant's, which a caller cannot tell apart."""
    return ApiError(404, "not_found", f"there is no {what} {name!r}; check the id and the key that is used", param="id")


def checked_id(what: str, name: str) -> str:
    """``name`` if it could be the id of a ``what``. Raises ``ApiError`` 404, so that no database sees the rest."""
    if not _ID.fullmatch(name):
        raise not_found(what, name.encode("ascii", "replace").decode()[:64])
    return name


def unavailable(what: str, remedy: str) -> ApiError:
    """503: something this process depends on does not answer; asking again is safe."""
    return ApiError(
        503,
        "unavailable",
        f"{what} cannot be reached at the moment; {remedy}",
        headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
    )


def temporal_unavailable() -> ApiError:
    """503 for an outage of Temporal."""
    return unavailable("Temporal", "send the same request with the same Idempotency-Key again")


def is_outage(error: Exception) -> bool:
    """Whether ``error`` of a Temporal call means that the server is away and not that the call was wrong.

    A lazily connected client reports a failed connection as a bare ``RuntimeError``.
    """
    if isinstance(error, RPCError):
        return error.status in _OUTAGES
    return isinstance(error, TimeoutError | ConnectionError) or (
        type(error) is RuntimeError and "connect" in str(error).lower()
    )


async def _api_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message, code = f"{request.method} is not possible here; use {allowed}", "method_not_allowed"
    elif error.status_code == 404:
        message, code = "there is nothing at this address; see /docs for what there is", "unknown_address"
    else:
        message, code = str(error.detail), "http_error"
    return ApiError(error.status_code, code, message, headers=error.headers).response()


async def _database_down(_request: Request, error: Exception) -> Response:
    structlog.get_logger("api").warning("database_unavailable", error=type(error).__name__)
    return unavailable("the database", "try again").response()


async def _connection_failed(_request: Request, error: Exception) -> Response:
    structlog.get_logger("api").warning("connection_failed", error=type(error).__name__)
    return unavailable("a service this depends on", "try again; /health/readiness says which one").response()


async def _temporal_error(_request: Request, error: Exception) -> Response:
    if not is_outage(error):
        raise error
    structlog.get_logger("api").warning("temporal_unavailable", error=type(error).__name__)
    return temporal_unavailable().response()


def install_error_answers(app: FastAPI) -> None:
    """Make every error of ``app`` leave in the envelope."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(OperationalError, _database_down)
    app.add_exception_handler(InterfaceError, _database_down)
    app.add_exception_handler(ConnectionError, _connection_failed)
    app.add_exception_handler(TimeoutError, _connection_failed)
    app.add_exception_handler(RPCError, _temporal_error)
    app.add_exception_handler(RuntimeError, _temporal_error)


def _frames(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


class UnexpectedErrors:
    """Answers 500 for what nobody expected, and logs where it happened.

    Only the type and the place are logged: messages of database and validation errors repeat what was sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # the last line of defence: whatever it is, the caller gets an answer
            structlog.get_logger("api").error(
                "unexpected_error",
                error=type(error).__name__,
                cause=type(error.__cause__).__name__ if error.__cause__ is not None else None,
                frames=_frames(error.__cause__ or error),
                path=_template(scope),
            )
            if not started:
                message = "an unexpected error happened here; it is in the log of the API. Asking again is safe"
                await ApiError(500, "internal_error", message).response()(scope, receive, send)


def _template(scope: Mapping[str, Any]) -> str:
    """The route's path with its placeholders, so that no log line carries what a caller typed."""
    return str(getattr(scope.get("route"), "path", "unknown"))
