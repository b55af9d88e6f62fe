"""How fast we ask an API server, and how long we wait before we ask again. Pure: time and chance are passed in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Allowance:
    """So many requests a second in the long run, and `burst` of them at once."""

    per_s: float
    burst: float
    _saved: float = 0.0
    _at: float | None = None

    def take(self, now: float) -> float:
        """Count a request that is made now; how many seconds it has to wait for its turn."""
        gained = self.burst if self._at is None else (now - self._at) * self.per_s
        self._saved = min(self.burst, self._saved + gained) - 1
        self._at = now
        return max(0.0, -self._saved / self.per_s)


@dataclass
class Backoff:
    """Growing pauses between failures, each anywhere below its limit, so that many clients do not ask as one."""

    first_s: float
    longest_s: float
    failures: int = 0

    def next_s(self, chance: float) -> float:
        """The pause after one more failure; `chance` is from 0 to 1."""
        limit = min(self.longest_s, self.first_s * 2.0**self.failures)
        self.failures += 1
        return limit * chance

    def reset(self) -> None:
        self.failures = 0
