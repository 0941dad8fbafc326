"""Makes ``/docs`` and ``/openapi.json`` tell what the routes read, since they read their bodies by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.errors import ErrorBody

_REF = "#/components/schemas/{model}"
_CAUSES = {
    400: "A field, header or parameter is wrong; `param` names it",
    401: "No key, or an unknown one",
    403: "The key has not the role that is needed",
    404: "There is no such object in this tenant",
    409: "In conflict with what was done before",
    413: "The body is too long",
    415: "The body is not JSON",
    502: "The request failed",
    503: "Something this process depends on is away; `Retry-After` says when to ask again",
}


def error_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route for its error statuses."""
    return {status: {"model": ErrorBody, "description": _CAUSES[status]} for status in sorted({401, *statuses})}


def documented(
    body: type[BaseModel] | None = None,
    example: Mapping[str, Any] | None = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """``openapi_extra`` of a route: the model of its body with an example, its query parameters and headers."""
    extra: dict[str, Any] = {"security": [{"key": []}]}
    parameters = [
        {"name": name, "in": where, "required": False, "description": text, "schema": {"type": "string"}}
        for where, names in (("query", query), ("header", headers))
        for name, text in (names or {}).items()
    ]
    if parameters:
        extra["parameters"] = parameters
    if body is not None:
        content: dict[str, Any] = {"schema": {"$ref": _REF.format(model=body.__name__)}}
        if example is not None:
            content["example"] = dict(example)
        extra["requestBody"] = {"required": True, "content": {"application/json": content}}
    return extra


def install_openapi(app: FastAPI, bodies: tuple[type[BaseModel], ...]) -> None:
    """Add the schemas of ``bodies`` and of the key to the document that ``app`` publishes."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _, defined = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF)
            components = found.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            for name, schema in defined.get("$defs", {}).items():
                schemas.setdefault(name, schema)
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
