"""Gathers what the parts of the engine know, and writes it as Prometheus reads it.

The loop is given back between the metrics: at 200 APIs all of it is ten thousand lines.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from hatchway import __version__
from hatchway.backends import Measures, Replica
from hatchway.contract import MetricSeries
from hatchway.errors import GatewayError, NotFound
from hatchway.gateway.served import BOUNDS_S, Tally
from hatchway.gateway.stats import Load
from hatchway.metrics import catalogue
from hatchway.metrics.catalogue import METRICS
from hatchway.metrics.counts import Counts
from hatchway.metrics.text import Family, Labels
from hatchway.spec.status import ApiStatus

# Of the bounds that Envoy counts by: those that are told. 1, 2 and 5 of each decade are enough for a histogram that is
# kept for weeks; the timelines use all.
TOLD = tuple(at for at, bound in enumerate(BOUNDS_S) if f"{bound:e}"[0] in "125" and f"{bound:e}"[2] == "0")

# What replicas count for us; their handlers cannot name a metric so, but a process of theirs might try.
OF_REPLICAS = frozenset({catalogue.BATCH_SIZE.name, catalogue.BATCH_WAIT.name})
_RESERVED = "hatchway_"

_STATM = Path("/proc/self/statm")

Drift = Mapping[str, Mapping[str, float]]  # API -> field -> how far it is from its baseline, in thresholds


def no_drift() -> Drift:
    """For as long as nothing measures it."""
    return {}


@dataclass(frozen=True)
class Sources:
    """Whom to ask. `load` and `waiting` are of requests under way, `wanted` how many replicas each API should have."""

    counts: Counts
    load: Callable[[], Load | None]
    waiting: Callable[[], Mapping[str, int]]
    wanted: Callable[[], Mapping[str, int]]
    apis: Callable[[], Sequence[str]]
    status: Callable[[str], ApiStatus]  # raises NotFound
    observe: Callable[[], Sequence[Replica]]
    measure: Callable[[], Awaitable[Mapping[str, Measures]]]
    drift: Callable[[], Drift] = no_drift
    wall_clock: Callable[[], float] = time.time


class Collector:
    """One per engine."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._started_at = sources.wall_clock()

    async def text(self) -> str:
        """All metrics there are now. The last known counts when Envoy does not answer."""
        began, sources = time.perf_counter(), self._sources
        try:
            totals, is_up = await sources.counts.look(), True
        except GatewayError:
            totals, is_up = sources.counts.totals(), False
        measures = await sources.measure()
        replicas = sorted(sources.observe(), key=lambda replica: replica.id)
        page = Page()
        write_requests(page, totals)
        await asyncio.sleep(0)
        write_under_way(page, sources.load(), sources.waiting(), replicas)
        await self._write_apis(page)
        write_replicas(page, replicas, measures)
        write_series(page, replicas, measures)
        write_drift(page, sources.drift())
        await asyncio.sleep(0)
        self._write_engine(page, is_up=is_up, took_s=time.perf_counter() - began)
        parts = []
        for family in page.families():
            parts.append(family.to_text())
            await asyncio.sleep(0)
        return "".join(parts)

    async def _write_apis(self, page: Page) -> None:
        """To find out how an API is takes a fifth of a millisecond."""
        wanted = self._sources.wanted()
        for name in self._sources.apis():
            with suppress(NotFound):  # it was deleted since
                write_api(page, self._sources.status(name), wanted.get(name, 0))
            await asyncio.sleep(0)

    def _write_engine(self, page: Page, *, is_up: bool, took_s: float) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        page[catalogue.ENGINE].add(1, [("version", __version__)])
        page[catalogue.ENGINE_START].add(self._started_at)
        page[catalogue.ENGINE_CPU].add(usage.ru_utime + usage.ru_stime)
        page[catalogue.ENGINE_MEMORY].add(_resident_bytes())
        page[catalogue.GATEWAY_UP].add(is_up)
        page[catalogue.SCRAPE].add(took_s)


class Page:
    """Every family of Hatchway's own, in the order of the catalogue, then those of the handlers."""

    def __init__(self) -> None:
        self._ours = {metric.name: Family.of(metric) for metric in METRICS}
        self.theirs: dict[str, Family] = {}

    def __getitem__(self, metric: catalogue.Metric) -> Family:
        return self._ours[metric.name]

    def named(self, series: MetricSeries) -> Family:
        """Where a replica's series belongs. A name that two APIs use for different kinds has no type."""
        if series.name in OF_REPLICAS:
            return self._ours[series.name]
        kind = series.kind if series.kind in ("counter", "gauge", "histogram") else "untyped"
        family = self.theirs.setdefault(series.name, Family(series.name, kind))  # type: ignore[arg-type]  # see above
        if family.kind != kind:
            family.kind = "untyped"
        return family

    def families(self) -> Iterator[Family]:
        yield from self._ours.values()
        yield from (self.theirs[name] for name in sorted(self.theirs))


def write_requests(page: Page, totals: Mapping[str, Tally]) -> None:
    """What was answered."""
    for api, tally in sorted(totals.items()):
        for (revision, status), count in sorted(tally.answers.items()):
            page[catalogue.REQUESTS].add(count, [("api", api), ("revision", revision), ("code", str(status))])
        if not api:
            continue
        labels = [("api", api)]
        if tally.buckets:
            told = [*(tally.buckets[at] for at in TOLD), tally.buckets[-1]]
            seconds = tally.microseconds / 1e6
            page[catalogue.DURATION].add_histogram([BOUNDS_S[at] for at in TOLD], told, seconds, labels)
        page[catalogue.COLD_STARTS].add(tally.held, labels)
        page[catalogue.RETRIES].add(tally.retries, labels)


def write_under_way(page: Page, load: Load | None, waiting: Mapping[str, int], replicas: Sequence[Replica]) -> None:
    """What is not answered yet."""
    in_flight = {} if load is None else {api: requests.in_flight for api, requests in load.by_api.items()}
    queued: dict[str, int] = {}
    for replica in replicas:
        queued[replica.api] = queued.get(replica.api, 0) + replica.queued
    for api in sorted(in_flight.keys() | waiting.keys() | queued.keys()):
        labels, held = [("api", api)], waiting.get(api, 0)
        page[catalogue.IN_FLIGHT].add(max(in_flight.get(api, 0), held), labels)
        page[catalogue.QUEUED].add(queued.get(api, 0), labels)
        page[catalogue.HELD].add(held, labels)


def write_api(page: Page, status: ApiStatus, wanted: int) -> None:
    """How one API is."""
    labels = [("api", status.name)]
    page[catalogue.STATUS].add(1, [*labels, ("status", status.status)])
    page[catalogue.REVISION].add(1, [*labels, ("revision", status.revision)])
    page[catalogue.DESIRED].add(wanted, labels)
    counts = dict.fromkeys(("starting", "ready", "draining", "failed"), 0)
    for replica in status.replica_list:
        counts[replica.state] += 1
    for state, count in counts.items():
        page[catalogue.REPLICAS].add(count, [*labels, ("state", state)])


def write_replicas(page: Page, replicas: Iterable[Replica], measures: Mapping[str, Measures]) -> None:
    """What each replica uses."""
    for replica in replicas:
        labels = _labels(replica)
        page[catalogue.RESTARTS].add(replica.restarts, labels)
        page[catalogue.REFUSALS].add(replica.refused, labels)
        if replica.rss_bytes is not None:
            page[catalogue.RSS].add(replica.rss_bytes, labels)
        if (found := measures.get(replica.id)) is None:
            continue
        page[catalogue.CPU].add(found.cpu_s, labels)
        page[catalogue.PSS].add(found.pss_bytes, labels)
        for gpu in found.gpus:
            page[catalogue.GPU_MEMORY].add(gpu.memory_bytes, [*labels, ("gpu", gpu.uuid)])
            page[catalogue.GPU_BUSY].add(gpu.busy_ratio, [*labels, ("gpu", gpu.uuid)])


def write_series(page: Page, replicas: Iterable[Replica], measures: Mapping[str, Measures]) -> None:
    """What replicas count themselves: of batches, and what handlers count with `metrics_client`."""
    for replica in replicas:
        found = measures.get(replica.id)
        for series in () if found is None else found.series:
            if series.name.startswith(_RESERVED) and series.name not in OF_REPLICAS:
                continue
            labels = [*_labels(replica), *series.tags.items()]
            if series.kind == "histogram":
                cumulated = list(accumulate(series.buckets))
                page.named(series).add_histogram(series.bounds, cumulated, series.value, labels)
            else:
                page.named(series).add(series.value, labels)


def write_drift(page: Page, drift: Drift) -> None:
    for api, fields in sorted(drift.items()):
        for field, distance in sorted(fields.items()):
            page[catalogue.DRIFT].add(distance, [("api", api), ("field", field)])


def _labels(replica: Replica) -> Labels:
    return [("api", replica.api), ("revision", replica.revision), ("replica", replica.id)]


def _resident_bytes() -> int:
    return int(_STATM.read_text().split()[1]) * resource.getpagesize()
