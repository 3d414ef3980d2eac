"""The OpenAPI 3.1 document of a server, made of the constants by which it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import edgecnn
from edgecnn.serve.form import BYTES, FIELD, FORM
from edgecnn.serve.http import BODY_BYTES, BODY_SECONDS, JSON
from edgecnn.serve.metrics import TEXT

IMAGES = ("jpeg", "png", "webp", "bmp", "gif", "tiff", "x-portable-pixmap")
TOP, TOP_LIMIT = 5, 100

ERRORS = {
    400: "The request is malformed: a parameter, a form, or the Host header.",
    401: "The token is missing or wrong.",
    403: "A page of another site asked.",
    408: f"The body did not come within {BODY_SECONDS:g} seconds.",
    411: "The request has no length.",
    413: f"The body is longer than {BODY_BYTES:,} bytes.",
    415: "The body is of another kind.",
    422: "The body is no picture that can be used.",
    500: "The model failed at this picture.",
    503: "Too many pictures wait; Retry-After says for how many seconds to stay away.",
}
TEXT_VALUE, WHOLE, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "number"}


def document(token: bool) -> dict[str, Any]:
    """The document; with ``token``, of a server that asks for one."""
    security: list[dict[str, list[str]]] = [{"token": []}] if token else []
    guarded = (401,) if token else ()
    classify = {
        "operationId": "classify", "summary": "What is on a picture.", "security": security,
        "parameters": [{
            "name": "top", "in": "query", "description": "Classes to name.",
            "schema": {"type": "integer", "minimum": 1, "maximum": TOP_LIMIT, "default": TOP},
        }],
        "requestBody": {"required": True, "content": _pictures()},
        "responses": {
            "200": _reply("The best classes, best first.", _ref("Answer")),
            **_errors(400, *guarded, 403, 408, 411, 413, 415, 422, 500, 503),
        },
    }  # fmt: skip
    paths = {
        "/v1/classify": {"post": classify},
        "/v1/model": {"get": _get("model", "The model that serves.", _ref("Model"), (400, *guarded), security)},
        "/healthz": {"get": _get("health", "Whether it works.", _ref("Health"), (400,), []) },
        "/metrics": {"get": _get("metrics", "Counters for Prometheus.", TEXT_VALUE, (400, *guarded), security, TEXT)},
        "/openapi.json": {"get": _get("openapi", "This document.", {"type": "object"}, (400,), [])},
        "/": {"get": _get("page", "The page for people.", TEXT_VALUE, (400,), [], "text/html; charset=utf-8")},
    }  # fmt: skip
    paths["/healthz"]["get"]["responses"]["503"] = _reply("The model's process is not there.", _ref("Health"))
    components: dict[str, Any] = {"schemas": SCHEMAS}
    if token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgecnn serve", "version": edgecnn.__version__, "license": {"name": "Apache-2.0"}},
        "paths": paths, "components": components,
    }  # fmt: skip


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False
    }  # fmt: skip


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema}


SCHEMAS: Mapping[str, Any] = {
    "Error": _object(error=TEXT_VALUE),
    "Answer": _object(
        top=_list(_ref("Guess")),
        milliseconds=_object(decode=NUMBER, preprocess=NUMBER, run=NUMBER),
        sha256=TEXT_VALUE | {"description": "Of the model file that gave the answer."},
    ),
    "Guess": _object(
        label=TEXT_VALUE, logit=NUMBER,
        probability=NUMBER | {"minimum": 0, "maximum": 1, "description": "Share of the softmax."},
    ),
    "Model": _object(
        model=TEXT_VALUE, recipe=TEXT_VALUE, format=TEXT_VALUE, engine=TEXT_VALUE, sha256=TEXT_VALUE, bytes=WHOLE,
        parameters=WHOLE, macs=WHOLE, dataset=TEXT_VALUE, labels=_list(TEXT_VALUE),
        input=_object(height=WHOLE, width=WHOLE, channels=WHOLE, color=TEXT_VALUE),
        accuracy=_or_null(_object(correct=WHOLE, images=WHOLE)),
        float_layers=_list(TEXT_VALUE), created=TEXT_VALUE, edgecnn=TEXT_VALUE,
    ),
    "Health": _object(
        status={"enum": ["ok", "starting"]}, sha256=TEXT_VALUE, queue=WHOLE,
        reload_error=_or_null(TEXT_VALUE | {"description": "Why the last new bundle was not taken."}),
    ),
}  # fmt: skip


def _pictures() -> dict[str, Any]:
    kinds = [BYTES, *(f"image/{each}" for each in IMAGES)]
    form = {
        "schema": _object(**{FIELD: {"type": "string", "contentMediaType": BYTES}}),
        "encoding": {FIELD: {"contentType": ", ".join(kinds)}},
    }
    return {FORM: form} | {kind: {"schema": {"type": "string", "contentMediaType": kind}} for kind in kinds}


def _reply(description: str, schema: Mapping[str, Any], kind: str = JSON) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema}}}


def _errors(*statuses: int) -> dict[str, Any]:
    found = {str(status): _reply(ERRORS[status], _ref("Error")) for status in statuses}
    for status, name, kind in (("503", "Retry-After", "integer"), ("401", "WWW-Authenticate", "string")):
        if status in found:
            found[status]["headers"] = {name: {"required": True, "schema": {"type": kind}}}
    return found


def _get(
    name: str, summary: str, schema: Mapping[str, Any], errors: tuple[int, ...], security: list[Any], kind: str = JSON
) -> dict[str, Any]:
    responses = {"200": _reply(f"{summary}", schema, kind), **_errors(*errors)}
    return {"operationId": name, "summary": summary, "security": security, "responses": responses}
