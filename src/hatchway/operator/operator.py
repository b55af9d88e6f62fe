"""The operator: the composition root of the control plane in a cluster.

    connect -> adopt pods and Envoy -> tell the gateway of everything -> follow custom resources, reconcile

One operator at a time, with Envoy beside it. When it is told to end, Envoy and all replicas go on; the next operator
adopts them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import nullcontext

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from hatchway.backends.kubernetes.backend import KubernetesBackend
from hatchway.backends.kubernetes.files import ProjectFiles
from hatchway.backends.kubernetes.manifests import PodSettings
from hatchway.controller.changes import Changes
from hatchway.controller.controller import Controller
from hatchway.controller.reconcile import World
from hatchway.gateway.gateway import Gateway
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.resources import Json
from hatchway.operator.announcements import Announcements
from hatchway.operator.sync import Sync
from hatchway.operator.uploads import Uploads
from hatchway.settings import Settings
from hatchway.store.blobs import Blobs
from hatchway.store.bucket import open_bucket
from hatchway.store.sqlite import Store
from hatchway.store.trees import Trees
from hatchway.store.variables import Variables

log = logging.getLogger(__name__)

LAST_ANSWERS_S = 1


class AllChanges(Changes):
    """Also tells one listener of every API that changed."""

    def __init__(self, on_change: Callable[[str], None]) -> None:
        super().__init__()
        self._on_change = on_change

    def publish(self, api: str) -> None:
        super().publish(api)
        self._on_change(api)


class Operator:
    """Everything built from everything else, once. `listener` is where pods and uploads come for files."""

    def __init__(
        self, settings: Settings, store: Store, server: ApiServer, pods: PodSettings, listener: socket.socket
    ) -> None:
        self._listener = listener
        blobs = Blobs(settings.blobs_dir)
        files = ProjectFiles(open_bucket(f"file://{settings.blobs_dir}"), pods.files_token)
        uploads = Uploads(blobs, pods.files_token)
        self._app = Starlette(routes=[Route("/alive", _say_alive), *uploads.routes(), Mount("/projects", files.app())])
        self._announcements = Announcements(settings.replica_sockets_dir)
        self._changes = AllChanges(self._publish)
        self.backend = KubernetesBackend(server, pods, self._on_change, owner=self._owner)
        self.gateway = Gateway(settings, self._on_change, self._on_wanted)
        self.controller = Controller(
            World(
                store=store,
                blobs=blobs,
                trees=Trees(settings.revisions_dir, blobs),
                variables=Variables(settings.variables_dir),
                backend=self.backend,
                gateway=self.gateway,
                changes=self._changes,
                monotonic=time.monotonic,
                wall_clock=time.time,
            )
        )
        self._sync = Sync(server, self.controller, time.time)

    def _on_change(self, api: str) -> None:
        """A replica or the gateway's view of an API changed."""
        self._announcements.set(api, self.backend.observe(api))
        self.controller.nudge(api)
        self._changes.publish(api)

    def _publish(self, api: str) -> None:
        self._sync.told(api)

    def _owner(self, api: str) -> Json | None:
        return self._sync.resource(api)

    def _on_wanted(self, api: str) -> None:
        """Requests wait for an API that has no replica."""
        self.controller.wake(api)

    async def run(self) -> None:
        """Live until cancelled; Envoy and replicas live on."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.backend.adopt(), name="adopt replicas")
            group.create_task(self.gateway.start(), name="adopt Envoy")
        self.controller.prime()
        log.info("the operator serves at %s", self.gateway.url)
        async with asyncio.TaskGroup() as group:
            for name, part in {
                "backend": self.backend.run(),
                "gateway": self.gateway.run(),
                "controller": self.controller.run(),
                "custom resources": self._sync.run(),
                "files": self._serve(),
            }.items():
                group.create_task(part, name=name)

    async def _serve(self) -> None:
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=LAST_ANSWERS_S,
        )
        http = _Http(config)
        serving = asyncio.create_task(http.serve(sockets=[self._listener]), name="files")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            http.should_exit = True
            await serving
            raise


async def _say_alive(request: Request) -> Response:
    """The loop turns, and everything was adopted before we listened."""
    return Response("alive\n")


class _Http(uvicorn.Server):
    """Signals belong to the operator."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]  # uvicorn's is a generator of the same use
        return nullcontext()
