"""All gateways of a cluster as the controller sees one: what the leader tells them, and what it learns of them.

    apply(table)   routes become status.routing of their RealtimeAPIs; from there every operator makes what Envoys get
    settled(api)   whether every gateway has that, by what its own Envoy says
    in_flight()    whether anything is, or can still come to be, under way to a replica through any of them

A gateway that is gone does not count. One that does not answer might still send requests to whatever it knew, so it
is waited for, but not for ever: after GIVEN_UP_S it counts no longer. What it then sends to a replica that is gone is
refused there, and tried elsewhere by its Envoy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from hatchway.errors import GatewayError
from hatchway.gateway.agreement import Sums, has_taken, open_requests
from hatchway.gateway.journal import Entry
from hatchway.gateway.readings import Hosts, Versions
from hatchway.gateway.routes import RouteTable
from hatchway.gateway.shared import Shared
from hatchway.gateway.stats import Load, Requests
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.names import COMPONENT
from hatchway.kubernetes.resources import PODS, Json
from hatchway.kubernetes.watching import Watch
from hatchway.operator.configuration import GatewayAccess
from hatchway.operator.gateway_link import GatewayLink
from hatchway.operator.routing import routing_of, to_routing

log = logging.getLogger(__name__)

GIVEN_UP_S = 30.0
SPACING_S = 0.05  # of looks for APIs that drain
FIRST_LOOK_S, LONGEST_LOOK_S = 0.1, 5.0  # the pause after a look grows for as long as nothing new is seen

T = TypeVar("T")


@dataclass
class _Gateway:
    """One pod."""

    link: GatewayLink
    follower: asyncio.Task[None]
    heard_at: float | None  # its last answer, or when it became ready; None: nobody was ever sent there
    hosts: Hosts | None = None  # as of the last look; None: it did not answer
    versions: Versions = field(default_factory=Versions)


class Gateways:
    """`access` is how every operator reaches them.

    `on_change(api)` is called when an API becomes settled or refused, or stops being so; `on_wanted(api)` when requests
    begin to wait for it at a gateway; `on_routing(api)` when its status has to be written.
    """

    def __init__(
        self,
        server: ApiServer,
        access: GatewayAccess,
        *,
        on_change: Callable[[str], None],
        on_wanted: Callable[[str], None],
        on_routing: Callable[[str], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.url = access.url
        self._configuration = access.configuration
        self._context = access.contexts.client
        self._on_change = on_change
        self._on_wanted = on_wanted
        self._on_routing = on_routing
        self._monotonic = monotonic
        self._pods = Watch(server, PODS, self._pod_changed, labels=f"{COMPONENT}=gateway", trim=_without_spec)
        self._gateways: dict[str, _Gateway] = {}  # by the uid of the pod
        self._routings: dict[str, Json | None] = {}  # None: it had a route, and has none any more
        self._reported: dict[str, tuple[bool, str | None]] = {}
        self._sums = Sums()
        self._look = Shared(self._look_now, spacing_s=SPACING_S)
        self._is_due = asyncio.Event()
        self._load: Load | None = None
        self._watching: list[asyncio.Task[None]] = []

    # --- its life ----------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Return when it is known which gateways there are, and what they should have."""
        self._watching.append(asyncio.create_task(self._pods.run(), name="watch gateways"))
        await self._pods.complete()
        await self._configuration.complete()
        self._configuration.listen(self._expect)

    async def run(self) -> None:
        """Look at the gateways until cancelled; they run on."""
        pause_s = FIRST_LOOK_S
        while True:
            self._is_due.clear()
            await self._look.get()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._is_due.wait()
            pause_s = FIRST_LOOK_S if self._is_due.is_set() else min(2 * pause_s, LONGEST_LOOK_S)

    async def close(self) -> None:
        """The last thing that is called."""
        self._configuration.listen(lambda api: None)
        tasks = [*self._watching, *(gateway.follower for gateway in self._gateways.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what it tells -----------------------------------------------------------------------------------
    def apply(self, table: RouteTable) -> None:
        """Make this table the newest. Which endpoints there are the pods say, not the table."""
        newest = {route.api: to_routing(route) for route in table.routes}
        gone = [api for api, routing in self._routings.items() if routing is not None and api not in newest]
        for api, routing in (*newest.items(), *((api, None) for api in gone)):
            if api not in self._routings or self._routings[api] != routing:
                self._routings[api] = routing
                self._on_routing(api)
                self._is_due.set()

    def routing(self, resource: Json) -> Json | None:
        """What is to stand in the status of an API. What we have not decided yet stays as the leader before us did."""
        return self._routings.get(resource["metadata"]["name"], routing_of(resource))

    # --- what it knows -----------------------------------------------------------------------------------
    def settled(self, api: str) -> bool:
        """Whether every gateway has the newest routes and endpoints of the API, or its removal."""
        return self._is_written(api) and self._have_taken(api)

    def rejection(self, api: str) -> str | None:
        """Why an Envoy refused the newest configuration of the API; the last good one stays in place."""
        refusals = (gateway.versions.refused.get(api) for gateway in self._gateways.values())
        return next((message for message in refusals if message is not None), None)

    def waiting(self) -> Mapping[str, int]:
        """API -> requests that are held for it, at all gateways."""
        found: dict[str, int] = {}
        for gateway in self._gateways.values():
            for api, count in gateway.link.waiting().items():
                found[api] = found.get(api, 0) + count
        return found

    async def in_flight(self) -> dict[str, int]:
        """Address -> requests in flight there, as of now; at 0 all gateways have let go of it."""
        await self._look.get()
        readings = [gateway.hosts for gateway in self._gateways.values() if self._counts(gateway)]
        return open_requests(self._configuration.addresses(), readings)

    async def requests(self) -> dict[str, Requests]:
        """API -> its requests: in flight and held now, and in all. Raises GatewayError when no gateway answers."""
        asked = dict(self._gateways)
        loads = await asyncio.gather(*(self._ask(each, lambda link: link.load()) for each in asked.values()))
        for (uid, gateway), load in zip(asked.items(), loads, strict=True):
            if uid not in self._gateways:  # it went meanwhile
                continue
            if load is not None:
                self._sums.learn(uid, load)
            elif not self._counts(gateway):
                self._sums.silence(uid)
        if not any(load is not None for load in loads):
            self._load = None
            raise GatewayError("no gateway answers")
        self._load = Load(self._sums.by_api(), sum(load.completed for load in loads if load is not None))
        return dict(self._load.by_api)

    def load(self) -> Load | None:
        """What `requests` found last. None: nobody knows."""
        return self._load

    async def find_request(self, request_id: str) -> list[Entry]:
        """What the gateways noted of a request: nothing of one that was fast and fine."""
        gateways = self._gateways.values()
        found = await asyncio.gather(
            *(self._ask(each, lambda link: link.find_request(request_id)) for each in gateways)
        )
        return sorted((entry for entries in found for entry in entries or ()), key=lambda entry: entry.at)

    # --- looking -----------------------------------------------------------------------------------------
    async def _look_now(self) -> None:
        """Ask all of them what they have."""
        await asyncio.gather(*map(self._look_at, self._gateways.values()))
        self._report()

    async def _look_at(self, gateway: _Gateway) -> None:
        gateway.hosts, versions = await asyncio.gather(
            self._ask(gateway, lambda link: link.hosts()), self._ask(gateway, lambda link: link.versions())
        )
        gateway.versions = versions or gateway.versions

    async def _ask(self, gateway: _Gateway, question: Callable[[GatewayLink], Awaitable[T]]) -> T | None:
        try:
            answer = await question(gateway.link)
        except GatewayError as exc:
            log.debug("%s", exc)
            return None
        gateway.heard_at = self._monotonic()
        return answer

    def _counts(self, gateway: _Gateway) -> bool:
        """Whether nothing may happen without it: it answers, or did until a moment ago."""
        if gateway.hosts is not None:
            return True
        return gateway.heard_at is not None and self._monotonic() - gateway.heard_at < GIVEN_UP_S

    def _report(self) -> None:
        """Tell of every API that is settled or refused now and was not, or the other way round."""
        for api, routing in list(self._routings.items()):
            state = (self.settled(api), self.rejection(api))
            if self._reported.get(api) != state:
                self._reported[api] = state
                self._is_due.set()
                self._on_change(api)
            if routing is None and state[0]:  # nobody knows of it any more
                del self._routings[api], self._reported[api]

    def _have_taken(self, api: str) -> bool:
        if not self._gateways:
            return True  # nobody can send a request anywhere
        expected = self._configuration.expected(api)
        asked = [gateway for gateway in self._gateways.values() if self._counts(gateway)]
        return bool(asked) and all(
            gateway.hosts is not None and has_taken(api, expected, gateway.hosts, gateway.versions) for gateway in asked
        )

    def _is_written(self, api: str) -> bool:
        """Whether operators have heard what we want."""
        return self._routings.get(api) == self._configuration.routing(api)

    def _expect(self, api: str) -> None:
        """The cluster's objects say something else of the API: gateways should have that soon.

        Told, so that whoever sees the API unsettled now hears when it is settled.
        """
        if self._reported.get(api, (False, None))[0] and not self.settled(api):
            self._reported[api] = (False, self.rejection(api))
            self._on_change(api)
        self._is_due.set()

    # --- which there are ---------------------------------------------------------------------------------
    def _pod_changed(self, before: Json | None, after: Json | None) -> None:
        for uid in _uids(before) - _uids(after):
            self._drop(uid)
        if after is None:
            return
        host = after.get("status", {}).get("podIP")
        for uid in _uids(after):
            is_ready = any(
                each["type"] == "Ready" and each["status"] == "True" for each in after["status"].get("conditions", ())
            )
            known = self._gateways.get(uid)
            if _has_ended(after):
                self._drop(uid)
            elif known is None and host:
                link = GatewayLink(host, self._context, self._on_wanted)
                follower = asyncio.create_task(link.follow(), name=f"gateway {host}")
                self._gateways[uid] = _Gateway(link, follower, self._monotonic() if is_ready else None)
            elif known is not None and is_ready and known.heard_at is None:
                known.heard_at = self._monotonic()
        self._is_due.set()

    def _drop(self, uid: str) -> None:
        gateway = self._gateways.pop(uid, None)
        if gateway is not None:
            gateway.follower.cancel()
            self._sums.forget(uid)
            self._is_due.set()


def _uids(pod: Json | None) -> set[str]:
    return set() if pod is None else {pod["metadata"]["uid"]}


def _has_ended(pod: Json) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _without_spec(pod: Json) -> Json:
    kept = ("name", "uid", "resourceVersion")
    metadata = {name: pod["metadata"][name] for name in kept}
    return {"metadata": metadata, "status": pod.get("status", {})}
