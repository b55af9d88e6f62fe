"""What one decision passes on to the next. Pure, immutable, and bounded in size for any window and period.

In memory all times are milliseconds of the clock that `now` is read from. `to_dict` writes ages in their place, so what
was written can be read by another process, after a reboot, on a clock with another origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hatchway.autoscaler.decision import Sample
from hatchway.autoscaler.window import Averages, Maxima, to_ms

OUTAGE_MS = 10_000  # with a window shorter than this, a few late ticks are no outage yet


@dataclass(frozen=True)
class Memory:
    """One per API, kept over updates and engine restarts. An API that is started anew starts with `Memory()`."""

    replicas: int | None = None  # asked for last; None: nothing yet, so init_replicas
    slots: int | None = None  # of one replica, as last reported
    averages: Averages = field(default_factory=Averages)
    highest: Maxima = field(default_factory=Maxima)  # recommendations of the downscale period
    lowest: Maxima = field(default_factory=Maxima)  # negated ones of the upscale period
    sampled_ms: int | None = None
    observed_since_ms: int | None = None  # figures came without a break since then
    request_ms: int | None = None  # when a request was last seen
    panic_ms: int | None = None  # when there was last far more than the replicas are for
    stepped_ms: int | None = None  # when the number could last move

    def observed(self, sample: Sample, window_ms: int, now_ms: int) -> Memory:
        """With one more sample. After an outage the stabilisation periods begin anew: who knows what was in between."""
        is_break = self.sampled_ms is None or now_ms - self.sampled_ms > max(window_ms, OUTAGE_MS)
        arrived = bool(self.replicas) if sample.arrived is None else sample.arrived > 0
        return replace(
            self,
            slots=self.slots if sample.slots is None else sample.slots,
            averages=self.averages.add(sample.in_flight, now_ms, window_ms),
            sampled_ms=now_ms,
            observed_since_ms=now_ms if is_break else self.observed_since_ms,
            request_ms=now_ms if arrived or sample.in_flight > 0 else self.request_ms,
        )

    def roused(self, now: float) -> Memory:
        """As if a request had come just now: an API at zero is to have a replica, and to keep it for a while."""
        return replace(self, replicas=max(1, self.replicas or 0), request_ms=to_ms(now))

    def recommended(self, replicas: int, down_ms: int, up_ms: int, now_ms: int) -> Memory:
        """With one more recommendation in the history that the stabilisation periods look at."""
        return replace(
            self,
            highest=self.highest.add(replicas, now_ms, down_ms),
            lowest=self.lowest.add(-replicas, now_ms, up_ms),
        )

    def observed_ms(self, now_ms: int) -> int:
        """For how long figures have come without a break."""
        return 0 if self.observed_since_ms is None else now_ms - self.observed_since_ms

    def to_dict(self, now: float) -> dict[str, Any]:
        """As plain JSON. `now`: seconds on the clock that the decisions were made by."""
        now_ms = to_ms(now)
        return {
            "replicas": self.replicas,
            "slots": self.slots,
            "averages": self.averages.to_ages(now_ms),
            "highest": self.highest.to_ages(now_ms),
            "lowest": self.lowest.to_ages(now_ms),
            **{f"{name}_age_ms": _age(getattr(self, f"{name}_ms"), now_ms) for name in _TIMES},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], now: float, away_s: float = 0.0) -> Memory:
        """What `to_dict` wrote, for the clock of this `now`.

        `away_s` is the time between writing and reading, as well as it is known: a difference of the same clock
        if the machine has not been rebooted, else of the wall clock. 0 is safe: what is remembered then looks younger
        than it is, and a downscale waits longer. Less than 0 (somebody set the wall clock) counts as 0.

        Raises KeyError, TypeError or ValueError for a document that is not one of `to_dict`'s.
        """
        written_ms = to_ms(now) - to_ms(max(0.0, away_s))
        averages = document["averages"]
        return cls(
            replicas=document["replicas"],
            slots=document["slots"],
            averages=Averages.from_ages(averages["width_ms"], averages["buckets"], written_ms),
            highest=Maxima.from_ages(document["highest"], written_ms),
            lowest=Maxima.from_ages(document["lowest"], written_ms),
            **{f"{name}_ms": _age(document[f"{name}_age_ms"], written_ms) for name in _TIMES},
        )


_TIMES = ("sampled", "observed_since", "request", "panic", "stepped")


def _age(time_ms: int | None, now_ms: int) -> int | None:
    """The age of a time, or the time of an age: the same subtraction."""
    return None if time_ms is None else now_ms - time_ms
