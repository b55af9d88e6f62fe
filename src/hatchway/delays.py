"""Waiting ever longer before something that ended is started again: pure, so time comes in."""

from __future__ import annotations

import math


class GrowingDelay:
    """`first_s`, doubling up to `longest_s`; anew after something has lasted for `calm_after_s`."""

    def __init__(self, first_s: float, longest_s: float, calm_after_s: float = math.inf) -> None:
        self._first_s, self._longest_s, self._calm_after_s = first_s, longest_s, calm_after_s
        self._next_s = first_s

    def after(self, lasted_s: float = 0.0) -> float:
        """How long to wait now that it has ended, which it did after so long."""
        if lasted_s >= self._calm_after_s:
            self.reset()
        delay_s, self._next_s = self._next_s, min(2 * self._next_s, self._longest_s)
        return delay_s

    def reset(self) -> None:
        """All is well: the next delay is the first one."""
        self._next_s = self._first_s
