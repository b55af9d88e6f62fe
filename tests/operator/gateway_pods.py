"""Gateways in pods of their own on a cluster of processes: their objects, the operator's certificate, a Service."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from hatchway.gateway.process import find_envoy
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.names import COMPONENT, GATEWAY_PORT, label
from hatchway.kubernetes.resources import Json
from hatchway.kubernetes.tls import TlsFiles
from hatchway.operator.configuration import GatewayWays
from hatchway.operator.gateway_objects import GATEWAY, LET_GO_S, make_gateway_objects, operators_address
from hatchway.operator.secrets import make_secrets
from tests.backends.kubernetes.running import IMAGE as REPLICA_IMAGE
from tests.kubernetes.double import Cluster
from tests.kubernetes.double.services import pass_both_ways
from tests.operator.builders import an_installation

SRC = Path(__file__).resolve().parents[2] / "src"
_INSTALLATION = an_installation()
IMAGE = {
    **REPLICA_IMAGE,
    _INSTALLATION.pods.python: sys.executable,
    _INSTALLATION.pods.package_dir: str(SRC),
    f"{_INSTALLATION.pods.package_dir}/envoy/_bin/envoy": str(find_envoy(None)),
}


def operator_tls(folder: Path) -> TlsFiles:
    """What an operator has mounted."""
    keys = _INSTALLATION.keys
    folder.mkdir(parents=True, exist_ok=True)
    files = {"ca.crt": keys.authority.certificate, "tls.crt": keys.operator.certificate, "tls.key": keys.operator.key}
    for name, text in files.items():
        (folder / name).write_text(text)
    return TlsFiles(folder)


async def install(server: ApiServer, operators: str, *, gateways: int) -> None:
    """So many gateways, which come to `operators`, HOST:PORT. A load balancer of a test lets go in a second."""
    for secret in make_secrets(_INSTALLATION.keys):
        await server.apply({**secret, "metadata": {**secret["metadata"], "namespace": "default"}})
    for obj in make_gateway_objects(_INSTALLATION):
        if obj["kind"] == "Deployment":
            obj["spec"]["replicas"] = gateways
            _put(obj, operators_address("default"), operators)
            _put(obj, str(LET_GO_S), "1")
        await server.apply(obj)


def _put(node: object, old: str, new: str) -> None:
    """Another word in all commands and variables."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs):
        if value == old:
            node[key] = new  # type: ignore[index]  # it is one of the two
        else:
            _put(value, old, new)


def gateway_pods(cluster: Cluster) -> list[Json]:
    return [pod for pod in cluster.all("", "pods") if label(pod, COMPONENT) == "gateway"]


class Balancer:
    """What a Service does: each connection goes to a pod that is ready when it begins."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._turns = itertools.count()
        self._connections: set[asyncio.Task[None]] = set()
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Balancer]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _ready(self) -> list[str]:
        slices = self._cluster.all("discovery.k8s.io", "endpointslices")
        mine = [each for each in slices if each["metadata"]["labels"].get("kubernetes.io/service-name") == GATEWAY]
        found = [end for each in mine for end in each["endpoints"] if end["conditions"]["ready"]]
        return [address for end in found for address in end["addresses"]]

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            ready = await asyncio.to_thread(self._ready)
            with contextlib.suppress(OSError):
                if ready:
                    other = await asyncio.open_connection(ready[next(self._turns) % len(ready)], GATEWAY_PORT)
                    await pass_both_ways((reader, writer), other)
        finally:
            writer.close()
            self._connections.discard(task)


def ways_to(balancer: Balancer, folder: Path, port: int) -> GatewayWays:
    return GatewayWays(f"127.0.0.1:{port}", operator_tls(folder), balancer.url)


def ready(pods: list[Json]) -> Iterator[str]:
    for pod in pods:
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ())):
            yield pod["metadata"]["name"]
