"""The curl line that calls an API, with the example payload of its spec filled in. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any


def curl_line(endpoint: str, spec: Mapping[str, Any]) -> str:
    """`spec` is the `spec` of an ApiStatus: the payload is its handler.example, else handler.warmup, else {}."""
    handler = spec.get("handler") or {}
    if handler.get("app"):
        return f"curl {shlex.quote(endpoint + '/')}"  # an application's own routes decide what may be asked
    payload: Any = next((handler[key] for key in ("example", "warmup") if handler.get(key) is not None), {})
    body = json.dumps(payload, ensure_ascii=False)
    return f"curl {shlex.quote(endpoint)} -H 'content-type: application/json' -d {shlex.quote(body)}"
