"""What the gateway says of an API with each request that may be held: one header, set by Envoy. Pure.

It is part of the route, so it is there while the engine is dead, never older than the route, and needs no file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """Under which terms requests of one API are held."""

    api: str
    max_held: int
    timeout_s: float  # from arrival to the first byte of the answer; inf: none

    def to_header(self) -> str:
        """`iris;max_held=101;timeout_s=60`"""
        timeout = 0.0 if math.isinf(self.timeout_s) else self.timeout_s
        return f"{self.api};max_held={self.max_held};timeout_s={timeout:g}"

    @classmethod
    def from_header(cls, text: str) -> Terms:
        """Raises ValueError when it is not what `to_header` writes."""
        api, *pairs = text.split(";")
        values = dict(pair.split("=", 1) for pair in pairs)
        try:
            return cls(api, int(values["max_held"]), float(values["timeout_s"]) or math.inf)
        except KeyError as exc:
            raise ValueError(f"{exc} is missing") from None
