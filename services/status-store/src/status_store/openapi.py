"""The API's description in OpenAPI 3.1, made from its models: `python -m status_store.openapi [file]` writes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from status_store.answers import Problem
from status_store.operations import OPERATIONS, Operation, parameters
from tracepost.http import SESSION_COOKIE
from tracepost.problems import PROBLEM_TYPE

FILE = "docs/openapi.json"

_ABOUT = """What became of each e-mail: statuses, their reasons, and how they change.

Faults are problem documents (RFC 9457) with a stable `code`. Lists are read by pages: hand back `cursor` until it is
null. An address never stands in a URL. A key sees the messages of its app alone."""

_PARTS: dict[str, dict[str, Any]] = {
    "id": {"schema": {"type": "string", "format": "uuid"}},
    "number": {
        "schema": {"type": "integer", "minimum": 0, "maximum": 255},
        "description": "the index in to + cc + bcc",
    },
}


def document() -> dict[str, Any]:
    """The whole description."""
    schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tracepost status-store", "version": "1", "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "an API key"},
                "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
            },
        },
    }


def text() -> str:
    """The same as a file holds it."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def routes() -> list[web.RouteDef]:
    """`GET /v1/openapi.json`, for everybody."""
    described = text()

    async def shown(_: web.Request) -> web.Response:
        return web.Response(text=described, content_type="application/json")

    return [web.get("/v1/openapi.json", shown)]


def _schemas() -> dict[str, Any]:
    bodies = {(each.body, "validation") for each in OPERATIONS if each.body}
    told = {(each.answer, "serialization") for each in OPERATIONS if each.answer}
    models = sorted(bodies | told | {(Problem, "serialization")}, key=lambda pair: (pair[0].__name__, pair[1]))
    _, schema = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    found: dict[str, Any] = schema["$defs"]
    return found


def _operation(told: Operation) -> dict[str, Any]:
    named = [
        {"name": name, "in": "path", "required": True, **_PARTS[name]} for name in _PARTS if f"{{{name}}}" in told.path
    ]
    query = parameters(told.query) if told.query else []
    token = [
        {"name": "token", "in": "query", "schema": {"type": "string"}, "description": "a view token, in place of a key"}
    ]
    place = [{"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}, "description": "as cursor"}]
    return {
        "operationId": f"{told.method}_{told.path.removeprefix('/v1/')}".replace("/", "_").translate(_PLAIN),
        "summary": told.summary,
        "tags": [told.path.split("/")[2]],
        "parameters": [
            *named,
            *query,
            *(token if told.view_token else []),
            *(place if told.stream == "too" else []),
        ],
        **({"requestBody": _body(told.body)} if told.body else {}),
        "responses": _responses(told),
        "security": _security(told),
    }


_PLAIN = str.maketrans("-", "_", "{}")


def _security(told: Operation) -> list[dict[str, list[str]]]:
    if told.scope is None:
        return []
    known: list[dict[str, list[str]]] = [{"key": [told.scope]}, {"session": [told.scope]}]
    return [*known, {}] if told.view_token else known


def _body(model: type[BaseModel]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": _ref(model)}}}


def _responses(told: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if told.answer and told.stream != "only":
        content["application/json"] = {"schema": _ref(told.answer)}
    if told.stream != "no":
        content["text/event-stream"] = {"schema": {"type": "string"}}
    good: dict[str, Any] = {"description": told.summary, **({"content": content} if content else {})}
    if told.etag:
        good["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "the version"}}
    bad = {"content": {PROBLEM_TYPE: {"schema": _ref(Problem)}}}
    unchanged = {"304": {"description": "The version is that of If-None-Match"}} if told.etag else {}
    return {str(told.status): good, **unchanged} | {
        str(status): {"description": _REFUSALS[status], **bad} for status in told.statuses
    }


_REFUSALS = {
    400: "What stands in the path is no id or number",
    401: "No valid API key, session or view token",
    403: "The API key does not allow this",
    404: "There is none",
    409: "Cannot be done as it stands",
    410: "The cursor is too old",
    413: "The body is too large",
    422: "The request cannot be understood",
    503: "Cannot be answered now; ask again",
}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def main(file: str = FILE) -> None:
    """Write the description."""
    Path(file).write_text(text(), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
