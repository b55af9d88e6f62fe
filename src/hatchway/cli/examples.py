"""An example payload of an API that serves a model's file, asked of the API itself: nobody has written one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hatchway.cli.curl import documented_example

TIMEOUT_S = 2.0


def example_of(endpoint: str, spec: Mapping[str, Any]) -> Any:
    """What the API's own description shows; None when it shows none: a curl line without is better than no line."""
    import httpx

    handler = spec.get("handler") or {}
    if not handler.get("model") or handler.get("example") is not None:
        return None
    try:
        answer = httpx.get(f"{endpoint}/openapi.json", timeout=TIMEOUT_S, trust_env=False)
        return documented_example(answer.json()) if answer.is_success else None
    except (httpx.HTTPError, ValueError):
        return None
