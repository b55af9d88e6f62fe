"""Services as a node sees them: an address each, whose connections go to a pod that is ready when they begin."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from itertools import count

from tests.kubernetes.double.api import Api, is_ready
from tests.kubernetes.double.schemas import Json
from tests.kubernetes.double.selectors import match_spec


class Services:
    """To be used in the cluster's thread. An address is made when somebody asks for it, and stays."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._hosts: dict[tuple[str, str], str] = {}
        self._numbers = count(1)
        self._turns = count()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def address(self, service: Json) -> str:
        """An IP address that answers on the Service's ports."""
        key = (service["metadata"]["namespace"], service["metadata"]["name"])
        if key not in self._hosts:
            number = next(self._numbers)
            host = self._hosts[key] = f"127.{200 + os.getpid() % 50}.{number // 250}.{number % 250 + 1}"
            for port in service["spec"]["ports"]:
                listener = socket.create_server((host, port["port"]), backlog=1024)
                self._start(self._serve(listener, key, port["name"]))
        return self._hosts[key]

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]  # a coroutine
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, listener: socket.socket, key: tuple[str, str], port: str) -> None:
        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._start(self._pass_on(reader, writer, key, port))

        self._servers.append(await asyncio.start_server(connect, sock=listener))

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: tuple[str, str], port: str
    ) -> None:
        try:
            ends = self._ends(key, port)
            with contextlib.suppress(OSError):
                if ends:
                    other = await asyncio.open_connection(*ends[next(self._turns) % len(ends)])
                    await pass_both_ways((reader, writer), other)
        finally:
            writer.close()

    def _ends(self, key: tuple[str, str], port: str) -> list[tuple[str, int]]:
        service = self._api.objects.get(("", "services"), key)
        if service is None:
            return []
        target = next(each["targetPort"] for each in service["spec"]["ports"] if each["name"] == port)
        selector = {"matchLabels": service["spec"]["selector"]}
        takes_all = service["spec"].get("publishNotReadyAddresses", False)
        return [
            (pod["status"]["podIP"], int(target))
            for pod in self._api.objects.all(("", "pods"))
            if pod["metadata"]["namespace"] == key[0]
            and match_spec(pod["metadata"].get("labels", {}), selector)
            and "podIP" in pod.get("status", {})
            and "deletionTimestamp" not in pod["metadata"]
            and (takes_all or is_ready(pod))
        ]


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def pass_both_ways(one: Ends, other: Ends) -> None:
    """Until one side closes."""
    tasks = [asyncio.ensure_future(_copy(one[0], other[1])), asyncio.ensure_future(_copy(other[0], one[1]))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        other[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
