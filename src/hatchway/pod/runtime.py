"""What a replica is launched with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Runtime:
    """A Python, and the folders that a launch names; `variables` are set for the replica."""

    python: str
    server_packages: str = ""  # "" and None: it shares the image's Python, which has them
    asgi_packages: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
