"""What was seen over a span of time: averages, and the highest of what was recommended. Pure and immutable.

The model is Knative's autoscaler (`pkg/autoscaler/aggregation` in knative/serving): samples go into buckets of time,
and an average is that of the buckets. Three differences. A bucket without a sample does not count, where Knative
takes it for 0: a tick that came late or not at all says nothing about requests. Buckets are as wide as the window
asks for, so that hours need no more room than seconds. And they lie on a grid that begins with the first sample,
not with the clock's zero, so that nothing moves when the clock of `now` has another origin.

Times are whole milliseconds: they survive JSON exactly. In JSON a time is an age, which means the same on any clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

TICK_S = 1.0
TICK_MS = 1000
MAX_BUCKETS = 100  # an average over any window is at most 1 % of the window too long or too short
MAX_PEAKS = 300  # a tick for each up to 5 minutes; a longer period is remembered in steps of a 300th of it


def to_ms(seconds: float) -> int:
    return round(seconds * 1000)


class Bucket(NamedTuple):
    """The samples from `start_ms` on, until the next bucket could start."""

    start_ms: int
    total: float
    samples: int


@dataclass(frozen=True)
class Averages:
    """Averages of samples over any part of a window.

    Each bucket counts the same, however many samples are in it: looking more often in some seconds than in others
    changes nothing.
    """

    buckets: tuple[Bucket, ...] = ()  # oldest first
    width_ms: int = TICK_MS

    def add(self, value: float, now_ms: int, window_ms: int) -> Averages:
        """With one more sample, and without what is older than the window."""
        width_ms = _width_ms(window_ms, MAX_BUCKETS)
        if width_ms != self.width_ms:
            return self._with_width(width_ms).add(value, now_ms, window_ms)
        kept = [bucket for bucket in self.buckets if bucket.start_ms > now_ms - window_ms]
        last = self.buckets[-1] if self.buckets else Bucket(now_ms, 0.0, 0)
        start_ms = now_ms - (now_ms - last.start_ms) % width_ms
        if kept and kept[-1].start_ms == start_ms:
            _, total, samples = kept.pop()
            return Averages((*kept, Bucket(start_ms, total + value, samples + 1)), width_ms)
        return Averages((*kept, Bucket(start_ms, value, 1)), width_ms)

    def over(self, span_ms: int, now_ms: int) -> float | None:
        """The average over the last `span_ms`; None if no sample is that young."""
        means = [b.total / b.samples for b in self.buckets if b.start_ms > now_ms - max(span_ms, self.width_ms)]
        return sum(means) / len(means) if means else None

    def to_ages(self, now_ms: int) -> dict[str, object]:
        """As plain JSON, with ages for times."""
        return {"width_ms": self.width_ms, "buckets": [[now_ms - b.start_ms, b.total, b.samples] for b in self.buckets]}

    @classmethod
    def from_ages(cls, width_ms: int, buckets: Iterable[Sequence[float]], now_ms: int) -> Averages:
        return cls(tuple(Bucket(now_ms - int(age), total, int(samples)) for age, total, samples in buckets), width_ms)

    def _with_width(self, width_ms: int) -> Averages:
        """The same samples in wider or narrower buckets, for a window that was edited. What fell together stays so."""
        resized = Averages((), width_ms)
        for bucket in self.buckets:
            resized = resized.add(bucket.total / bucket.samples, bucket.start_ms, width_ms * MAX_BUCKETS)
        return resized


class Peak(NamedTuple):
    at_ms: int
    value: int


@dataclass(frozen=True)
class Maxima:
    """The highest of the values of a period. The lowest is the highest of the negative ones.

    A value that is followed by one at least as high can never be the highest again and is forgotten ("ascending
    minima", as in Knative's `aggregation/max`): steady values need one entry. A lower one that comes within a
    300th of the period after its predecessor (a tick at least) is left out, which bounds what falling values need.
    """

    peaks: tuple[Peak, ...] = ()  # oldest first, each lower than the one before

    def add(self, value: int, now_ms: int, period_ms: int) -> Maxima:
        """With one more value, and without what is as old as the period."""
        kept = tuple(peak for peak in self.peaks if peak.at_ms > now_ms - period_ms and peak.value > value)
        if kept and now_ms - kept[-1].at_ms < _width_ms(period_ms, MAX_PEAKS):
            return Maxima(kept)
        return Maxima((*kept, Peak(now_ms, value)))

    @property
    def highest(self) -> Peak:
        """Of the period up to the last value added; there is one."""
        return self.peaks[0]

    def youngest_from(self, value: int) -> Peak | None:
        """The last time a value of at least this much was seen."""
        return next((peak for peak in reversed(self.peaks) if peak.value >= value), None)

    def to_ages(self, now_ms: int) -> list[list[int]]:
        """As plain JSON, with ages for times."""
        return [[now_ms - peak.at_ms, peak.value] for peak in self.peaks]

    @classmethod
    def from_ages(cls, peaks: Iterable[Sequence[int]], now_ms: int) -> Maxima:
        return cls(tuple(Peak(now_ms - age, value) for age, value in peaks))


def _width_ms(span_ms: int, parts: int) -> int:
    """How wide a bucket is, so that a span has at most `parts` of them; never less than a tick."""
    return max(TICK_MS, -(-span_ms // parts))
