"""Counts, timelines and the answer to Prometheus of one engine, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from hatchway.backends import Backend
from hatchway.gateway.gateway import Gateway
from hatchway.gateway.served import Served
from hatchway.metrics.collector import Collector, Drift, Sources, no_drift
from hatchway.metrics.counts import Counts, Facts
from hatchway.metrics.sampling import Sampler
from hatchway.spec.status import ApiStatus
from hatchway.spec.timeline import Sparkline, Timeline


class Apis(Protocol):
    """What the controller knows."""

    def names(self) -> Sequence[str]: ...
    def get(self, name: str) -> ApiStatus:
        """Raises NotFound."""
        ...

    def wanted(self) -> Mapping[str, int]:
        """How many replicas each API should have; one that is stopped may be missing."""
        ...


class Metrics:
    """Of one home. `drift` says what drifts."""

    def __init__(
        self, gateway: Gateway, backend: Backend, facts: Facts, apis: Apis, drift: Callable[[], Drift] = no_drift
    ) -> None:
        self._apis = apis
        self._counts = Counts(gateway.served, facts)
        self._sampler = Sampler(self._counts, gateway, backend.observe, apis.wanted, time.monotonic, time.time)
        self._collector = Collector(
            Sources(
                counts=self._counts,
                load=gateway.load,
                waiting=gateway.waiting,
                wanted=apis.wanted,
                apis=apis.names,
                status=apis.get,
                observe=backend.observe,
                measure=backend.measure,
                drift=drift,
            )
        )

    def restore(self) -> None:
        """Take up what a former engine counted, before the gateway starts."""
        self._counts.restore(self._apis.names())

    def ended(self, served: Served) -> None:
        """An Envoy has ended after having served this much."""
        self._counts.take(served)
        self._counts.save()

    async def run(self) -> None:
        """Look at every API until cancelled."""
        await self._sampler.run()

    async def text(self) -> str:
        """All metrics, as Prometheus reads them."""
        return await self._collector.text()

    def timeline(self, api: str, window_s: float) -> Timeline:
        """Of one API, the window that ends now."""
        return self._sampler.timeline(api, window_s)

    def answered(self, api: str, window_s: float) -> tuple[int, int, float]:
        """Requests and those answered with 5xx in the window that ends now, and how many seconds of it are known."""
        return self._sampler.answered(api, window_s)

    def sparklines(self) -> Mapping[str, Sparkline]:
        """Of all APIs that were not at rest."""
        return self._sampler.sparklines()
