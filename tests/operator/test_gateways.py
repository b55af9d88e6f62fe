"""Two gateways in pods of their own: real Envoys, activators and agents; operators come and go beside them."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hatchway.kubernetes.names import API, label
from hatchway.kubernetes.resources import PODS, REALTIME_APIS
from hatchway.processes import end_all
from hatchway.settings import Settings
from tests.kubernetes.double import Cluster, a_cluster
from tests.operator.gateway_pods import IMAGE, Balancer, gateway_pods, install, ready, ways_to
from tests.operator.running import PATIENCE_S, Load, Running, is_done, running
from tests.operator.test_two_operators import Operators, operators
from tests.operator.test_two_operators import deploy as deploy_on

HANDLER = "def predict(payload): return {version}\n"

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(Path(__file__).is_relative_to("/tmp"), reason="a pod has a /tmp of its own"),
]


@pytest.fixture
def settings() -> Iterator[Settings]:
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hwg"))
    made = Settings.from_environment({"HATCHWAY_HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder)})
    made.prepare()
    yield made
    end_all(made.home_hash, grace_s=0)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with a_cluster(IMAGE) as cluster:
        yield cluster


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def deploy(on: Running, handler: str, **more: object) -> None:
    source = await on.upload({"handler.py": handler})
    await on.edit("iris", {"spec": {"handler": {"path": "handler.py"}, "source": source, **more}})


async def until_ready(cluster: Cluster, count: int, *, without: str = "") -> list[str]:
    """The gateways, when so many are ready."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            names = sorted(set(ready(gateway_pods(cluster))) - {without})
            if len(names) == count:
                return names
            await asyncio.sleep(0.05)


async def test_no_request_is_lost_while_apis_operators_and_gateways_change(
    cluster: Cluster, settings: Settings
) -> None:
    async with Balancer(cluster).listening() as balancer:
        ways = ways_to(balancer, settings.home / "tls", free_port())
        async with running(cluster, settings, ways=ways) as first:
            await install(first.server, ways.address, gateways=2)
            await deploy(first, HANDLER.format(version=1))
            await until_ready(cluster, 2)
            live = await first.until("iris", is_done)
            load = Load(live["endpoint"])
            async with load.going(4):
                # A rollout, through both gateways.
                await deploy(first, HANDLER.format(version=2))
                await first.until("iris", lambda status: is_done(status) and status["revision"] != live["revision"])
                # A gateway that is deleted: load balancers let go of it, then it finishes what it has.
                gone, _ = await until_ready(cluster, 2)
                await first.server.delete(PODS, gone)
                await until_ready(cluster, 2, without=gone)
        # Without any operator.
        before = sum(load.answers.values())
        async with load.going(4):
            await asyncio.sleep(1)
        assert sum(load.answers.values()) > before
        async with load.going(4), running(cluster, settings, ways=ways) as second:
            await deploy(second, HANDLER.format(version=3))
            await second.until("iris", lambda status: is_done(status) and status["revision"] != live["revision"])
        assert load.answers.keys() == {"1", "2", "3"}, load.answers


async def test_no_request_is_lost_while_an_operator_is_killed_an_api_sleeps_and_an_endpoint_is_stale(
    cluster: Cluster,
) -> None:
    async with Balancer(cluster).listening() as balancer, operators(cluster) as on:
        ways = ways_to(balancer, on.folder / "tls", free_port())
        variables = {
            "HATCHWAY_TLS": str(ways.tls.folder),
            "CONFIGURATION": ways.address,
            "HATCHWAY_GATEWAY_URL": ways.url,
        }
        on.start("one", home="home1", variables=variables)
        await install(on.server, ways.address, gateways=2)
        await start_iris(on, 1, autoscaling=SLEEPY, networking={"idempotent": True})
        await until_ready(cluster, 2)
        url = f"{balancer.url}/iris"
        await until_phase(on, "idle")
        # They wait at both gateways, and are answered when a replica is ready.
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            held = await asyncio.gather(*(client.post(url, json=1) for _ in range(8)))
        assert {answer.text for answer in held} == {"1"}
        await start_iris(on, 1, autoscaling={"min_replicas": 2}, networking={"idempotent": True})
        await until_phase(on, "live", ready=2)
        load = Load(url)
        async with load.going(4):
            # A replica dies, and the cluster says for a while that it is ready.
            replica = next(each["metadata"]["name"] for each in cluster.all("", "pods") if label(each, API) == "iris")
            cluster.call(lambda: cluster.kubelet.crash(replica))
            await until_phase(on, "live", ready=2)
            await on.end("one", signal.SIGKILL)
            on.start("two", home="home2", variables=variables)
            await start_iris(on, 2, autoscaling={"min_replicas": 2}, networking={"idempotent": True})
            async with asyncio.timeout(PATIENCE_S):
                while "2" not in load.answers:  # noqa: ASYNC110 (other processes answer)
                    await asyncio.sleep(0.05)
            await until_phase(on, "live", ready=2)
        assert load.answers.keys() == {"1", "2"}, load.answers


SLEEPY = {"min_replicas": 0, "window": "1s", "downscale_stabilization_period": "0s", "max_downscale_factor": 0}


async def start_iris(on: Operators, version: int, **more: object) -> None:
    """As soon as an operator takes the files."""
    async with asyncio.timeout(PATIENCE_S):
        await on.leader()
    await deploy_on(on, version, **more)


async def until_phase(on: Operators, phase: str, *, ready: int = 0) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await on.server.get(REALTIME_APIS, "iris")
            status = found.get("status", {})
            is_new = status.get("observedGeneration") == found["metadata"]["generation"]
            if is_new and status["phase"] == phase and status["readyReplicas"] == ready:
                return
            await asyncio.sleep(0.05)
