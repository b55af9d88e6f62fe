"""What a replica measures: counters, gauges and histograms, its own and those of the handler's `metrics_client`.

State that merges across replicas: sums and counts add up, bucket by bucket, since the bounds of a histogram never
change. It lives as long as the replica; CONTROL_METRICS tells it. All of it may be called from any thread.
"""

from __future__ import annotations

import math
import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from hatchway.contract import MetricSeries

# Powers of two from 61 us to 12 days, from 1/16384 to a million: wide enough for seconds, shares, counts and tokens.
# Buckets that depend on the values seen could not be added up across replicas.
DEFAULT_BOUNDS = tuple(2.0**exponent for exponent in range(-14, 21))
MAX_SERIES = 1000  # of metrics_client, in one replica: names times combinations of tags
MAX_TAG_CHARS = 128  # longer values are cut
RESERVED_PREFIX = "hatchway_"
RESERVED_TAGS = frozenset({"api", "revision", "replica", "le", "quantile"})

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Tags = tuple[tuple[str, str], ...]


class Counter:
    """A sum that only grows."""

    __slots__ = ("_lock", "value")
    kind: ClassVar[str] = "counter"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        with self._lock:
            self.value += amount

    def read(self) -> dict[str, Any]:
        return {"value": self.value}


class Gauge:
    """The last value."""

    __slots__ = ("value",)
    kind: ClassVar[str] = "gauge"

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        self.value = value

    def read(self) -> dict[str, Any]:
        return {"value": self.value}


class Histogram:
    """How often values fell at or below each of the bounds, which ascend; beside it their sum."""

    __slots__ = ("_lock", "bounds", "buckets", "sum")
    kind: ClassVar[str] = "histogram"

    def __init__(self, bounds: Sequence[float] = DEFAULT_BOUNDS) -> None:
        self._lock = threading.Lock()
        self.bounds = tuple(bounds)
        self.buckets = [0] * (len(self.bounds) + 1)  # the last holds what is above all bounds
        self.sum = 0.0

    @property
    def count(self) -> int:
        return sum(self.buckets)

    def observe(self, value: float) -> None:
        at = bisect_left(self.bounds, value)
        with self._lock:
            self.buckets[at] += 1
            self.sum += value

    def read(self) -> dict[str, Any]:
        with self._lock:
            return {"value": self.sum, "bounds": list(self.bounds), "buckets": list(self.buckets)}


AnySeries = Counter | Gauge | Histogram
Series = TypeVar("Series", Counter, Gauge, Histogram)


class Metrics:
    """All of a replica: name and tags -> series."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[tuple[str, Tags], AnySeries] = {}

    def add(self, name: str, series: Series, tags: Tags = ()) -> Series:
        """Show `series` under this name from now on."""
        with self._lock:
            self._series[name, tags] = series
        return series

    def read(self) -> list[MetricSeries]:
        """In the order of their making."""
        with self._lock:
            found = list(self._series.items())
        return [
            MetricSeries(name=name, kind=series.kind, tags=dict(tags), **series.read())
            for (name, tags), series in found
        ]


class MetricsClient:
    """What a handler's `__init__` gets as `metrics_client`. `warn` is told once of each thing that is not recorded."""

    def __init__(self, metrics: Metrics, warn: Callable[[str], None], max_series: int = MAX_SERIES) -> None:
        self._metrics = metrics
        self._warn = warn
        self._max_series = max_series
        self._lock = threading.Lock()
        self._kinds: dict[str, type[AnySeries]] = {}
        self._series: dict[tuple[str, Tags], AnySeries] = {}
        self._warned: set[str] = set()

    def increment(self, metric: str, value: float = 1, tags: Mapping[str, object] | None = None) -> None:
        """Add to a counter. Raises ValueError for a bad name or tag, a negative value or a metric of another kind."""
        if value < 0:
            raise ValueError(f"{metric}: a counter only grows, by {value} it would not; use a gauge")
        series = self._series_for(Counter, metric, value, tags)
        if series is not None:
            series.add(float(value))

    def gauge(self, metric: str, value: float, tags: Mapping[str, object] | None = None) -> None:
        """Set a gauge. Raises ValueError for a bad name or tag or a metric of another kind."""
        series = self._series_for(Gauge, metric, value, tags)
        if series is not None:
            series.set(float(value))

    def histogram(self, metric: str, value: float, tags: Mapping[str, object] | None = None) -> None:
        """Count a value in its bucket. Raises ValueError for a bad name or tag or a metric of another kind."""
        series = self._series_for(Histogram, metric, value, tags)
        if series is not None:
            series.observe(float(value))

    def _series_for(
        self, kind: type[Series], name: str, value: float, tags: Mapping[str, object] | None
    ) -> Series | None:
        """None when the value is not to be recorded."""
        if not math.isfinite(value):
            self._say_once(f"{name}: values that are not finite are not recorded")
            return None
        key = (name, _normalised(tags) if tags else ())
        series = self._series.get(key) or self._make(kind, *key)
        if series is not None and type(series) is not kind:
            raise _of_another_kind(name, type(series), kind)
        return series

    def _make(self, kind: type[Series], name: str, tags: Tags) -> Series | None:
        _check(name, tags)
        with self._lock:
            known = self._kinds.setdefault(name, kind)
            if known is not kind:
                raise _of_another_kind(name, known, kind)
            if (name, tags) in self._series:
                return self._series[name, tags]  # type: ignore[return-value]  # all of a name are of one kind
            if len(self._series) < self._max_series:
                made = self._series[name, tags] = self._metrics.add(name, kind(), tags)
                return made
        self._say_once(
            f"{name}: a replica keeps {self._max_series} combinations of metric and tags; new ones are not recorded"
        )
        return None

    def _say_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            self._warn(message)


def _of_another_kind(name: str, known: type[AnySeries], wanted: type[AnySeries]) -> ValueError:
    return ValueError(f"{name} is a {known.kind}, and cannot be a {wanted.kind} as well")


def _normalised(tags: Mapping[str, object]) -> Tags:
    if len(tags) == 1:
        ((name, value),) = tags.items()
        return ((name, str(value)[:MAX_TAG_CHARS]),)
    return tuple(sorted([(name, str(value)[:MAX_TAG_CHARS]) for name, value in tags.items()]))


def _check(name: str, tags: Tags) -> None:
    """Raises ValueError for what Prometheus would not take, and for our own names."""
    if not _NAME.fullmatch(name):
        suggestion = re.sub(r"\W", "_", name, flags=re.ASCII)
        raise ValueError(f"a metric's name is letters, digits and underscores: {suggestion!r} instead of {name!r}")
    if name.startswith(RESERVED_PREFIX):
        raise ValueError(f"names that begin with {RESERVED_PREFIX} are Hatchway's own: {name!r}")
    for tag, _ in tags:
        if not _NAME.fullmatch(tag) or tag.startswith("__") or tag in RESERVED_TAGS:
            raise ValueError(
                f"{name}: {tag!r} cannot be a tag: letters, digits and underscores, and none of "
                f"{', '.join(sorted(RESERVED_TAGS))}"
            )
