"""What all gateways get, kept current from the cluster's objects and served by every operator, leader or not.

    RealtimeAPIs and pods, watched -> routing.py -> a route table -> Envoy's resources -> ADS

It is served once both lists are complete: an Envoy that was told of half of the APIs would drop the other half.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from hatchway.gateway.ads import AdsServer
from hatchway.gateway.agreement import Expected
from hatchway.gateway.envoy import Resources, make_resources
from hatchway.gateway.observing import Observing
from hatchway.gateway.routes import Route
from hatchway.gateway_pod.files import ACTIVATOR, JOURNAL
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.names import API, GATEWAY_PORT, label
from hatchway.kubernetes.resources import PODS, REALTIME_APIS, Json
from hatchway.kubernetes.tls import Contexts, TlsFiles
from hatchway.kubernetes.watching import Watch
from hatchway.operator.routing import routing_of, to_route, to_table

log = logging.getLogger(__name__)

_EVERY_HOST = "0.0.0.0"  # each Envoy listens on the address of its own pod instead


@dataclass(frozen=True)
class GatewayWays:
    """How gateways and operators find each other.

    address:  HOST:PORT where Envoys are given their configuration.
    tls:      the operator's certificate, and who signs for gateways.
    url:      where clients reach the gateways.
    """

    address: str
    tls: TlsFiles
    url: str


class Configuration:
    """`on_change(api)` is called when what gateways are to have of an API is another than before."""

    def __init__(self, server: ApiServer, on_change: Callable[[str], None] = lambda api: None) -> None:
        self._on_change = on_change
        self._ads = AdsServer(lambda api: None)
        self._pods: defaultdict[str, dict[str, Json]] = defaultdict(dict)  # API -> name -> pod
        self._routings: dict[str, Json] = {}
        self._routes: dict[str, Route] = {}
        self._changed: set[str] = set()  # APIs to be looked at
        self._has_changed = asyncio.Event()
        self._is_complete = asyncio.Event()
        self._resources: Resources | None = None
        self._watches = (
            Watch(server, REALTIME_APIS, self._resource_changed, trim=_with_routing),
            Watch(server, PODS, self._pod_changed, labels=API, trim=_with_address),
        )

    # --- what others ask ---------------------------------------------------------------------------------
    def routing(self, api: str) -> Json | None:
        """What stands in the API's status, as last seen."""
        return self._routings.get(api)

    def expected(self, api: str) -> Expected | None:
        """What gateways should have of the API; None: nothing."""
        route, version = self._routes.get(api), self._ads.version(api)
        return None if route is None or version is None else Expected(version, route.endpoints)

    def addresses(self) -> set[str]:
        """Of all replicas that gateways know of."""
        return {endpoint.address for route in self._routes.values() for endpoint in route.endpoints}

    def listen(self, on_change: Callable[[str], None]) -> None:
        """Have somebody else told of changes from now on."""
        self._on_change = on_change

    @property
    def is_complete(self) -> bool:
        return self._is_complete.is_set()

    async def complete(self) -> None:
        """Returns when all that is in the cluster is known, and published."""
        await self._is_complete.wait()

    # --- its life ----------------------------------------------------------------------------------------
    async def follow(self) -> None:
        """Keep what gateways get current, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(watch.run(), name="watch for gateways")
            for watch in self._watches:
                await watch.complete()
            self._publish()
            self._is_complete.set()
            while True:
                await self._has_changed.wait()
                self._publish()

    async def serve(self, address: str, tls: TlsFiles) -> None:
        """Answer Envoys at HOST:PORT, until cancelled."""
        await self.complete()
        await self._ads.serve_tls(address, _credentials(tls))

    # --- the cluster -------------------------------------------------------------------------------------
    def _resource_changed(self, before: Json | None, after: Json | None) -> None:
        resource = after or before
        assert resource is not None
        name = resource["metadata"]["name"]
        routing = None if after is None else routing_of(after)
        if routing == self._routings.get(name):
            return
        if routing is None:
            del self._routings[name]
        else:
            self._routings[name] = routing
        self._note(name)

    def _pod_changed(self, before: Json | None, after: Json | None) -> None:
        pod = after or before
        assert pod is not None
        api, name = label(pod, API), pod["metadata"]["name"]
        if after is not None:
            self._pods[api][name] = after
        else:
            self._pods[api].pop(name, None)
            if not self._pods[api]:
                del self._pods[api]
        self._note(api)

    def _note(self, api: str) -> None:
        self._changed.add(api)
        self._has_changed.set()

    def _publish(self) -> None:
        self._has_changed.clear()
        changed, self._changed = self._changed, set()
        moved = [api for api in changed if self._look(api)]
        if not moved and self._resources is not None:
            return
        self._resources = make_resources(
            to_table(self._routes.values()),
            host=_EVERY_HOST,
            port=GATEWAY_PORT,
            activator=f"./{ACTIVATOR}",  # Envoys run in the folder where it is
            observing=Observing(journal=f"./{JOURNAL}"),
            former=self._resources,
        )
        self._ads.publish(self._resources)
        for api in moved:
            self._on_change(api)

    def _look(self, api: str) -> bool:
        """Whether its route is another than before."""
        routing = self._routings.get(api)
        route = None if routing is None else to_route(api, routing, self._pods.get(api, {}).values())
        if route == self._routes.get(api):
            return False
        if route is None:
            del self._routes[api]
        else:
            self._routes[api] = route
        return True


@dataclass(frozen=True)
class GatewayAccess:
    """What every operator has of gateways: what they are to do, and how they are spoken to."""

    configuration: Configuration
    contexts: Contexts
    url: str


def _with_routing(resource: Json) -> Json:
    metadata = {name: resource["metadata"][name] for name in ("name", "resourceVersion")}
    return {"metadata": metadata, "status": {"routing": routing_of(resource)}}


def _with_address(pod: Json) -> Json:
    """What `routing.py` reads of ten thousand of them."""
    metadata, status = pod["metadata"], pod.get("status", {})
    kept = ("name", "resourceVersion", "labels", "deletionTimestamp")
    ready = [each for each in status.get("conditions", ()) if each["type"] == "Ready"]
    return {
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "status": {"podIP": status.get("podIP", ""), "conditions": ready},
    }


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """Read anew for a connection that begins after the files were replaced."""
    last = tls.state()

    def read() -> grpc.ServerCertificateConfiguration:
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=tls.authority.read_bytes())

    def read_if_new() -> grpc.ServerCertificateConfiguration | None:
        nonlocal last
        state = tls.state()
        if state == last:
            return None
        last = state
        return read()

    return grpc.dynamic_ssl_server_credentials(read(), read_if_new, require_client_authentication=True)
