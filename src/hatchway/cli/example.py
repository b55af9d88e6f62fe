"""The example payload that a live API shows in its own OpenAPI document, for the curl line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hatchway.cli.curl import documented_example

EXAMPLE_TIMEOUT_S = 2.0


def example_of(endpoint: str, spec: Mapping[str, Any], status: str) -> Any:
    """None when the specification has one itself, or the API none: a curl line without is better than no line."""
    handler = spec.get("handler") or {}
    if status != "live" or any(handler.get(field) is not None for field in ("app", "example", "warmup")):
        return None
    import httpx

    try:
        answer = httpx.get(f"{endpoint}/openapi.json", timeout=EXAMPLE_TIMEOUT_S, trust_env=False)
        return documented_example(answer.json()) if answer.is_success else None
    except (httpx.HTTPError, ValueError):
        return None
