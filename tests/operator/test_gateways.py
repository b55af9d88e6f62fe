"""Two gateways in pods of their own: real Envoys, activators and agents; operators come and go beside them."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hatchway.kubernetes.names import API, label
from hatchway.kubernetes.resources import PODS, Json
from hatchway.processes import end_all
from hatchway.settings import Settings
from tests.kubernetes.double import Cluster, a_cluster
from tests.operator.gateway_pods import IMAGE, Balancer, gateway_pods, install, ready, ways_to
from tests.operator.running import PATIENCE_S, Load, Running, is_done, running

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


SLEEPY = {"min_replicas": 0, "window": "1s", "downscale_stabilization_period": "0s", "max_downscale_factor": 0}


async def test_no_request_is_lost_while_an_api_sleeps_and_while_an_endpoint_is_stale(
    cluster: Cluster, settings: Settings
) -> None:
    async with Balancer(cluster).listening() as balancer:
        ways = ways_to(balancer, settings.home / "tls", free_port())
        async with running(cluster, settings, ways=ways) as on:
            await install(on.server, ways.address, gateways=2)
            await deploy(on, HANDLER.format(version=1), autoscaling=SLEEPY, networking={"idempotent": True})
            await until_ready(cluster, 2)
            idle = await on.until("iris", lambda status: status["phase"] == "idle" and not status["readyReplicas"])
            # They wait at both gateways, and are answered when a replica is ready.
            async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
                held = await asyncio.gather(*(client.post(idle["endpoint"], json=1) for _ in range(8)))
            assert {answer.text for answer in held} == {"1"}
            await on.edit("iris", {"spec": {"autoscaling": {"min_replicas": 2}}})
            await on.until("iris", has_two)
            load = Load(idle["endpoint"])
            async with load.going(4):
                # A replica dies, and the cluster says for a while that it is ready.
                dead = next(ready([each for each in cluster.all("", "pods") if label(each, API) == "iris"]))
                cluster.call(lambda: cluster.kubelet.crash(dead))
                await asyncio.sleep(1)  # whatever is sent there meanwhile
                await on.until("iris", has_two)
            assert load.answers.keys() == {"1"}, load.answers


def has_two(status: Json) -> bool:
    return is_done(status) and status["readyReplicas"] == 2
