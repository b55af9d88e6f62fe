"""The objects of an installation: accepted everywhere, and enough for an operator to run from them alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from hatchway.gateway.process import find_envoy
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.names import COMPONENT, FILES_PORT, GATEWAY_PORT, PROBES_PORT
from hatchway.kubernetes.resources import PODS, REALTIME_APIS, Json, resource_of
from hatchway.operator.installation import Installation
from hatchway.operator.objects import OPERATOR, make_objects
from tests.backends.builders import this_interpreter
from tests.kubernetes.double import Cluster, a_cluster
from tests.kubernetes.published import validate
from tests.operator.builders import an_installation
from tests.operator.running import PATIENCE_S, condition, project_of

T = TypeVar("T")

SRC = Path(__file__).resolve().parents[2] / "src"
INSTALLATION = an_installation()
IMAGE = {
    f"{INSTALLATION.pods.package_dir}/envoy/_bin/envoy": str(find_envoy(None)),
    INSTALLATION.pods.python: sys.executable,
    INSTALLATION.pods.package_dir: str(SRC),
}


@pytest.mark.parametrize(
    "installation",
    [
        INSTALLATION,
        an_installation(bucket="s3://models/hatchway", bucket_secret="keys"),
        an_installation("models", storage_class="fast", service_type="LoadBalancer", pods={"pull_secrets": ("r",)}),
    ],
)
def test_every_published_kubernetes_takes_them(installation: Installation) -> None:
    for obj in make_objects(installation):
        validate(obj)
        assert resource_of(obj).is_namespaced == ("namespace" in obj["metadata"])


def test_nobody_gets_rights_beyond_the_namespace_or_to_look_for_secrets() -> None:
    kinds = [each["kind"] for each in make_objects(INSTALLATION)]
    assert not {"ClusterRole", "ClusterRoleBinding"} & set(kinds)
    (role,) = [each for each in make_objects(INSTALLATION) if each["kind"] == "Role"]
    for rule in role["rules"]:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        if "secrets" in rule["resources"]:
            assert not {"list", "watch"} & set(rule["verbs"])


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await look()):  # noqa: ASYNC110 (the server is what it looks at)
            await asyncio.sleep(0.05)
    return found


@pytest.mark.timeout(120)
@pytest.mark.skipif(Path(__file__).is_relative_to("/tmp"), reason="a pod's /tmp is its own, and the sources lie in it")
async def test_an_operator_runs_from_them_alone_with_the_rights_that_they_give() -> None:
    with a_cluster(IMAGE) as cluster:
        server = ApiServer(connect_to(cluster.url, cluster.token))
        for obj in make_objects(INSTALLATION):
            await server.apply(obj)

        async def operator() -> str | None:
            return await ready_one(server, "operator")

        async def gateway() -> str | None:
            return await ready_one(server, "gateway")

        try:
            await serve_iris(server, await until(operator), await until(gateway))
        finally:
            await server.close()
        assert refusals(cluster) == []


async def ready_one(server: ApiServer, component: str) -> str | None:
    """The address of a pod that is ready."""
    ready = [each for each in await pods_of(server, component) if is_ready(each)]
    return ready[0]["status"]["podIP"] if ready else None


async def serve_iris(server: ApiServer, operator: str, gateway_ip: str) -> None:
    files = {"handler.py": "def predict(payload): return payload + 1\n"}
    key = {"authorization": f"Bearer {INSTALLATION.keys.files_token}"}
    async with httpx.AsyncClient(base_url=f"http://{operator}:{FILES_PORT}", headers=key) as uploads:
        source = await project_of(files, uploads, this_interpreter())
    body = {"apiVersion": REALTIME_APIS.api_version, "kind": "RealtimeAPI", "metadata": {"name": "iris"}}
    scaling = {"min_replicas": 0, "window": "1s", "downscale_stabilization_period": "0s", "max_downscale_factor": 0}
    await server.apply({**body, "spec": {"handler": {"path": "handler.py"}, "source": source, "autoscaling": scaling}})

    async def idle() -> bool:
        """It has proved itself, nobody asked, and its last pod is gone."""
        status = (await server.get(REALTIME_APIS, "iris")).get("status", {})
        pods = await pods_of(server, "replica")
        return bool(status) and status["phase"] == "idle" and condition(status, "Ready") == "True" and not pods

    await until(idle)
    async with httpx.AsyncClient(base_url=f"http://{gateway_ip}:{GATEWAY_PORT}", timeout=PATIENCE_S) as gateway:
        held = await asyncio.gather(*(gateway.post("/iris", json=number) for number in range(5)))
        assert [answer.text for answer in held] == ["1", "2", "3", "4", "5"]
        assert held[0].headers["x-hatchway-origin"] == "activator"
        counted = (await gateway.get(f"http://{gateway_ip}:{PROBES_PORT}/metrics")).text
        assert 'code="200"} 5\n' in counted
        assert 'hatchway_cold_starts_total{api="iris"} 5\n' in counted
    await server.delete(REALTIME_APIS, "iris")

    async def gone() -> bool:
        return await server.find(REALTIME_APIS, "iris") is None

    await until(gone)


async def pods_of(server: ApiServer, component: str) -> list[Json]:
    return [pod async for page, _ in server.pages(PODS, labels=f"{COMPONENT}={component}") for pod in page]


def is_ready(pod: Json) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


def refusals(cluster: Cluster) -> list[str]:
    """What the operator asked for without having the right to."""
    user = f"default:{OPERATOR}"
    asked = [each for each in cluster.requests if each.user == user]
    assert asked
    return [f"{each.method} {each.path}" for each in cluster.refused if each.user == user]


def test_prometheus_is_told_of_gateways_where_somebody_chose_that() -> None:
    kinds = [{each["kind"] for each in make_objects(an_installation(pod_monitor=chosen))} for chosen in (False, True)]
    assert kinds[1] - kinds[0] == {"PodMonitor"}


def test_there_are_two_operators_where_both_reach_the_files() -> None:
    def operators(installation: Installation) -> Json:
        (found,) = [
            each["spec"]
            for each in make_objects(installation)
            if (each["kind"], each["metadata"]["name"]) == ("Deployment", OPERATOR)
        ]
        return dict(found)

    on_volume, in_bucket = operators(an_installation()), operators(an_installation(bucket="s3://models"))
    assert (on_volume["replicas"], on_volume["strategy"]["type"]) == (1, "Recreate")
    assert (in_bucket["replicas"], in_bucket["strategy"]["rollingUpdate"]["maxUnavailable"]) == (2, 0)
