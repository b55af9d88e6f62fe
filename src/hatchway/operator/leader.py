"""What only the operator does that holds the Lease: it decides and writes. The composition root of one term.

    adopt pods and Envoy -> tell the gateway of everything -> follow custom resources, reconcile

It reads everything anew when it begins, also what this operator follows anyway: a copy that is a moment old may not
know yet what the leader before it wrote last. A list of the API server, asked for after the lease was won, does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

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
from hatchway.settings import Settings
from hatchway.store.blobs import Blobs
from hatchway.store.sqlite import Store
from hatchway.store.trees import Trees
from hatchway.store.variables import Variables

log = logging.getLogger(__name__)


class AllChanges(Changes):
    """Also tells one listener of every API that changed."""

    def __init__(self, on_change: Callable[[str], None]) -> None:
        super().__init__()
        self._on_change = on_change

    def publish(self, api: str) -> None:
        super().publish(api)
        self._on_change(api)


class Leader:
    """`server` refuses to write when the lease may be over. `on_ready` is called when everything has been adopted."""

    def __init__(  # noqa: PLR0913 (the parts it is put together from)
        self,
        settings: Settings,
        store: Store,
        server: ApiServer,
        pods: PodSettings,
        blobs: Blobs,
        files: ProjectFiles,
        on_ready: Callable[[], None],
    ) -> None:
        self._on_ready = on_ready
        self._announcements = Announcements(settings.replica_sockets_dir)
        self._changes = AllChanges(self._publish)
        self.backend = KubernetesBackend(server, pods, files, self._on_change, owner=self._owner)
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
        """Lead until cancelled; Envoy and replicas live on."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.backend.adopt(), name="adopt replicas")
                group.create_task(self.gateway.start(), name="adopt Envoy")
            self.controller.prime()
            log.info("the operator serves at %s", self.gateway.url)
            self._on_ready()
            async with asyncio.TaskGroup() as group:
                for name, part in {
                    "backend": self.backend.run(),
                    "gateway": self.gateway.run(),
                    "controller": self.controller.run(),
                    "custom resources": self._sync.run(),
                }.items():
                    group.create_task(part, name=name)
        finally:
            await self.backend.close()
