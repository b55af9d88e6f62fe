"""Connections into pods, through the API server: a port of a Service, over the port-forward protocol on a WebSocket.

The protocol is `v4.channel.k8s.io`. A frame is a channel's number and bytes: 0 is the connection's, 1 tells what went
wrong. Each channel begins with the port, in two bytes that say nothing new. There is no half-closed connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable
from hatchway.kubernetes.connection import Connection
from hatchway.kubernetes.resources import PODS, SERVICES, Json

log = logging.getLogger(__name__)

PROTOCOL = Subprotocol("v4.channel.k8s.io")
DATA, ERROR = 0, 1
PORT_BYTES = 2
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
CHUNK_BYTES = 64 * 1024


class ServicePort:
    """One port of a Service, as connections into whichever of its pods is ready. `connection` stays the caller's."""

    def __init__(self, connection: Connection, service: str, port: str) -> None:
        self._connection = connection
        self._server = ApiServer(connection)
        self._service = service
        self._port = port
        self._pod: tuple[str, int] | None = None  # as long as it takes connections
        self._credentials: Mapping[str, str] | None = None

    async def find(self) -> tuple[str, int]:
        """A ready pod's name, and its port. Raises Refused, Unreachable: none is ready."""
        service = await self._server.get(SERVICES, self._service)
        selector = ",".join(f"{name}={value}" for name, value in service["spec"].get("selector", {}).items())
        pods = [pod async for page, _ in self._server.pages(PODS, labels=selector) for pod in page]
        pod = pick(pods)
        if pod is None:
            raise Unreachable(f"no pod of {self._service} is ready in the namespace {self._server.namespace}")
        return pod["metadata"]["name"], target_port(service, self._port, pod)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[PodStream]:
        """A connection. Raises Refused, Unreachable."""
        found = self._pod or await self.find()
        try:
            socket = await self._connect(*found)
        except (Refused, Unreachable):
            if self._pod is None:
                raise
            found = await self.find()  # the one we knew has gone
            socket = await self._connect(*found)
        self._pod = found
        try:
            yield PodStream(socket)
        finally:
            try:
                await socket.close()
            finally:
                socket.transport.abort()  # whoever is cancelled while it says goodbye leaves nothing open either

    def lost(self) -> None:
        """The pod took a connection and answered nothing: look for another one."""
        self._pod = None

    async def _connect(self, pod: str, port: int) -> ClientConnection:
        try:
            return await self._connect_once(pod, port)
        except Refused as refused:
            if refused.code != 401:
                raise
        self._credentials = None  # it was for a time
        return await self._connect_once(pod, port)

    async def _connect_once(self, pod: str, port: int) -> ClientConnection:
        if self._credentials is None:
            self._credentials = await self._connection.credentials()
        path = PODS.path(self._connection.namespace, pod, "portforward")
        try:
            return await connect(
                _address(self._connection.server, path, port),
                ssl=self._connection.tls(),
                additional_headers=dict(self._credentials),
                subprotocols=[PROTOCOL],
                compression=None,
                max_size=None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
            )
        except InvalidStatus as exc:
            code, body = exc.response.status_code, (exc.response.body or b"")[:300].decode(errors="replace")
            raise Refused(code, "PortForward", f"the port {port} of {pod} cannot be reached: {body}".strip()) from exc
        except (OSError, TimeoutError, InvalidHandshake) as exc:
            raise Unreachable(f"{self._connection.server}: {exc}") from exc


class PodStream:
    """A connection with a port of a pod."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._begun: set[int] = set()

    async def write(self, chunk: bytes) -> None:
        """Raises Unreachable."""
        try:
            await self._socket.send(bytes([DATA]) + chunk)
        except ConnectionClosed as exc:
            raise Unreachable("the pod has ended the connection") from exc

    async def read(self) -> bytes:
        """What came; b"" at the end. Raises Unreachable with what went wrong there."""
        while True:
            try:
                frame = await self._socket.recv()
            except ConnectionClosed:
                return b""
            content = frame if isinstance(frame, bytes) else frame.encode()
            channel, chunk = content[0] if content else DATA, content[1:]
            if channel not in self._begun:
                self._begun.add(channel)
                chunk = chunk[PORT_BYTES:]
            if channel == ERROR and chunk:
                raise Unreachable(chunk.decode(errors="replace").strip())
            if channel == DATA and chunk:
                return chunk


async def carry(port: ServicePort, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of this machine, to its end at the other side. Raises Refused, Unreachable."""
    n_answered = 0
    async with port.open() as stream:

        async def send() -> None:
            while chunk := await reader.read(CHUNK_BYTES):
                await stream.write(chunk)

        async def receive() -> None:
            nonlocal n_answered
            while chunk := await stream.read():
                n_answered += len(chunk)
                writer.write(chunk)
                await writer.drain()

        sending = asyncio.create_task(send(), name="to the pod")
        receiving = asyncio.create_task(receive(), name="from the pod")
        try:
            # Whoever ends first ends both: the protocol knows no half-closed connections.
            done, _ = await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                with contextlib.suppress(ConnectionError):  # our own side has left
                    task.result()
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)
            if not n_answered:
                port.lost()


def pick(pods: Sequence[Json]) -> Json | None:
    """One that is ready and stays; the oldest, so that connections meet in one."""
    ready = [pod for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
    return min(
        ready, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]), default=None
    )


def is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def target_port(service: Json, port: str, pod: Json) -> int:
    """The number that a port of a Service has in a pod. Raises Refused when there is no such port."""
    for each in service["spec"].get("ports", ()):
        if each.get("name") == port:
            wanted = each.get("targetPort", each["port"])
            if isinstance(wanted, int):
                return wanted
            for container in pod["spec"]["containers"]:
                for opened in container.get("ports", ()):
                    if opened.get("name") == wanted:
                        return int(opened["containerPort"])
    raise Refused(404, "NotFound", f"the Service {service['metadata']['name']} has no port named {port}")


def _address(server: str, path: str, port: int) -> str:
    parts = urlsplit(server)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + path, f"ports={port}", ""))
