"""A Kubernetes backend on a cluster of its own whose pods are real processes, and projects served to them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from hatchway.backends.kubernetes.backend import KubernetesBackend
from hatchway.backends.kubernetes.files import ProjectFiles
from hatchway.errors import NotFound
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import connect_to
from hatchway.store.bucket import Content
from tests.backends.builders import digest_of
from tests.backends.kubernetes.builders import pod_settings
from tests.kubernetes.double import Cluster, a_cluster

SRC = Path(__file__).resolve().parents[3] / "src"
IMAGE = {"/hatchway/lib": str(SRC), "/usr/bin/python3": sys.executable}
TOKEN = "files-token"


@dataclass(frozen=True)
class FolderContents:
    """The files of a folder, by what is in them."""

    folder: Path

    async def read(self, sha256: str, start: int = 0) -> Content:
        for path in self.folder.rglob("*"):
            if path.is_file() and digest_of(path) == sha256:
                return Content(path.stat().st_size, _chunks(path.read_bytes()[start:]))
        raise NotFound(f"there is no {sha256}")


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


@dataclass
class Stand:
    backend: KubernetesBackend
    cluster: Cluster
    server: ApiServer

    def crash(self, replica_id: str) -> None:
        self.cluster.call(lambda: self.cluster.kubelet.crash(replica_id))


@asynccontextmanager
async def serving(project: Path) -> AsyncIterator[str]:
    """The URL of a project's files."""
    files = ProjectFiles(FolderContents(project), TOKEN)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    http = uvicorn.Server(uvicorn.Config(files.app(), log_config=None, log_level="critical", lifespan="off", ws="none"))
    task = asyncio.create_task(http.serve(sockets=[listener]))
    try:
        yield url
    finally:
        http.should_exit = True
        await task


@asynccontextmanager
async def a_stand(on_change: Callable[[str], None], project: Path, *, gpus: int = 0) -> AsyncIterator[Stand]:
    with a_cluster(IMAGE, gpus=gpus) as cluster:
        async with serving(project) as url, a_backend(cluster, url, on_change) as stand:
            yield stand


@asynccontextmanager
async def a_backend(cluster: Cluster, url: str, on_change: Callable[[str], None]) -> AsyncIterator[Stand]:
    """One that has adopted and runs; its replicas stay when it ends."""
    server = ApiServer(connect_to(cluster.url, cluster.token))
    settings = pod_settings(files_url=url, files_token=TOKEN, pre_stop_s=0)
    backend = KubernetesBackend(server, settings, on_change)
    await backend.adopt()
    task = asyncio.create_task(backend.run())
    try:
        yield Stand(backend, cluster, server)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await server.close()
