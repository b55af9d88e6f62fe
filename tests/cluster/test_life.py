"""An installation from its first command to its last, in a cluster whose pods are real processes."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from hatchway import __version__
from hatchway.gateway.process import find_envoy
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.names import COMPONENT, FILES_PORT
from hatchway.kubernetes.resources import PODS, REALTIME_APIS, SECRETS, Json
from hatchway.operator.secrets import FILES_TOKEN, OPERATOR_SECRET, read_secret
from tests.backends.builders import this_interpreter
from tests.cluster.running import STORAGE_CLASS, Admin, check_what_was_sent, everything, object_of, put
from tests.kubernetes.double import Cluster, a_cluster
from tests.operator.builders import an_installation
from tests.operator.running import is_done, project_of

SRC = Path(__file__).resolve().parents[2] / "src"
REPLICAS = an_installation().pods
PROGRAMS = {
    REPLICAS.python: sys.executable,
    REPLICAS.package_dir: str(SRC),
    f"{REPLICAS.package_dir}/envoy/_bin/envoy": str(find_envoy(None)),
}
HERE = "hatchway"
PATIENCE_S = 90.0


@pytest.mark.timeout(300)
@pytest.mark.skipif(Path(__file__).is_relative_to("/tmp"), reason="a pod's /tmp is its own, and the sources lie in it")
def test_installed_used_upgraded_while_it_is_edited_and_removed_without_a_trace(tmp_path: Path) -> None:
    with a_cluster(PROGRAMS) as cluster:
        put(cluster, STORAGE_CLASS)
        before = everything(cluster)
        admin = Admin(cluster, tmp_path)
        done = admin.install("-o", "json")
        assert done.code == 0, done.stderr
        assert (done.json["former_version"], done.json["version"]) == ("", __version__)
        assert "hatchway-operator 1 of 1 ready" in done.stderr

        asyncio.run(deploy_iris(cluster))
        status = admin.run("status", "-o", "json").json
        assert status["apis"] == {"live": 1}
        assert {part["name"]: part["ready"] >= part["wanted"] for part in status["parts"]}["hatchway-operator"]
        assert status["leader"]
        assert "1 live" in admin.run("status").stdout

        secrets = {name: object_of(cluster, SECRETS, HERE, name)["data"] for name in secret_names(cluster)}
        with edits(cluster) as n_edits:
            done = admin.run("upgrade", "--image", "registry/hatchway:2", "--timeout", "120")
        assert done.code == 0, done.stderr
        assert n_edits
        assert {name: object_of(cluster, SECRETS, HERE, name)["data"] for name in secrets} == secrets
        asyncio.run(settled(cluster))

        assert "APIs are deployed: iris" in admin.run("uninstall", "--yes").stderr
        done = admin.run("uninstall", "--yes", "--delete-apis", "--timeout", "60")
        assert done.code == 0, done
        assert "no operator has let it finish" not in done.stderr
        assert everything(cluster) == before
        check_what_was_sent(cluster)


def secret_names(cluster: Cluster) -> list[str]:
    named = [each["metadata"] for each in cluster.all("", "secrets")]
    return [each["name"] for each in named if each["name"].startswith("hatchway-")]


@contextmanager
def edits(cluster: Cluster) -> Iterator[list[int]]:
    """Somebody who changes the API in place, again and again; the numbers that were written."""
    end, written = threading.Event(), list[int]()

    async def edit() -> None:
        server = ApiServer(connect_to(cluster.url, cluster.token, namespace=HERE))
        while not end.is_set():
            number = 2 + len(written)
            await server.merge(REALTIME_APIS, "iris", {"spec": {"autoscaling": {"max_replicas": number}}})
            written.append(number)
            await asyncio.sleep(0.1)  # an edit, not a flood
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(edit()))
    thread.start()
    try:
        yield written
    finally:
        end.set()
        thread.join()


async def deploy_iris(cluster: Cluster) -> None:
    server = ApiServer(connect_to(cluster.url, cluster.token, namespace=HERE))
    try:
        token = read_secret(await server.get(SECRETS, OPERATOR_SECRET))[FILES_TOKEN]
        pods = [pod async for page, _ in server.pages(PODS, labels=f"{COMPONENT}=operator") for pod in page]
        url = f"http://{pods[0]['status']['podIP']}:{FILES_PORT}"
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {token}"}) as uploads:
            files = {"handler.py": "def predict(payload): return payload + 1\n"}
            source = await project_of(files, uploads, this_interpreter())
        body = {"apiVersion": REALTIME_APIS.api_version, "kind": REALTIME_APIS.kind, "metadata": {"name": "iris"}}
        await server.apply({**body, "spec": {"handler": {"path": "handler.py"}, "source": source}})
    finally:
        await server.close()
    await settled(cluster)


async def settled(cluster: Cluster) -> None:
    """The newest edit has been taken over, and it serves."""
    server = ApiServer(connect_to(cluster.url, cluster.token, namespace=HERE))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not _is_settled(await server.get(REALTIME_APIS, "iris")):  # noqa: ASYNC110 (the server is what it looks at)
                await asyncio.sleep(0.1)
    finally:
        await server.close()


def _is_settled(api: Json) -> bool:
    status = api.get("status", {})
    return bool(status) and status["observedGeneration"] == api["metadata"]["generation"] and is_done(status)
