"""A replica in a pod: TCP ports in place of unix sockets, and last words in a file that cannot be replaced."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hatchway.contract import EXIT_LOAD_FAILED, EXIT_OK
from tests.replica.running import Running, a_replica
from tests.replica.test_lifecycle import WAITING


@pytest.fixture
def address() -> Callable[[], str]:
    """Addresses of this test's own: nobody else uses its part of the loopback network."""
    host = f"127.77.{os.getpid() % 250 + 1}.1"

    def free() -> str:
        with socket.socket() as sock:
            sock.bind((host, 0))
            return f"{host}:{sock.getsockname()[1]}"

    return free


def on_ports(handler: str, address: Callable[[], str], **fields: object) -> Running:
    return a_replica(handler, data_socket=address(), control_socket=address(), **fields)


@pytest.mark.parametrize("kind", ["sync", "async", "app"])
def test_requests_and_control_arrive_on_ports(address: Callable[[], str], kind: str) -> None:
    handlers = {
        "sync": "def predict(payload): return payload",
        "async": "async def predict(payload): return payload",
        "app": (
            "async def app(scope, receive, send):\n"
            "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
            "    await send({'type': 'http.response.body', 'body': b'7'})\n"
        ),
    }
    with on_ports(handlers[kind], address, **({"app": "handler:app"} if kind == "app" else {})) as replica:
        assert replica.post(7).json() == 7
        replica.until(in_flight=0)  # an application ends after its answer
        assert replica.stats().requests == 1


def test_sigterm_finishes_what_runs_and_closes_the_ports(address: Callable[[], str]) -> None:
    with on_ports(WAITING, address) as replica:
        with replica.connect() as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n5")
            replica.until(in_flight=1)
            replica.terminate()
            (Path(replica.launch.project_dir) / "go").touch()
            assert b"\r\n\r\n5" in sock.recv(65536)
        assert replica.ended() == EXIT_OK
        with pytest.raises(ConnectionRefusedError):
            replica.connect()


def test_a_request_whose_client_has_left_is_not_run(address: Callable[[], str]) -> None:
    with on_ports(WAITING, address, max_concurrency=1) as replica:
        request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n1"
        with replica.connect() as first:
            first.sendall(request)
            replica.until(in_flight=1)
            with replica.connect() as second:
                second.sendall(request)
                replica.until(queued=1)
            replica.until(queued=0)
            (Path(replica.launch.project_dir) / "go").touch()
            assert b"200 OK" in first.recv(65536)
        assert replica.stats().requests == 1


def test_last_words_go_into_a_termination_log_in_place(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    inode = log.stat().st_ino
    handler = f"raise RuntimeError({'x' * 5000!r})"
    with Running({"handler.py": handler}, {"last_words_path": str(log)}, wait_ready=False) as replica:
        assert replica.ended() == EXIT_LOAD_FAILED
        assert replica.last_words().reason == "ImportError"
    assert log.stat().st_ino == inode
    assert log.stat().st_size < 4096
    assert [each.name for each in tmp_path.iterdir()] == ["termination-log"]
