"""What the control API may ask of an operator that leads. Reading is as on one machine; every change is an edit of the
custom resource, so that commands and kubectl are one thing. Returns when the controller has been given the edit.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hatchway import __version__
from hatchway.backends import Backend
from hatchway.control_api.plane import ShutdownMode
from hatchway.controller.controller import Controller
from hatchway.errors import (
    Conflict,
    HatchwayError,
    MonitoringError,
    UsageError,
)
from hatchway.kubernetes.names import CONTROL_API_PORT, CONTROL_SERVICE
from hatchway.kubernetes.resources import Json
from hatchway.operator.edits import Edits
from hatchway.operator.wishes import to_moment, to_patch
from hatchway.plane import Reads, Sightings
from hatchway.spec.deploy import DeployRequest
from hatchway.spec.requests import AcceptRequest, ScaleRequest
from hatchway.spec.status import Address, ApiStatus, DeployResult, EngineStatus, GatewayStatus, Status
from hatchway.store.blobs import BlobStore

if TYPE_CHECKING:
    from hatchway.spec.alerts import AlertStatus, AlertTest
    from hatchway.spec.monitoring import AcceptedChange, MonitoringReport
    from hatchway.spec.timeline import Sparkline, Timeline


class GatewayHere(Sightings, Protocol):
    """What is asked of the gateway of a cluster."""

    @property
    def url(self) -> str: ...


class ClusterPlane(Reads):
    """Implements `control_api.plane.ControlPlane`. `link` makes an address that lets one browser in."""

    def __init__(  # noqa: PLR0913 (the parts it is put together from)
        self,
        edits: Edits,
        controller: Controller,
        backend: Backend,
        gateway: GatewayHere,
        blobs: BlobStore,
        link: Callable[[], str],
        wall_clock: Callable[[], float],
    ) -> None:
        super().__init__(controller, backend, gateway, blobs)
        self._edits = edits
        self._gateway = gateway
        self._link = link
        self._wall_clock = wall_clock

    # --- edits -------------------------------------------------------------------------------------------
    async def deploy(self, request: DeployRequest, by: str) -> list[DeployResult]:
        """Raises InvalidSpec, Conflict, NoCapacity."""
        results = await self._edits.try_out(request, by)
        if request.dry_run:
            return [*results]
        hashes = {file.sha256 for document in request.apis for file in document.source.files}
        if missing := await self.missing_blobs(tuple(sorted(hashes))):
            raise Conflict(f"{len(missing)} files of the project were not uploaded", hint="deploy again")
        await self._edits.deploy(request.apis, by, force=request.force)
        return [result.model_copy(update={"status": self.get(result.name).status}) for result in results]

    async def rollback(self, name: str, to: str | None, by: str) -> DeployResult:
        """With force: what runs is to be as it was, whoever has edited it since."""
        decision = await self._controller.find_earlier(name, to)
        await self._edits.deploy([decision.document], by, force=True)
        status = self.get(name)
        return DeployResult(
            name=name,
            kind=decision.spec.kind,
            status=status.status,
            revision=status.revision,
            endpoint=status.endpoint,
            message=decision.message,
            changes=decision.changes,
            action=decision.action,
            kept=decision.kept,
        )

    async def stop(self, name: str, by: str) -> ApiStatus:
        return await self._edit(name, to_patch(by, stopped=True))

    async def start(self, name: str, by: str) -> ApiStatus:
        """What failed is tried again, which is no edit."""
        if self.get(name).status != "stopped":
            return await self._controller.start(name, by)
        return await self._edit(name, to_patch(by, stopped=None))

    async def restart(self, name: str, by: str) -> DeployResult:
        before = self.get(name)
        status = await self._edit(name, to_patch(by, restarted_at=to_moment(self._wall_clock())))
        return DeployResult(
            name=name,
            kind=before.kind,
            status=status.status,
            revision=status.revision,
            endpoint=status.endpoint,
            message="restarted",
            action="restarted",
        )

    async def scale(self, name: str, request: ScaleRequest, by: str) -> ApiStatus:
        if request.for_s and request.replicas is None:
            raise UsageError("say how many replicas", hint=f"hatchway scale {name} 3 --for 30m")
        until = to_moment(self._wall_clock() + request.for_s)
        scaled: Json | None = {"replicas": request.replicas, "until": until} if request.for_s else None
        try:
            return await self._edit(name, to_patch(by, scaled=scaled))
        except HatchwayError:
            await self._edit(name, to_patch(by, scaled=None))
            raise

    async def delete(self, name: str) -> ApiStatus:
        status = self.get(name)
        await self._edits.delete(name)
        return status.model_copy(update={"status": "deleting"})

    async def _edit(self, name: str, patch: Json) -> ApiStatus:
        self.get(name)
        await self._edits.merge(name, patch)
        return self.get(name)

    async def watch(self, name: str) -> AsyncIterator[ApiStatus]:
        """Ends when the resource is gone too: its name can be used again."""
        async for status in super().watch(name):
            yield status
        await self._edits.gone(name)

    # --- reading -----------------------------------------------------------------------------------------
    async def status(self) -> Status:
        url = f"http://{CONTROL_SERVICE}.{self._edits.namespace}.svc:{CONTROL_API_PORT}"
        return Status(
            engine=EngineStatus(pid=os.getpid(), version=__version__),
            gateway=GatewayStatus(pid=None, port=0, url=self._gateway.url),
            home=f"namespace {self._edits.namespace}",
            apis=dict(Counter(status.status for status in self._controller.list())),
            disk_bytes={},
            dashboard=Address(url=url),
            metrics=None,
        )

    def dashboard_link(self) -> str:
        return self._link()

    async def prune(self) -> dict[str, int]:
        return dict(await self._controller.prune())

    # --- not in a cluster, or not yet ----------------------------------------------------------------------
    def alerts(self) -> Sequence[AlertStatus]:
        return ()

    async def test_alert(self, name: str) -> AlertTest:
        raise _not_yet("alerts are not sent from a cluster yet")

    def timeline(self, name: str, window_s: float) -> Timeline:
        self.get(name)
        raise _not_yet("timelines are not kept in a cluster yet")

    def timelines(self) -> Mapping[str, Sparkline]:
        return {}

    async def metrics(self) -> str:
        raise _not_yet("metrics are not served in a cluster yet")

    async def monitoring(self, name: str, window_s: float) -> MonitoringReport:
        self.get(name)
        raise MonitoringError("predictions are not monitored in a cluster yet")

    async def accept(self, name: str, request: AcceptRequest, by: str) -> AcceptedChange:
        self.get(name)
        raise MonitoringError("predictions are not monitored in a cluster yet")

    async def add_blobs_from_paths(self, paths: Mapping[str, Path]) -> None:
        raise UsageError("an operator reads no files of other machines", hint="send the content")

    def request_shutdown(self, mode: ShutdownMode, python: str | None) -> None:
        raise UsageError("the cluster keeps its operator running", hint="kubectl rollout restart replaces its pods")


def _not_yet(message: str) -> UsageError:
    return UsageError(message, hint="docs/limits.md lists what a cluster has not")
