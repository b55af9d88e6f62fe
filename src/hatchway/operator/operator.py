"""The operator: the composition root of the control plane in a cluster.

Every operator runs the common parts, beside each other, for as long as it lives: they read, serve and decide nothing.
One of them, the holder of the Lease, also leads (`leader.py`): a new leader is made for each term, so that nothing of a
former one acts in it.
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Coroutine, Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from hatchway.backends.kubernetes.files import ProjectFiles
from hatchway.backends.kubernetes.manifests import PodSettings
from hatchway.control_api.plane import ControlPlane
from hatchway.gateway.gateway import Gateway
from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.connection import Connection
from hatchway.kubernetes.names import CONTROL_API_PORT
from hatchway.kubernetes.tls import Contexts
from hatchway.operator.configuration import Configuration, GatewayAccess, GatewayWays
from hatchway.operator.control import Control, Entrance
from hatchway.operator.leader import Leader
from hatchway.operator.leadership import Timing
from hatchway.operator.lease import Leadership
from hatchway.operator.relay import LeaderAddress, Relay
from hatchway.operator.uploads import Uploads
from hatchway.serving import configure, serve_until_cancelled
from hatchway.settings import Settings
from hatchway.store.bucket import Bucket
from hatchway.store.sqlite import IN_MEMORY, Store


class Operator:
    """Everything built from everything else, once. `listener` is where pods and uploads come for files, from `blobs`.

    `name` is that of the pod, for people who look at the Lease. `entrance` is where the control API is, `ways` how
    gateways in pods of their own and operators meet; without them Envoy runs beside the operator that leads.
    """

    def __init__(  # noqa: PLR0913 (the parts it is put together from)
        self,
        settings: Settings,
        connection: Connection,
        pods: PodSettings,
        blobs: Bucket,
        listener: socket.socket,
        *,
        name: str,
        timing: Timing | None = None,
        entrance: Entrance | None = None,
        ways: GatewayWays | None = None,
    ) -> None:
        self._ways = ways
        self._gateways = (
            None if ways is None else GatewayAccess(Configuration(ApiServer(connection)), Contexts(ways.tls), ways.url)
        )
        self._settings = settings
        self._connection = connection
        self._pods = pods
        self._listener = listener
        self._is_ready = asyncio.Event()
        self._has_adopted = False
        self._blobs = blobs
        self._files = ProjectFiles(self._blobs, pods.files_token)
        # A process that is started again in the same pod is another one.
        identity = f"{name}_{uuid.uuid4().hex[:8]}"
        self.leadership = Leadership(ApiServer(connection), identity, timing or Timing())
        self.leader: Leader | None = None  # while we lead, and the last one after that
        relay = Relay(LeaderAddress(ApiServer(connection), CONTROL_API_PORT))
        self._control = None if entrance is None else Control(entrance, self._plane, relay)

    @property
    def leads(self) -> bool:
        """And has adopted everything."""
        return self._is_ready.is_set()

    async def run(self) -> None:
        """Live until cancelled; Envoy and replicas live on."""
        async with asyncio.TaskGroup() as group:
            for name, part in self._common_parts().items():
                group.create_task(part, name=name)
            group.create_task(self.leadership.run(self._lead), name="leadership")

    def _common_parts(self) -> Mapping[str, Coroutine[object, object, None]]:
        """What every operator does, whether or not it leads."""
        return {
            "files": serve_until_cancelled(configure(self._app()), "files", [self._listener]),
            **({} if self._control is None else {"control API": self._control.serve()}),
            **self._gateway_parts(),
        }

    def _gateway_parts(self) -> Mapping[str, Coroutine[object, object, None]]:
        """What gateways get, they get from any operator."""
        if self._gateways is None or self._ways is None:
            return {}
        return {
            "configuration": self._gateways.configuration.follow(),
            "gateways": self._gateways.configuration.serve(self._ways.address, self._ways.tls),
            "certificates": self._gateways.contexts.keep_current(),
        }

    async def _lead(self) -> None:
        """One term."""
        server = ApiServer(self._connection, may_write=self.leadership.check)
        with Store(IN_MEMORY) as store:
            self.leader = Leader(
                self._settings,
                store,
                server,
                self._pods,
                self._blobs,
                self._adopted,
                self._link,
                self._gateways,
            )
            try:
                await self.leader.run()
            finally:
                self._is_ready.clear()

    def _adopted(self) -> None:
        self._is_ready.set()
        self._has_adopted = True

    def _link(self) -> str:
        return "" if self._control is None else self._control.link()

    def _plane(self) -> ControlPlane | None:
        return self.leader.plane if self.leader is not None and self.leads else None

    async def close(self, drain_s: float) -> None:
        """After `run`: Envoy, which goes with this pod, finishes the requests in flight."""
        if self.leader is not None and isinstance(self.leader.gateway, Gateway):
            await self.leader.gateway.stop(drain_s)

    # --- HTTP ----------------------------------------------------------------------------------------------
    def _app(self) -> Starlette:
        uploads = Uploads(self._blobs, self._pods.files_token)
        return Starlette(
            routes=[
                Route("/alive", _say_alive),
                Route("/ready", self._say_ready),
                *uploads.routes(),
                Mount("/projects", self._files.app()),
            ]
        )

    async def _say_ready(self, request: Request) -> Response:
        """It knows all that gateways get. Without gateways of their own: it leads or has led, so its Envoy knows."""
        is_ready = self._has_adopted if self._gateways is None else self._gateways.configuration.is_complete
        return Response("ready\n") if is_ready else Response("not ready\n", 503)


async def _say_alive(request: Request) -> Response:
    """The loop turns."""
    return Response("alive\n")
