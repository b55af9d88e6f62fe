"""What can go wrong on the way to the server, on demand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.kubernetes.double.failures import Refused


@dataclass
class Fault:
    """Hits the next `times` requests that match: is answered `code`, after `delay_s`, or cut off without an answer."""

    code: int | None = None
    method: str = ".*"
    path: str = ".*"
    times: int = 1
    delay_s: float = 0.0
    retry_after_s: float | None = None
    is_cut: bool = False
    hits: int = field(default=0, init=False)

    def matches(self, method: str, path: str) -> bool:
        is_hit = self.hits < self.times and re.fullmatch(self.method, method) and re.search(self.path, path)
        self.hits += bool(is_hit)
        return bool(is_hit)

    def to_refused(self) -> Refused | None:
        if self.code is None:
            return None
        reasons = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 409: "Conflict"}
        refused = Refused(self.code, reasons.get(self.code, "Expired"), "injected by the test")
        refused.retry_after_s = self.retry_after_s
        return refused
