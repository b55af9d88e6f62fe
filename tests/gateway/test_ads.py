"""The ADS server with a real Envoy that refuses, and with a real event loop of the engine's kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import uvloop
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from hatchway.gateway.ads import AdsServer
from hatchway.gateway.envoy import ROUTE_CONFIGURATION, Json, Resources, cluster_name, make_resources
from hatchway.gateway.ports import choose_port
from hatchway.gateway.process import EnvoyProcess
from hatchway.gateway.routes import Endpoint, Route, RouteTable
from hatchway.gateway.wire import CLUSTER, ENDPOINTS, LISTENER, ROUTES
from hatchway.settings import Settings
from tests.gateway.conftest import TIMEOUT_S, Replicas, a_route, running


class Served:
    """An ADS server and an Envoy that listens to it."""

    def __init__(self, ads: AdsServer, port: int, changes: list[str]) -> None:
        self.ads = ads
        self.changes = changes
        self._port = port

    def resources(self, *routes: Route) -> Resources:
        return make_resources(RouteTable(routes), host="127.0.0.1", port=self._port, activator="/run/act")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                await self.ads.wait_change()

    async def get(self, path: str) -> int:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"http://127.0.0.1:{self._port}{path}")).status_code


@asynccontextmanager
async def served(settings: Settings, *routes: Route) -> AsyncIterator[Served]:
    port = choose_port("127.0.0.1", 0, settings.gateway_dir / "port")
    process = EnvoyProcess(settings)
    await process.start(port)
    changes: list[str] = []
    made = Served(AdsServer(changes.append), port, changes)
    made.ads.publish(made.resources(*routes))
    serving = asyncio.create_task(made.ads.serve(settings.ads_socket))
    try:
        await made.until(lambda: all(made.ads.is_settled(route.api) for route in routes))
        yield made
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await process.stop()


def broken(resources: Resources, api: str, part: str) -> Resources:
    """The same with something in it that Envoy refuses."""
    found = resources.apis[api]
    changes: dict[str, Json] = {
        "cluster": {**found.cluster, "connect_timeout": "-1s"},
        "assignment": {
            **found.assignment,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": "x" * 200}}}}]}],
        },
        "match": {
            "action": {"name": "x", "typed_config": {"@type": ROUTE_LIST, "routes": [{"match": {"prefix": "/"}}]}}
        },
    }
    return replace(resources, apis={**resources.apis, api: replace(found, **{part: changes[part]})})  # type: ignore[arg-type]


ROUTE_LIST = "type.googleapis.com/envoy.config.route.v3.RouteList"


@pytest.mark.parametrize("part", ["cluster", "assignment", "match"])
async def test_what_envoy_refuses_is_told_of_its_api_and_the_last_good_version_stays(
    settings: Settings, replicas: Replicas, part: str
) -> None:
    replica = await replicas.start()
    routes = [a_route(name, replica) for name in ("bad", "good", "other")]
    async with served(settings, *routes) as gateway:
        newer = gateway.resources(*routes, a_route("new", replica))
        gateway.ads.publish(broken(newer, "bad", part))
        await gateway.until(lambda: gateway.ads.rejections.keys() == {"bad"} and gateway.ads.is_settled("new"))
        assert not gateway.ads.is_settled("bad")
        for name in ("bad", "good", "new"):
            assert await gateway.get(f"/{name}") == 200
        gateway.ads.publish(newer)
        await gateway.until(lambda: gateway.ads.is_settled("bad"))
        assert gateway.ads.rejections == {}


@pytest.mark.parametrize("part", ["cluster", "assignment", "match"])
async def test_a_new_envoy_serves_the_rest(settings: Settings, replicas: Replicas, part: str) -> None:
    replica = await replicas.start()
    async with served(settings) as gateway:
        routes = [a_route(name, replica) for name in ("bad", "good", "other")]
        gateway.ads.publish(broken(gateway.resources(*routes), "bad", part))
        await gateway.until(lambda: all(gateway.ads.is_settled(name) for name in ("good", "other")))
        assert gateway.ads.rejections.keys() == {"bad"}
        assert await gateway.get("/good") == 200


async def test_changes_are_told(settings: Settings, replicas: Replicas) -> None:
    async with served(settings, a_route("iris", await replicas.start())) as gateway:
        gateway.changes.clear()
        gateway.ads.publish(gateway.resources(a_route("new")))
        await gateway.until(lambda: gateway.ads.is_settled("new") and gateway.ads.is_settled("iris"))
        assert set(gateway.changes) == {"new", "iris"}


class PromptEnvoy:
    """Answers a response while it is still being sent, as a real one does on a busy machine."""

    def __init__(self, *clusters: str) -> None:
        self._requests: asyncio.Queue[DeltaDiscoveryRequest] = asyncio.Queue()
        for type_url, names in {CLUSTER: (), ENDPOINTS: clusters, LISTENER: (), ROUTES: (ROUTE_CONFIGURATION,)}.items():
            self._requests.put_nowait(DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names))

    async def listen(self, ads: AdsServer) -> None:
        async for response in ads.stream(self._sent()):
            self._requests.put_nowait(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce))
            await self._requests.join()

    async def _sent(self) -> AsyncIterator[DeltaDiscoveryRequest]:
        while True:
            yield await self._requests.get()
            self._requests.task_done()  # asked for the next one: this one was taken in


async def test_whoever_saw_an_api_unsettled_hears_that_it_is_settled() -> None:
    changes: list[str] = []
    ads = AdsServer(changes.append)

    def publish(*addresses: str) -> None:
        route = Route("iris", "/iris", tuple(Endpoint(address) for address in addresses))
        ads.publish(make_resources(RouteTable((route,)), host="127.0.0.1", port=1, activator="/run/act"))

    async def settled() -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not ads.is_settled("iris"):
                await ads.wait_change()

    publish()
    listening = asyncio.create_task(PromptEnvoy(cluster_name("iris")).listen(ads))
    await settled()
    changes.clear()
    publish("/tmp/replica.sock")
    assert not ads.is_settled("iris")
    await settled()
    assert changes == ["iris", "iris"]  # that it was not, and that it is
    listening.cancel()


async def test_nothing_is_served_before_something_was_published(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="nothing was published"):
        await AdsServer(lambda api: None).serve(tmp_path / "ads.sock")


def test_the_server_runs_in_the_loop_of_the_engine(settings: Settings) -> None:
    async def engine() -> None:
        async with running(settings) as gateway:
            await gateway.serve(a_route("iris"))
            assert (await gateway.client.get("/iris")).status_code == 503

    uvloop.run(engine())
