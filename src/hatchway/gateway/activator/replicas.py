"""Which replicas of an API are ready: read from the runtime folder and asked from themselves.

A replica's data socket appears when it listens and goes when it stops; its launch file names its API; its control
socket tells a draining one from a ready one. None of it needs the engine.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path

from hatchway.contract import CONTROL_READY

CHECK_TIMEOUT_S = 1.0
LISTING_LASTS_S = 0.005  # many APIs may look at the same moment

_QUESTION = f"GET {CONTROL_READY} HTTP/1.1\r\nhost: replica\r\nconnection: close\r\n\r\n".encode()
_DATA, _CONTROL = ".data", ".ctl"


class Replicas:
    """`sockets` holds REPLICA_ID.data and REPLICA_ID.ctl; `folders` holds REPLICA_ID/launch.json."""

    def __init__(self, sockets: Path, folders: Path) -> None:
        self._sockets = sockets
        self._folders = folders
        self._apis: dict[str, str] = {}  # replica id -> API
        self._listed_at = -1.0

    async def ready(self, api: str) -> list[str]:
        """Data sockets of replicas that say they are ready. The first to answer are enough: others may be frozen."""
        self._list(asyncio.get_running_loop().time())
        ids = [replica_id for replica_id, its_api in self._apis.items() if its_api == api]
        checks = {
            asyncio.create_task(_is_ready(f"{self._sockets}/{replica_id}{_CONTROL}"), name=replica_id)
            for replica_id in ids
        }
        found: list[str] = []
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                while checks and not found:
                    done, checks = await asyncio.wait(checks, return_when=asyncio.FIRST_COMPLETED)
                    found = [f"{self._sockets}/{check.get_name()}{_DATA}" for check in done if check.result()]
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
        ids = {name.removesuffix(_DATA) for name in os.listdir(self._sockets) if name.endswith(_DATA)}
        known = {replica_id: api for replica_id, api in self._apis.items() if replica_id in ids}
        for replica_id in ids - known.keys():
            api = self._read_api(replica_id)
            if api is not None:
                known[replica_id] = api
        self._apis = known

    def _read_api(self, replica_id: str) -> str | None:
        """Not `Launch.from_json`: replicas of the contract before ours are adopted too."""
        try:
            launch = json.loads((self._folders / replica_id / "launch.json").read_bytes())
            return str(launch["api"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


async def _is_ready(control_socket: str) -> bool:
    sock = connect(control_socket)
    if sock is None:
        return False
    with sock:
        try:
            sock.send(_QUESTION)
            answer = await asyncio.get_running_loop().sock_recv(sock, 1024)
        except OSError:
            return False
    return answer.split(b" ")[1:2] == [b"200"]


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
