"""Connections into pods: which pod, which port, what a broken one says, and what comes after a pod that went."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hatchway.kubernetes.api_server import Refused, Unreachable
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.port_forward import ServicePort, pick, target_port
from hatchway.kubernetes.resources import Json
from tests.kubernetes.double import Cluster

LABELS = {"app": "operator"}


def a_pod(name: str, *, ready: bool = True, ip: str = "127.0.0.1", port: int = 8487, **metadata: object) -> Json:
    ports = [{"name": "control", "containerPort": port}]
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": LABELS, **metadata},
        "spec": {"containers": [{"name": "operator", "image": "x", "ports": ports}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [condition]},
    }


def a_service(target: int | str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "operator"},
        "spec": {"selector": LABELS, "ports": [{"name": "control", "port": 80, "targetPort": target}]},
    }


def put(cluster: Cluster, *objects: Json) -> None:
    """Straight into the cluster: pods with a status, as a kubelet leaves them."""

    def make() -> None:
        for obj in objects:
            kind = cluster.api.kind("", "v1", f"{obj['kind'].lower()}s")
            metadata = {**obj["metadata"], "namespace": "default", "uid": obj["metadata"]["name"]}
            cluster.api.objects.put(kind, {**obj, "metadata": metadata})

    cluster.call(make)


@asynccontextmanager
async def an_echo(greeting: bytes = b"") -> AsyncIterator[int]:
    """Sends a greeting, and back what it is sent, until the other side ends."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        try:
            while (chunk := await reader.read(1 << 16)) not in (b"", b"bye"):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def port(cluster: Cluster) -> AsyncIterator[ServicePort]:
    connection = connect_to(cluster.url, cluster.token)
    yield ServicePort(connection, "operator", "control")
    await connection.http.aclose()


async def test_bytes_go_there_and_back_until_either_side_ends(cluster: Cluster, port: ServicePort) -> None:
    async with an_echo(b"hello") as number:
        put(cluster, a_service("control"), a_pod("one", port=number))
        async with port.open() as stream:
            assert await stream.read() == b"hello"
            large = bytes(300_000)
            sending = asyncio.create_task(stream.write(large))
            received = b""
            while len(received) < len(large):
                received += await stream.read()
            await sending
            assert received == large
            await stream.write(b"bye")
            assert await stream.read() == b""


async def test_a_port_that_nobody_listens_on_says_so(cluster: Cluster, port: ServicePort) -> None:
    async with an_echo() as number:
        pass
    put(cluster, a_service(number), a_pod("one"))
    async with port.open() as stream:
        with pytest.raises(Unreachable, match=f"error forwarding port {number} to pod one"):
            await stream.read()


async def test_a_pod_that_went_is_replaced_by_the_next_one(cluster: Cluster, port: ServicePort) -> None:
    async with an_echo(b"1") as first, an_echo(b"2") as second:
        put(cluster, a_service("control"), a_pod("one", port=first))
        async with port.open() as stream:
            assert await stream.read() == b"1"
        put(cluster, a_pod("two", port=second))
        cluster.call(lambda: cluster.api.objects.remove(cluster.api.kind("", "v1", "pods"), ("default", "one")))
        async with port.open() as stream:
            assert await stream.read() == b"2"


async def test_without_a_ready_pod_nothing_is_tried(cluster: Cluster, port: ServicePort) -> None:
    put(cluster, a_service(80), a_pod("one", ready=False))
    with pytest.raises(Unreachable, match="no pod of operator is ready"):
        async with port.open():
            pass


async def test_who_may_not_is_told_what(cluster: Cluster) -> None:
    put(cluster, a_service(80), a_pod("one"))
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get"]},
    ]
    grant(cluster, "reader", rules)
    connection = connect_to(cluster.url, cluster.access.token("default", "reader"))
    port = ServicePort(connection, "operator", "control")
    with pytest.raises(Refused, match="cannot create resource") as refused:
        async with port.open():
            pass
    assert refused.value.code == 403
    await connection.http.aclose()


def grant(cluster: Cluster, account: str, rules: list[Json]) -> None:
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "default"}
    reference = {"apiGroup": group, "kind": "Role", "name": account}
    metadata = {"name": account, "namespace": "default"}

    def make() -> None:
        objects = cluster.api.objects
        objects.put(cluster.api.kind(group, "v1", "roles"), {"metadata": metadata, "rules": rules})
        binding = {"metadata": metadata, "roleRef": reference, "subjects": [subject]}
        objects.put(cluster.api.kind(group, "v1", "rolebindings"), binding)

    cluster.call(make)


# --- choosing --------------------------------------------------------------------------------------------------
def test_the_oldest_pod_that_is_ready_and_stays_is_picked() -> None:
    going = a_pod("a", creationTimestamp="2026-01-01T00:00:00Z", deletionTimestamp="2026-01-02T00:00:00Z")
    starting = a_pod("b", ready=False, creationTimestamp="2026-01-01T00:00:00Z")
    second = a_pod("c", creationTimestamp="2026-01-03T00:00:00Z")
    first = a_pod("d", creationTimestamp="2026-01-02T00:00:00Z")
    assert pick([going, starting, second, first]) == first
    assert pick([going, starting]) is None


def test_a_port_of_a_service_is_a_number_or_a_name_in_the_pod() -> None:
    pod = a_pod("one", port=9000)
    assert target_port(a_service(8487), "control", pod) == 8487
    assert target_port(a_service("control"), "control", pod) == 9000
    for service, port in ((a_service("other"), "control"), (a_service(1), "files")):
        with pytest.raises(Refused, match="has no port named"):
            target_port(service, port, pod)
