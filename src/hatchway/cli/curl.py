"""The curl line that calls an API, with an example payload filled in. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any


def curl_line(endpoint: str, spec: Mapping[str, Any], example: Any = None) -> str:
    """`spec` is the `spec` of an ApiStatus: the payload is its handler.example, else handler.warmup, else `example`.

    `example` is what the API itself says of its payloads, see `documented_example`; {} when it says nothing.
    """
    if (spec.get("handler") or {}).get("app"):
        return f"curl {shlex.quote(endpoint + '/')}"  # an application's own routes decide what may be asked
    body = json.dumps(payload_of(spec, example), ensure_ascii=False)
    return f"curl {shlex.quote(endpoint)} -H 'content-type: application/json' -d {shlex.quote(body)}"


def payload_of(spec: Mapping[str, Any], example: Any = None) -> Any:
    handler = spec.get("handler") or {}
    known = (handler.get("example"), handler.get("warmup"), example)
    return next((value for value in known if value is not None), {})


def documented_example(openapi: Any) -> Any:
    """The JSON payload that an API's OpenAPI document shows for its POST; None where it shows none."""
    try:
        operations = (path["post"] for path in openapi["paths"].values() if "post" in path)
        content = next(operations)["requestBody"]["content"]["application/json"]
    except (KeyError, TypeError, AttributeError, StopIteration):
        return None
    if "example" in content:
        return content["example"]
    schema = content.get("schema")
    return schema.get("example") if isinstance(schema, dict) else None
