"""The OpenAPI document of a handler, from its methods' annotations and the spec's example. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from hatchway.contract import HEADER_REQUEST_ID, HEADER_REVISION, Launch
from hatchway.replica.loading import Handler, Method
from hatchway.replica.typed.decoder import Schema
from hatchway.replica.typed.raw import Bytes
from hatchway.replica.typed.results import content_of

JSON = "application/json"
ERROR = "HatchwayError"  # a name that no model of the user's has

_ERRORS = {
    400: ("BadRequest", "The request is not valid HTTP, or its body is not what its content type says."),
    413: ("TooLarge", "The body is too large, or would be once decoded."),
    415: ("UnsupportedMediaType", "The body has a content type that this API does not take."),
    422: ("InvalidPayload", "The body can be read, but its values are wrong; `details` says where."),
    500: ("InternalError", "The handler failed; the log has the traceback under the request's id."),
    503: ("Overloaded", "The API is busy or starting; try again after the seconds in Retry-After."),
    504: ("TimedOut", "The request took longer than the API, or the caller, is willing to wait."),
}


def document(launch: Launch, handler: Handler, endpoint: str) -> dict[str, Any]:
    """`endpoint` is where the gateway serves the API: "/iris", or "" at the root."""
    schemas: dict[str, Schema] = {ERROR: _ERROR_SCHEMA}
    shown = "POST" if "POST" in handler.methods else next(iter(handler.methods))  # whose payload the example is
    operations = {
        verb.lower(): _operation(verb, method, _example(launch, method) if verb == shown else None, schemas)
        for verb, method in handler.methods.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": launch.api, "version": launch.revision, "description": handler.description},
        "servers": [{"url": endpoint or "/"}],
        "paths": {"/": operations},
        "components": {
            "schemas": schemas,
            "responses": {name: _error_response(status) for status, (name, _) in _ERRORS.items()},
            "headers": _HEADERS,
        },
    }


def _example(launch: Launch, method: Method) -> Any:
    return next((found for found in (launch.example, method.example, launch.warmup) if found is not None), None)


def _operation(verb: str, method: Method, example: Any, schemas: dict[str, Schema]) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": verb.lower(), **_told(method)}
    if "query_params" in method.arguments:
        found["parameters"] = [_ANY_QUERY]
    takes_body = method.wants_payload and verb != "GET"
    if takes_body:
        found["requestBody"] = _request_body(method, example, schemas)
    statuses = [400, 413, *([415, 422] if takes_body and not isinstance(method.decoder, Bytes) else []), 500, 503, 504]
    errors = {str(status): {"$ref": f"#/components/responses/{_ERRORS[status][0]}"} for status in statuses}
    return found | {"responses": {"200": _answer(method, schemas)} | errors}


def _told(method: Method) -> dict[str, str]:
    """Summary and description, from the docstring."""
    text = inspect.getdoc(method.function) if inspect.isroutine(method.function) else None
    first, _, rest = (text or "").partition("\n\n")
    told = {"summary": " ".join(first.split()), "description": rest.strip()}
    return {key: value for key, value in told.items() if value}


def _request_body(method: Method, example: Any, schemas: dict[str, Schema]) -> dict[str, Any]:
    content: Mapping[str, Schema] = method.decoder.media_types()
    schemas.update(method.decoder.definitions())
    if method.input_schema is not None:
        content = {JSON: method.input_schema}
    media: dict[str, Any] = {name: {"schema": schema} for name, schema in content.items()}
    if example is not None and JSON in media:
        media[JSON]["example"] = example
    return {"required": method.decoder.requires_body or method.input_schema is not None, "content": media}


def _answer(method: Method, schemas: dict[str, Schema]) -> dict[str, Any]:
    content, definitions = content_of(method.returns)
    schemas.update(definitions)
    if method.output_schema is not None:
        content = {JSON: method.output_schema}
    return {
        "description": "The handler's answer.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS},
        "content": {name: {"schema": schema} for name, schema in content.items()},
    }


def _error_response(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": _ERRORS[status][1],
        "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{ERROR}"}}},
    }
    if status == 503:
        found["headers"] = {"retry-after": {"schema": {"type": "integer"}, "description": "seconds"}}
    return found


_HEADERS = {
    HEADER_REQUEST_ID: {"schema": {"type": "string"}, "description": "The caller's id of the request, or a new one."},
    HEADER_REVISION: {"schema": {"type": "string"}, "description": "The revision that answered."},
}
_ANY_QUERY = {
    "name": "query",
    "in": "query",
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
_DETAIL: Schema = {
    "type": "object",
    "required": ["loc", "msg", "type"],
    "properties": {
        "loc": {"type": "array", "items": {"type": ["string", "integer"]}, "description": "the way to the field"},
        "msg": {"type": "string"},
        "type": {"type": "string"},
    },
}
_ERROR_SCHEMA: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "message", "request_id"],
            "properties": {
                "kind": {"type": "string", "description": "stable: scripts may match it"},
                "message": {"type": "string"},
                "request_id": {"type": "string"},
                "details": {"type": "array", "items": _DETAIL, "description": "of a 422: every field that is wrong"},
            },
        }
    },
}
