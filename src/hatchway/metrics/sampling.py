"""Looks at every API each STEP_S and keeps what it sees in the timelines.

What is under way comes from the autoscaler's own look at Envoy. What was answered is asked only when something was:
at rest nobody is asked anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from hatchway.backends import Replica
from hatchway.errors import GatewayError
from hatchway.gateway.served import BOUNDS_S, Tally
from hatchway.gateway.stats import Load, Requests
from hatchway.metrics.counts import Counts
from hatchway.metrics.percentiles import percentile
from hatchway.metrics.timelines import QUIET, STEP_S, Standing, Timelines, Traffic
from hatchway.spec.timeline import Sparkline, Timeline

SAVE_EVERY_STEPS = 5
_LATE_S = 0.01  # after the end of a step: a timer may be some milliseconds early
_BOUNDS_MS = [bound * 1000 for bound in BOUNDS_S]
_LOOKS_AFTER_NEWS = 2  # Envoy's histograms lag behind its counters by one


class Figures(Protocol):
    """What the gateway knows of requests under way, without being asked anew."""

    def load(self) -> Load | None: ...
    def waiting(self) -> Mapping[str, int]: ...


class Sampler:
    """`observe` gives all replicas, `wanted` how many of each API there should be."""

    def __init__(
        self,
        counts: Counts,
        figures: Figures,
        observe: Callable[[], Sequence[Replica]],
        wanted: Callable[[], Mapping[str, int]],
        monotonic: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._counts = counts
        self._figures = figures
        self._observe = observe
        self._wanted = wanted
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._timelines = Timelines(self._step() + 1)
        self._before: dict[str, Tally] | None = None  # as of the last look
        self._latest: dict[str, Traffic] = {}  # of APIs that answered in the last step
        self._completed = -1
        self._looks_due = 0
        self._known_at = monotonic()

    # --- the clock ---------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self.tick()
                if self._step() % SAVE_EVERY_STEPS == 0:
                    self._counts.save()
                await asyncio.sleep(STEP_S - self._monotonic() % STEP_S + _LATE_S)
        finally:
            self._counts.save()

    async def tick(self) -> None:
        """One step. Without figures it is left out."""
        load = self._figures.load()
        if load is None:
            return
        if load.completed != self._completed:
            self._completed, self._looks_due = load.completed, _LOOKS_AFTER_NEWS
        if self._looks_due:
            with suppress(GatewayError):
                await self._counts.look()
                self._looks_due -= 1
                self._note(load)
        else:
            self._note(load)

    def _note(self, load: Load) -> None:
        step, now = self._step(), self._monotonic()
        traffic = self._traffic(max(now - self._known_at, STEP_S / 2))
        self._known_at = now
        standings = self._standings(load)
        for api in {*standings, *traffic, *self._timelines.known()}:
            self._timelines.note(step, api, traffic.get(api, QUIET), standings.get(api, Standing()))
        self._timelines.forget_old(step)

    def _traffic(self, elapsed_s: float) -> Mapping[str, Traffic]:
        """Of the APIs that answered since the last look, which may be the first one: then nobody knows."""
        before, totals = self._before, self._counts.totals()
        if before is None:
            found = {}
        else:
            changed = (api for api, total in totals.items() if api and before.get(api) is not total)
            found = {
                api: self._traffic_of(api, before.get(api) or self._counts.taken_up(api), totals[api], elapsed_s)
                for api in changed
            }
        self._before, self._latest = dict(totals), found
        return found

    def _traffic_of(self, api: str, before: Tally, now: Tally, elapsed_s: float) -> Traffic:
        answered = now.count(_is_answer) - before.count(_is_answer)
        errors = now.count(_is_error) - before.count(_is_error)
        former = before.buckets or (0,) * len(now.buckets)
        buckets = [mine - its for mine, its in zip(now.buckets, former, strict=False)]
        quantiles = [percentile(ratio, _BOUNDS_MS, buckets) for ratio in (0.50, 0.95, 0.99)]
        if answered and quantiles[0] is None and (latest := self._latest.get(api)):  # the histogram comes later
            quantiles = [latest.p50_ms, latest.p95_ms, latest.p99_ms]
        return Traffic(answered / elapsed_s, errors / elapsed_s, *quantiles)

    def _standings(self, load: Load) -> Mapping[str, Standing]:
        """Of every API but those without replicas, of which none is wanted, and without a request."""
        waiting, wanted = self._figures.waiting(), self._wanted()
        ready: dict[str, int] = {}
        queued = dict(waiting)
        for replica in self._observe():
            ready[replica.api] = ready.get(replica.api, 0) + (replica.state == "ready")
            queued[replica.api] = queued.get(replica.api, 0) + replica.queued
        busy = {api for api, requests in load.by_api.items() if requests.in_flight}
        return {
            api: Standing(
                in_flight=max(load.by_api.get(api, Requests()).in_flight, waiting.get(api, 0)),
                queued=queued.get(api, 0),
                replicas_ready=ready.get(api, 0),
                replicas_wanted=wanted.get(api, 0),
            )
            for api in {*busy, *ready, *waiting, *(api for api, count in wanted.items() if count)}
        }

    # --- reading -----------------------------------------------------------------------------------------
    def timeline(self, api: str, window_s: float) -> Timeline:
        """The steps of the window that are over."""
        step = self._step()
        return self._timelines.timeline(api, step, max(1, round(window_s / STEP_S)), self._start_of(step))

    def answered(self, api: str, window_s: float) -> tuple[int, int, float]:
        """Requests and errors in the steps of the window that are over, and how many seconds of it are known."""
        return self._timelines.answered(api, self._step(), max(1, round(window_s / STEP_S)))

    def sparklines(self) -> Mapping[str, Sparkline]:
        """Of the last quarter of an hour; APIs that were at rest are missing."""
        step = self._step()
        return self._timelines.sparklines(step, self._start_of(step))

    def _step(self) -> int:
        """The step that ended last: what a tick sees is what came about in it."""
        return int(self._monotonic() // STEP_S) - 1

    def _start_of(self, step: int) -> float:
        return self._wall_clock() - (self._monotonic() - step * STEP_S)


def _is_answer(status: int) -> bool:
    return status > 0


def _is_error(status: int) -> bool:
    return status >= 500
