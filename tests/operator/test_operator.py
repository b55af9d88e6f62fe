"""An API of a cluster from its custom resource to its last replica: a real Envoy, real replicas, the double's API."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hatchway.kubernetes.resources import LEASES, REALTIME_APIS
from hatchway.operator.leadership import NAME as LEASE
from hatchway.processes import end_all
from hatchway.settings import Settings
from tests.backends.kubernetes.running import IMAGE
from tests.kubernetes.double import Cluster, a_cluster
from tests.operator.running import Load, Running, condition, is_done, running

HANDLER = "def predict(payload): return {version}\n"


@pytest.fixture
def settings() -> Iterator[Settings]:
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hwo"))
    environ = {"HATCHWAY_HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder), "HATCHWAY_GATEWAY_PORT": "0"}
    made = Settings.from_environment(environ)
    made.prepare()
    yield made
    end_all(made.home_hash, grace_s=0)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with a_cluster(IMAGE) as cluster:
        yield cluster


async def deploy(on: Running, handler: str, **more: object) -> None:
    """Upload a project and apply the resource that names it."""
    source = await on.upload({"handler.py": handler})
    await on.edit("iris", {"spec": {"handler": {"path": "handler.py"}, "source": source, **more}})


async def answer(on: Running) -> str:
    return (await on.gateway.post("/iris", json=1)).text


@pytest.mark.timeout(180)
async def test_an_api_is_applied_updated_edited_kept_over_operators_and_deleted_without_a_lost_request(
    cluster: Cluster, settings: Settings
) -> None:
    async with running(cluster, settings) as first:
        await deploy(first, HANDLER.format(version=1))
        live = await first.until("iris", is_done)
        assert (live["replicas"], live["readyReplicas"]) == (1, 1)
        load = Load(live["endpoint"])
        async with load.going():
            assert await answer(first) == "1"
            await update_and_edit(first, live["revision"])
    # Without an operator, while the API server restarts: requests go on.
    async with load.going():
        cluster.stop_server()
        cluster.start_server()
        async with running(cluster, settings) as second:
            await fail_and_recover(second, cluster)
    assert load.answers.keys() == {"1", "2", "3"}, load.answers
    async with running(cluster, settings) as third:
        await third.server.delete(REALTIME_APIS, "iris")
        async with asyncio.timeout(30):
            while await third.server.find(REALTIME_APIS, "iris") is not None:
                pass
        assert (await third.gateway.post("/iris", json=1)).status_code == 404
        for group, plural in (
            ("", "pods"),
            ("apps", "deployments"),
            ("", "secrets"),
            ("policy", "poddisruptionbudgets"),
        ):
            assert cluster.all(group, plural) == []


@pytest.mark.timeout(120)
async def test_pods_that_are_evicted_lose_no_request(cluster: Cluster, settings: Settings) -> None:
    """As a node is drained: one after the other, for the budget holds the second until the first has been replaced."""
    async with running(cluster, settings, pre_stop_s=5) as on:
        await deploy(on, HANDLER.format(version=1), autoscaling={"min_replicas": 2})
        live = await on.until("iris", lambda status: is_done(status) and status["readyReplicas"] == 2)
        load = Load(live["endpoint"])
        first = pods(cluster)
        async with load.going():
            refused = [await evict(cluster, name) for name in sorted(first)]
            assert refused[0] == 0
            assert refused[1] > 0
            await on.until("iris", lambda status: is_done(status) and not first & pods(cluster))
            await on.until("iris", lambda status: status["readyReplicas"] == 2)
        assert load.answers.keys() == {"1"}, load.answers


async def evict(cluster: Cluster, pod: str) -> int:
    """As `kubectl drain` does: again and again while a budget says 429; how often it did."""
    path = f"/api/v1/namespaces/default/pods/{pod}/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    n_refused = 0
    async with httpx.AsyncClient(base_url=cluster.url, headers={"authorization": f"Bearer {cluster.token}"}) as client:
        while (await client.post(path, json=eviction)).status_code == 429:
            n_refused += 1
            await asyncio.sleep(0.1)  # kubectl waits for five seconds
    return n_refused


def pods(cluster: Cluster) -> set[str]:
    return {each["metadata"]["name"] for each in cluster.all("", "pods")}


async def update_and_edit(on: Running, former: str) -> None:
    # A new project: another revision, start before stop.
    await deploy(on, HANDLER.format(version=2))
    updated = await on.until("iris", lambda status: is_done(status) and status["revision"] != former)
    assert await answer(on) == "2"
    # Two replicas: an edit in place.
    await on.edit("iris", {"spec": {"autoscaling": {"min_replicas": 2}}})
    await on.until("iris", lambda status: is_done(status) and status["readyReplicas"] == 2)
    # An edit that is wrong changes nothing but the status.
    await on.edit("iris", {"spec": {"update_strategy": {"max_surge": 0}}})
    refused = await on.until("iris", lambda status: condition(status, "Accepted") == "False")
    assert refused["reason"] == "InvalidSpec"
    assert "max_surge" in refused["message"]
    assert (condition(refused, "Ready"), refused["revision"]) == ("True", updated["revision"])
    await on.edit("iris", {"spec": {"update_strategy": None}})
    await on.until("iris", is_done)


async def fail_and_recover(on: Running, cluster: Cluster) -> None:
    # One that cannot load never takes the place of what runs.
    await deploy(on, "import nothing_of_this_name\n")
    failed = await on.until("iris", lambda status: condition(status, "Updated") == "False")
    assert (failed["phase"], failed["reason"]) == ("live", "ImportError")
    # An update while the API server conflicts, refuses, forgets its past and cuts every watch.
    cluster.fault(code=409, method="PATCH", path="/(deployments|pods)/", times=2)
    cluster.fault(code=429, retry_after_s=0.1, path="/(deployments|pods|secrets)", times=3)
    cluster.fault(code=500, path="/(deployments|pods|secrets)", times=3)
    await deploy(on, HANDLER.format(version=3))
    cluster.compact()
    assert cluster.drop_watches() > 0
    await on.until("iris", lambda status: is_done(status) and status["revision"] != failed["revision"])
    assert await answer(on) == "3"


@pytest.mark.timeout(180)
async def test_a_leader_that_loses_its_lease_and_wins_it_again_goes_on_as_another(
    cluster: Cluster, settings: Settings
) -> None:
    async with running(cluster, settings) as on:
        await deploy(on, HANDLER.format(version=1))
        live = await on.until("iris", is_done)
        former = on.operator.leader
        load = Load(live["endpoint"])
        async with load.going():
            await on.server.merge(LEASES, LEASE, {"spec": {"holderIdentity": "somebody else"}})
            async with asyncio.timeout(60):
                while on.operator.leadership.is_leading:  # noqa: ASYNC110 (the lease is what it looks at)
                    await asyncio.sleep(0.01)
            await deploy(on, HANDLER.format(version=2))  # while nobody leads
            await on.server.merge(LEASES, LEASE, {"spec": {"holderIdentity": None}})
            await on.until("iris", lambda status: is_done(status) and status["revision"] != live["revision"])
            assert await answer(on) == "2"
        assert on.operator.leader is not former
        assert load.answers.keys() == {"1", "2"}, load.answers
