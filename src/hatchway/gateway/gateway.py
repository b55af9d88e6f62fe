"""The gateway as the engine and the controller see it: Envoy, its configuration, and the activator beside it.

start()  adopts or starts both        apply(table)  makes a route table the newest, at once
run()    serves ADS, watches both     settled(api)  whether Envoy has acknowledged it
                                      waiting()     what the activator holds, for the autoscaler
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from hatchway.errors import GatewayError, StorageError
from hatchway.gateway.activator_process import ActivatorProcess
from hatchway.gateway.ads import AdsServer
from hatchway.gateway.demand import Demand, reports_at
from hatchway.gateway.envoy import Limits, Resources, make_resources
from hatchway.gateway.journal import Entry, Journal
from hatchway.gateway.observing import Observing
from hatchway.gateway.ports import choose_port, ip_address, to_url
from hatchway.gateway.process import DRAIN_TIMEOUT_S, EnvoyProcess
from hatchway.gateway.routes import RouteTable
from hatchway.gateway.served import Served
from hatchway.gateway.shared import Shared
from hatchway.gateway.stats import Load, Requests
from hatchway.settings import Settings

log = logging.getLogger(__name__)

IN_FLIGHT_SPACING_S = 0.05  # half of the time after which an API that drains looks again
SERVED_SPACING_S = 0.2


class Gateway:
    """One per home.

    `on_change(api)` is called when an API becomes settled or refused, or stops being so; `on_wanted(api)` when requests
    begin to wait for an API without a replica, and once more after a restart of the engine if they still do;
    `on_end` with what an Envoy has served when it is ended.
    """

    def __init__(
        self,
        settings: Settings,
        on_change: Callable[[str], None],
        on_wanted: Callable[[str], None] = lambda api: None,
        on_end: Callable[[Served], None] = lambda served: None,
        *,
        limits: Limits | None = None,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._host = ip_address(settings.host)
        self._port = 0
        self._process = EnvoyProcess(settings, on_end)
        self._in_flight = Shared(self._process.admin.in_flight, spacing_s=IN_FLIGHT_SPACING_S)
        self._served = Shared(self._process.served, spacing_s=SERVED_SPACING_S)
        self._load: Load | None = None
        self._journal = Journal(settings.logs_dir / "requests.jsonl", self._process.admin.write_logs)
        self._activator = ActivatorProcess(settings)
        self._demand = Demand(reports_at(settings.activator_reports_socket), on_wanted)
        self._ads = AdsServer(on_change)
        self._resources: Resources | None = None
        self._is_applied = asyncio.Event()

    # --- what it is --------------------------------------------------------------------------------------
    @property
    def port(self) -> int:
        """Known after `start`."""
        return self._port

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def activator_pid(self) -> int | None:
        return self._activator.pid

    @property
    def url(self) -> str:
        """Where a client on this machine reaches it, without a slash at the end."""
        return to_url(self._host, self._port)

    def rejection(self, api: str) -> str | None:
        """Why Envoy refused the newest configuration of the API; the last good one stays in place."""
        return self._ads.rejection(api)

    def settled(self, api: str) -> bool:
        """Whether Envoy has acknowledged the newest routes and endpoints of the API, or its removal."""
        return self._ads.is_settled(api)

    # --- its life ----------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Adopt Envoy and the activator of a former engine, or start them. Raises GatewayError or StorageError."""
        try:
            self._settings.gateway_dir.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise StorageError(f"cannot create {self._settings.gateway_dir}: {exc.strerror}") from exc
        await self._start_envoy()  # first: where its port is taken, nothing is left behind
        if not self._activator.adopt():
            await self._activator.start()
        self._activator.retire_others()

    async def _start_envoy(self) -> None:
        adopted = self._process.adopt()
        await self._process.end_others()
        if adopted is not None and self._settings.gateway_port in (None, 0, adopted):
            self._port = adopted
            return
        self._port = choose_port(self._host, self._settings.gateway_port, self._settings.gateway_dir / "port")
        if adopted is None:
            await self._process.start(self._port)
        else:
            self._process.move(self._port)  # the listener moves over ADS, nothing is restarted

    async def run(self) -> None:
        """Serve Envoy its configuration, keep it and the activator running, until cancelled. Then both run on.

        Waits for the first `apply`. Raises GatewayError when Envoy cannot open its port.
        """
        await self._is_applied.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ads.serve(self._settings.ads_socket), name="gateway-ads")
            tasks.create_task(self._process.watch(), name="gateway-envoy")
            tasks.create_task(self._watch_listener(), name="gateway-listener")
            tasks.create_task(self._activator.watch(), name="gateway-activator")
            tasks.create_task(self._journal.rotate_forever(), name="gateway-journal")
            tasks.create_task(self._demand.follow(), name="gateway-demand")

    async def stop(self, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """End Envoy after the requests in flight, at most `drain_timeout_s` later. `run` must have been cancelled.

        Held requests are answered first: nothing will come up for them.
        """
        self._activator.refuse_all()
        await self._process.stop(drain_timeout_s)
        await self._activator.stop()

    # --- what it serves ----------------------------------------------------------------------------------
    def apply(self, table: RouteTable) -> None:
        """Make this table the newest. Cheap; may be called before `run`, after `start`."""
        self._resources = make_resources(
            table,
            host=self._host,
            port=self._port,
            activator=str(self._settings.activator_socket),
            observing=Observing(journal=str(self._journal.path), traces=self._settings.traces),
            limits=self._limits,
            former=self._resources,
        )
        self._ads.publish(self._resources)
        self._is_applied.set()

    def waiting(self) -> Mapping[str, int]:
        """API -> requests that the activator holds for it; an API for which it holds none is missing."""
        return self._demand.waiting()

    async def in_flight(self) -> dict[str, int]:
        """Address -> requests in flight there, draining endpoints included, as of now. Raises GatewayError."""
        return await self._in_flight.get()

    async def requests(self) -> dict[str, Requests]:
        """API -> its requests: in flight and held now, and in all. Raises GatewayError."""
        try:
            self._load = await self._process.admin.load()
        except GatewayError:
            self._load = None
            raise
        return dict(self._load.by_api)

    def load(self) -> Load | None:
        """What `requests` found last, a second ago at most for as long as the autoscaler asks. None: nobody knows."""
        return self._load

    async def served(self) -> Served:
        """What the Envoy that runs now has served, as of now. Raises GatewayError."""
        return await self._served.get()

    async def find_request(self, request_id: str) -> list[Entry]:
        """What the journal has of a request: nothing of one that was fast and fine."""
        return await self._journal.find(request_id)

    async def _watch_listener(self) -> None:
        while True:
            if (message := self._ads.listener_rejection) is not None:
                raise GatewayError(
                    f"Envoy cannot listen on {self._host}:{self._port}: {message}",
                    hint="another process has taken the port meanwhile; HATCHWAY_GATEWAY_PORT names another one",
                )
            await self._ads.wait_change()
