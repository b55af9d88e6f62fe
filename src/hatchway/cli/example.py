"""How to call an API, with the example payload that it shows in its own OpenAPI document once it is live."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hatchway.cli.curl import curl_line, documented_example, payload_of
from hatchway.errors import HatchwayError

if TYPE_CHECKING:
    from hatchway.client.ways import Door, Way

EXAMPLE_TIMEOUT_S = 2.0


def call_line(way: Way, name: str, endpoint: str, spec: Mapping[str, Any], status: str) -> str:
    """The command that sends a request to an API: curl, or ours where its address may not be reached from here."""
    try:
        door = way.gateway(endpoint)
    except HatchwayError:  # no gateway is there yet
        door = None
    example = None if door is None else example_of(door, spec, status)
    if not way.is_carried:
        return curl_line(endpoint, spec, example)
    payload = shlex.quote(json.dumps(payload_of(spec, example), ensure_ascii=False))
    return f"hatchway predict {name} {payload} --env {way.target.name}"


def example_of(door: Door, spec: Mapping[str, Any], status: str) -> Any:
    """None when the specification has one itself, or the API none: a curl line without is better than no line."""
    handler = spec.get("handler") or {}
    if status != "live" or any(handler.get(field) is not None for field in ("app", "example", "warmup")):
        return None
    import httpx

    try:
        transport = None if door.socket is None else httpx.HTTPTransport(uds=str(door.socket))
        with httpx.Client(transport=transport, timeout=EXAMPLE_TIMEOUT_S, trust_env=False) as http:
            answer = http.get(f"{door.url}/openapi.json")
        return documented_example(answer.json()) if answer.is_success else None
    except (httpx.HTTPError, ValueError):
        return None
