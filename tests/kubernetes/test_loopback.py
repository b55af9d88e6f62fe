"""Services of a cluster as sockets of this machine, for programs that block."""

from __future__ import annotations

import asyncio
import base64
import gc
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatchway.kubernetes.api_server import Unreachable
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.loopback import Loopback
from tests.kubernetes.double import Cluster
from tests.kubernetes.test_port_forward import a_pod, a_service, an_echo, put


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of one that greets and sends back what it is sent."""
    ready, ports, done = threading.Event(), list[int](), list[object]()

    async def serve() -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with an_echo(b"hello") as port:
            ports.append(port)
            done.append(lambda: loop.call_soon_threadsafe(end.set))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    yield ports[0]
    done[0]()  # type: ignore[operator]
    thread.join()


@pytest.fixture
def loopback(cluster: Cluster) -> Iterator[Loopback]:
    loopback = Loopback(lambda: connect_to(cluster.url, cluster.token))
    yield loopback
    loopback.close()
    loopback.close()
    gc.collect()  # what was left open complains now


def said(path: Path | tuple[str, int]) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX if isinstance(path, Path) else socket.AF_INET)
    stream.settimeout(30)
    stream.connect(path if isinstance(path, tuple) else str(path))
    assert stream.recv(5) == b"hello"
    return stream


def test_connections_come_out_in_a_pod_until_it_is_closed(cluster: Cluster, loopback: Loopback, echo: int) -> None:
    put(cluster, a_service("control"), a_pod("one", port=echo))
    path = loopback.unix_socket("operator", "control")
    assert path.parent.stat().st_mode & 0o077 == 0
    for address in (path, ("127.0.0.1", loopback.tcp_port("operator", "control"))):
        with said(address) as stream:
            stream.sendall(b"one")
            assert stream.recv(3) == b"one"
            stream.sendall(b"bye")
            assert stream.recv(1) == b""
    with said(path) as left_open:
        loopback.close()
        assert left_open.recv(1) == b""
    assert not path.parent.exists()


def test_what_is_wrong_is_told_at_once_or_kept(cluster: Cluster, loopback: Loopback, echo: int) -> None:
    put(cluster, a_service("control"))
    with pytest.raises(Unreachable, match="no pod of operator is ready"):
        loopback.unix_socket("operator", "control")
    put(cluster, a_pod("one", port=echo))
    path = loopback.unix_socket("operator", "control")
    cluster.call(lambda: cluster.api.objects.remove(cluster.api.kind("", "v1", "pods"), ("default", "one")))
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(30)
        stream.connect(str(path))
        assert stream.recv(1) == b""
    assert "no pod of operator is ready" in loopback.problem
    put(cluster, a_pod("two", port=echo))
    with said(path):
        pass


def test_secrets_are_read(cluster: Cluster, loopback: Loopback) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t"}}
    put(cluster, {**secret, "data": {"token": base64.b64encode(b"abc\n").decode()}})
    assert (loopback.secret("t", "token"), loopback.secret("t", "x"), loopback.secret("u", "token")) == (
        "abc",
        None,
        None,
    )
    assert loopback.namespace == "default"
