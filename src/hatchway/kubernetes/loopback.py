"""Services of a cluster as sockets of this machine, carried by a thread of its own: for programs that block.

A connection to such a socket goes through the API server into a pod of the Service. When the pod has gone, the next
connection goes into another one. Only this user can open the unix sockets; a TCP port is for browsers.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable
from hatchway.kubernetes.connection import Connection
from hatchway.kubernetes.port_forward import ServicePort, carry
from hatchway.kubernetes.resources import SECRETS

log = logging.getLogger(__name__)

T = TypeVar("T")

LAST_CARRIED_S = 3.0  # for connections to end when all do
LAST_TURNS = 3


class Loopback:
    """`connect` says which cluster; it is called in the thread. Everything is opened when it is first asked for."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._loop = asyncio.new_event_loop()
        # A program that forgets to close us still ends.
        self._thread = threading.Thread(target=self._live, name="connections to the cluster", daemon=True)
        self._folder = Path(tempfile.mkdtemp(prefix="hatchway-", dir="/tmp"))  # 0700; socket paths must be short
        self._connection: Connection | None = None
        self._servers: list[asyncio.Server] = []
        self._carried: set[asyncio.Task[None]] = set()
        self.problem = ""  # why the last connection could not be carried
        self._thread.start()

    def unix_socket(self, service: str, port: str) -> Path:
        """Where that port of a Service is to be had. Raises Refused, Unreachable when it is not."""

        async def serve() -> Path:
            found = await self._open(service, port)
            path = self._folder / f"{service}.{port}"
            self._servers.append(await asyncio.start_unix_server(lambda r, w: self._accept(found, r, w), path))
            return path

        return self._run(serve())

    def tcp_port(self, service: str, port: str) -> int:
        """A port on 127.0.0.1 that leads there. Raises Refused, Unreachable."""

        async def serve() -> int:
            found = await self._open(service, port)
            server = await asyncio.start_server(lambda r, w: self._accept(found, r, w), "127.0.0.1", 0)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return self._run(serve())

    def secret(self, name: str, key: str) -> str | None:
        """What a Secret says; None when there is none. Raises Refused, Unreachable."""

        async def read() -> str | None:
            server = ApiServer(self._opened())
            found = await server.find(SECRETS, name)
            content = (found or {}).get("data", {}).get(key)
            return None if content is None else base64.b64decode(content).decode().strip()

        return self._run(read())

    @property
    def namespace(self) -> str:
        async def read() -> str:
            return self._opened().namespace

        return self._run(read())

    def close(self) -> None:
        """Connections end. May be called twice."""
        if self._loop.is_closed():
            return

        async def end() -> None:
            for server in self._servers:
                server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            if others:
                await asyncio.wait(others, timeout=LAST_CARRIED_S)
            if self._connection is not None:
                await self._connection.http.aclose()
            for _ in range(LAST_TURNS):  # transports that were closed say so to themselves in the next turns
                await asyncio.sleep(0)

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- in the thread -----------------------------------------------------------------------------------
    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _run(self, doing: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result()

    def _opened(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    async def _open(self, service: str, port: str) -> ServicePort:
        """Asks for a pod at once: what is wrong is told now, and not to the first connection."""
        found = ServicePort(self._opened(), service, port)
        await found.find()
        return found

    def _accept(self, port: ServicePort, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not as a coroutine: asyncio would call it a fault that we cancel it.
        task = self._loop.create_task(self._carry(port, reader, writer), name="carried connection")
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)

    async def _carry(self, port: ServicePort, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await carry(port, reader, writer)
        except (Refused, Unreachable) as exc:
            self.problem = str(exc)
            log.info("%s", exc)
        finally:
            writer.close()
