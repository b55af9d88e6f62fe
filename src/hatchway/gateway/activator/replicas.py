"""Which replicas of an API are ready: read from the runtime folder and asked from themselves.

A replica's data socket appears when it listens and goes when it stops; its launch file names its API; its control
socket tells a draining one from a ready one. None of it needs the engine.

In a cluster replicas are pods: there the operator keeps a file for each, with its API and its two addresses.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from hatchway.contract import CONTROL_READY

CHECK_TIMEOUT_S = 1.0
LISTING_LASTS_S = 0.005  # many APIs may look at the same moment

_QUESTION = f"GET {CONTROL_READY} HTTP/1.1\r\nhost: replica\r\nconnection: close\r\n\r\n".encode()
_DATA, _CONTROL = ".data", ".ctl"
POD = ".pod"  # of the name of a file {"api", "data", "control"}


@dataclass(frozen=True)
class _Place:
    """Where a replica is: paths, or HOST:PORT."""

    api: str
    data: str
    control: str


class Replicas:
    """`sockets` holds REPLICA_ID.data and REPLICA_ID.ctl, or REPLICA_ID.pod; `folders` holds REPLICA_ID/launch.json."""

    def __init__(self, sockets: Path, folders: Path) -> None:
        self._sockets = sockets
        self._folders = folders
        self._places: dict[str, _Place] = {}  # by the name of the socket or file that shows it
        self._listed_at = -1.0

    async def ready(self, api: str) -> list[str]:
        """Data sockets of replicas that say they are ready. The first to answer are enough: others may be frozen."""
        self._list(asyncio.get_running_loop().time())
        places = [place for place in self._places.values() if place.api == api]
        checks = {asyncio.create_task(_is_ready(place.control), name=place.data) for place in places}
        found: list[str] = []
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                while checks and not found:
                    done, checks = await asyncio.wait(checks, return_when=asyncio.FIRST_COMPLETED)
                    found = [check.get_name() for check in done if check.result()]
        except TimeoutError:
            pass
        finally:
            for check in checks:
                check.cancel()
        return found

    def _list(self, now: float) -> None:
        if now - self._listed_at < LISTING_LASTS_S:
            return
        self._listed_at = now
        names = {name for name in os.listdir(self._sockets) if name.endswith((_DATA, POD))}
        known = {name: place for name, place in self._places.items() if name in names}
        for name in names - known.keys():
            place = self._read(name)
            if place is not None:
                known[name] = place
        self._places = known

    def _read(self, name: str) -> _Place | None:
        """Not `Launch.from_json`: replicas of the contract before ours are adopted too."""
        try:
            if name.endswith(POD):
                pod = json.loads((self._sockets / name).read_bytes())
                return _Place(str(pod["api"]), str(pod["data"]), str(pod["control"]))
            replica_id = name.removesuffix(_DATA)
            launch = json.loads((self._folders / replica_id / "launch.json").read_bytes())
            here = f"{self._sockets}/{replica_id}"
            return _Place(str(launch["api"]), here + _DATA, here + _CONTROL)
        except (OSError, ValueError, KeyError, TypeError):
            return None


async def _is_ready(control: str) -> bool:
    sock = connect(control) if is_path(control) else await _connect_tcp(control)
    if sock is None:
        return False
    with sock:
        try:
            sock.send(_QUESTION)
            answer = await asyncio.get_running_loop().sock_recv(sock, 1024)
        except OSError:
            return False
    return answer.split(b" ")[1:2] == [b"200"]


def is_path(address: str) -> bool:
    return "/" in address


def host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


async def _connect_tcp(address: str) -> socket.socket | None:
    host, port = host_and_port(address)
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except OSError:
        sock.close()
        return None
    except asyncio.CancelledError:
        sock.close()
        raise
    return sock


def connect(address: str) -> socket.socket | None:
    """None when nobody listens there any more, or the backlog is full.

    Not by the loop: it takes "the backlog is full" for a connection on its way.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        return None
    return sock
