"""An operator in a home of its own, on a cluster whose pods are real processes, with a real Envoy; and its users."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.definition import realtime_api_definition
from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.operator.configuration import GatewayWays
from hatchway.operator.operator import Operator
from hatchway.settings import Settings
from hatchway.spec.revision import Interpreter
from hatchway.store.bucket import open_bucket
from tests.backends.builders import this_interpreter
from tests.backends.kubernetes.builders import pod_settings
from tests.kubernetes.double import Cluster

TOKEN = "operator-token"
PATIENCE_S = 90.0


@dataclass
class Running:
    """An operator, and what a user of the cluster does: upload, apply, look, send requests."""

    operator: Operator
    server: ApiServer  # the user's own calls
    files: httpx.AsyncClient
    gateway: httpx.AsyncClient

    async def upload(self, files: Mapping[str, str]) -> Json:
        return await project_of(files, self.files, this_interpreter())

    async def edit(self, name: str, patch: Json) -> Json:
        """As `kubectl apply` and `kubectl edit` do: a merge of what is written."""
        if await self.server.find(REALTIME_APIS, name) is None:
            body = {"apiVersion": REALTIME_APIS.api_version, "kind": "RealtimeAPI", "metadata": {"name": name}, **patch}
            return await self.server.apply(body)
        return await self.server.merge(REALTIME_APIS, name, patch)

    async def until(self, name: str, holds: Callable[[Json], Any]) -> Json:
        """The status of the newest generation, when something holds of it."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = await self.server.get(REALTIME_APIS, name)
                status: Json = found.get("status", {})
                if status.get("observedGeneration") == found["metadata"]["generation"] and holds(status):
                    return status
                await asyncio.sleep(0.05)  # what `kubectl wait` would watch


async def project_of(files: Mapping[str, str], uploads: httpx.AsyncClient, interpreter: Interpreter) -> Json:
    """A project, uploaded, as spec.source; only what is missing travels."""
    contents = {hashlib.sha256(text.encode()).hexdigest(): text.encode() for text in files.values()}
    missing = (await uploads.post("/blobs/missing", json={"sha256": list(contents)})).json()["missing"]
    for sha256 in missing:
        (await uploads.put(f"/blobs/{sha256}", content=contents[sha256])).raise_for_status()
    manifest = [
        {"path": path, "mode": 0o644, "size": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        for path, text in files.items()
    ]
    return {"files": manifest, "interpreter": interpreter.model_dump(mode="json")}


def condition(status: Json, kind: str) -> str:
    return next((str(each["status"]) for each in status["conditions"] if each["type"] == kind), "")


def is_done(status: Json) -> bool:
    return status["phase"] == "live" and condition(status, "Updated") == condition(status, "Ready") == "True"


@asynccontextmanager
async def running(
    cluster: Cluster, settings: Settings, *, pre_stop_s: int = 0, ways: GatewayWays | None = None, **pod: object
) -> AsyncIterator[Running]:
    """Ends as an operator that is replaced: all else runs on. With `ways`, gateways have pods of their own."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int((settings.home / "port").read_text()) if (settings.home / "port").exists() else 0))
    port = listener.getsockname()[1]
    (settings.home / "port").write_text(str(port))  # as a Service has one for ever
    url = f"http://127.0.0.1:{port}"
    pods = pod_settings(files_url=f"{url}/projects", files_token=TOKEN, pre_stop_s=pre_stop_s, **pod)
    own = connect_to(cluster.url, cluster.token)
    users = ApiServer(connect_to(cluster.url, cluster.token))
    await users.apply(realtime_api_definition())  # as everything else that is installed before it
    blobs = open_bucket(f"file://{settings.blobs_dir}")
    operator = Operator(settings, own, pods, blobs, listener, name="operator", ways=ways)
    task = asyncio.create_task(operator.run())
    headers = {"authorization": f"Bearer {TOKEN}"}
    try:
        await _is_ready(url, task)
        assert operator.leader is not None
        async with (
            httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S) as files,
            httpx.AsyncClient(base_url=operator.leader.gateway.url, timeout=PATIENCE_S) as gateway,
        ):
            yield Running(operator, users, files, gateway)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await own.http.aclose()
        await users.close()


async def _is_ready(url: str, operator: asyncio.Task[None]) -> None:
    """It leads, and has adopted everything."""
    async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient() as client:
        while True:
            if operator.done():
                operator.result()
            with contextlib.suppress(httpx.ConnectError):
                if (await client.get(f"{url}/ready", timeout=1)).is_success:
                    return
            await asyncio.sleep(0.02)


@dataclass
class Load:
    """Requests without a pause, from several clients at once; what became of each is counted."""

    url: str
    answers: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def going(self, clients: int = 2) -> AsyncIterator[Load]:
        end = asyncio.Event()
        tasks = [asyncio.create_task(self._send(end)) for _ in range(clients)]
        try:
            yield self
        finally:
            end.set()
            await asyncio.gather(*tasks)

    async def _send(self, end: asyncio.Event) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            while not end.is_set():
                try:
                    answer = await client.post(self.url, json=1)
                    self.answers[answer.text if answer.is_success else f"{answer.status_code} {answer.text}"] += 1
                except httpx.HTTPError as exc:
                    self.answers[repr(exc)] += 1
                await asyncio.sleep(0.02)
