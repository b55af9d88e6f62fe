"""Versions of a model's own packages that are older than ours, and have wheels for every Python we support."""

from __future__ import annotations

OLD = {"orjson": "3.10.15", "httptools": "0.6.4", "uvloop": "0.21.0", "pydantic": "1.10.24"}


def pins(*names: str) -> list[str]:
    """As requirements; all of them unless some are named."""
    return [f"{name}=={OLD[name]}" for name in names or OLD]
