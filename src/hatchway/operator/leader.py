"""What only the operator does that holds the Lease: it decides and writes. The composition root of one term.

    adopt pods and Envoy -> tell the gateway of everything -> follow custom resources, reconcile

It reads everything anew when it begins, also what this operator follows anyway: a copy that is a moment old may not
know yet what the leader before it wrote last. A list of the API server, asked for after the lease was won, does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from hatchway.backends.kubernetes.backend import KubernetesBackend
from hatchway.backends.kubernetes.manifests import PodSettings
from hatchway.controller.changes import Changes
from hatchway.controller.controller import Controller
from hatchway.controller.reconcile import World
from hatchway.errors import StorageError
from hatchway.gateway.gateway import Gateway
from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable
from hatchway.kubernetes.resources import Json
from hatchway.operator.announcements import Announcements
from hatchway.operator.cluster_plane import ClusterPlane
from hatchway.operator.configuration import GatewayAccess
from hatchway.operator.edits import Edits
from hatchway.operator.gateways import Gateways
from hatchway.operator.lease import NotLeading
from hatchway.operator.memory import ClusterMemory, TakenOver
from hatchway.operator.routing import routing_of
from hatchway.operator.sync import Sync
from hatchway.operator.tidying import ClaimedBlobs, tidy_forever
from hatchway.operator.variables import SecretVariables
from hatchway.settings import Settings
from hatchway.store.blobs import BlobStore
from hatchway.store.sqlite import Store
from hatchway.store.trees import NoTrees

log = logging.getLogger(__name__)

LAST_WRITES_S = 5.0


class AllChanges(Changes):
    """Also tells one listener of every API that changed."""

    def __init__(self, on_change: Callable[[str], None]) -> None:
        super().__init__()
        self._on_change = on_change

    def publish(self, api: str) -> None:
        super().publish(api)
        self._on_change(api)


class Leader:
    """`server` refuses to write when the lease may be over. `on_ready` is called when everything has been adopted.

    `link` makes an address of the dashboard that lets one browser in. `gateways` is how all operators reach those that
    have pods of their own; None: Envoy runs beside this operator, and no other has one.
    """

    def __init__(  # noqa: PLR0913 (the parts it is put together from)
        self,
        settings: Settings,
        store: Store,
        server: ApiServer,
        pods: PodSettings,
        blobs: BlobStore,
        on_ready: Callable[[], None],
        link: Callable[[], str] = str,
        gateways: GatewayAccess | None = None,
    ) -> None:
        self._on_ready = on_ready
        self._store = store
        self._variables = SecretVariables(server, pods.files_token)
        self._announcements = Announcements(settings.replica_sockets_dir)
        self._changes = AllChanges(self._publish)
        self.backend = KubernetesBackend(server, pods, self._on_change, owner=self._owner, record=self._record)
        self.gateway: Gateway | Gateways = (
            Gateway(settings, self._on_change, self._on_wanted)
            if gateways is None
            else Gateways(
                server,
                gateways,
                on_change=self._on_change,
                on_wanted=self._on_wanted,
                on_routing=self._publish,
                monotonic=time.monotonic,
            )
        )
        self.controller = Controller(
            World(
                store=store,
                blobs=ClaimedBlobs(blobs, self._resources),
                trees=NoTrees(),
                variables=self._variables,
                backend=self.backend,
                gateway=self.gateway,
                changes=self._changes,
                monotonic=time.monotonic,
                wall_clock=time.time,
            )
        )
        routing = self.gateway.routing if isinstance(self.gateway, Gateways) else routing_of
        self._sync = Sync(server, self.controller, time.time, self._record, self._variables.read, routing)
        self.plane = ClusterPlane(
            Edits(server, self.controller, self._sync, self._variables),
            self.controller,
            self.backend,
            self.gateway,
            blobs,
            link,
            time.time,
        )
        self._memory = ClusterMemory(server, store, self._owner, self.controller.save)

    def _on_change(self, api: str) -> None:
        """A replica or the gateway's view of an API changed."""
        self._announcements.set(api, self.backend.observe(api))
        self.controller.nudge(api)
        self._changes.publish(api)

    def _publish(self, api: str) -> None:
        self._sync.told(api)

    def _owner(self, api: str) -> Json | None:
        return self._sync.resource(api)

    def _resources(self) -> Collection[Json]:
        return self._sync.resources()

    async def _record(self, api: str) -> None:
        """Something is about to be done of which the next leader has to know the reason."""
        await self._memory.write(api)

    def _on_wanted(self, api: str) -> None:
        """Requests wait for an API that has no replica."""
        self.controller.wake(api)

    async def run(self) -> None:
        """Lead until cancelled, or until somebody else has written our memory; Envoy and replicas live on."""
        try:
            await self._adopt()
            log.info("the operator serves at %s", self.gateway.url)
            self._on_ready()
            async with asyncio.TaskGroup() as group:
                for name, part in {
                    "backend": self.backend.run(),
                    "gateway": self.gateway.run(),
                    "controller": self.controller.run(),
                    "custom resources": self._sync.run(),
                    "memory": self._memory.run(),
                    "tidying": tidy_forever(self.controller),
                }.items():
                    group.create_task(part, name=name)
        except* TakenOver:
            log.warning("the memory of this leader was written by somebody else")
        finally:
            if isinstance(self.gateway, Gateways):
                await self.gateway.close()
            await self.backend.close()
            await self._sync.close()
            await self._write_last()

    async def _adopt(self) -> None:
        """All there is to know, before anything is decided."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._memory.load(), name="load memory")
            group.create_task(self._sync.adopt(), name="adopt RealtimeAPIs")
            group.create_task(self.backend.adopt(), name="adopt replicas")
            group.create_task(self.gateway.start(), name="adopt Envoy")
        for api in self._store.apis():
            await self._variables.recall(self._store.revisions(api.name))
        self.controller.prime()

    async def _write_last(self) -> None:
        """What may be a minute old in the cluster, as long as we may."""
        try:
            async with asyncio.timeout(LAST_WRITES_S):
                await self._memory.write_all()
        except (NotLeading, TakenOver, Refused, Unreachable, StorageError, TimeoutError) as exc:
            log.info("the last of what is remembered was not written: %s", exc)
