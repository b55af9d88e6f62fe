"""What the control API may ask of an operator that leads. Reading is as on one machine; every change is an edit of the
custom resource, so that commands and kubectl are one thing. Returns when the controller has been given the edit.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hatchway import __version__
from hatchway.backends import Backend
from hatchway.control_api.plane import ShutdownMode
from hatchway.controller.controller import Controller
from hatchway.errors import (
    Conflict,
    EngineUnavailable,
    HatchwayError,
    InvalidSpec,
    MonitoringError,
    NotFound,
    UsageError,
)
from hatchway.kubernetes.api_server import ApiServer, Refused, Unreachable
from hatchway.kubernetes.names import CONTROL_API_PORT, CONTROL_SERVICE
from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.operator.custom_resources import to_document
from hatchway.operator.sync import Sync
from hatchway.operator.wishes import MANAGER, to_moment, to_patch, to_resource
from hatchway.plane import Reads, Sightings
from hatchway.spec.deploy import DeployRequest
from hatchway.spec.requests import ScaleRequest
from hatchway.spec.status import Address, ApiStatus, DeployResult, EngineStatus, GatewayStatus, Status
from hatchway.store.blobs import Blobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hatchway.spec.alerts import AlertStatus, AlertTest
    from hatchway.spec.monitoring import MonitoringReport
    from hatchway.spec.timeline import Sparkline, Timeline


class GatewayHere(Sightings, Protocol):
    """What is asked of the gateway of a cluster."""

    @property
    def url(self) -> str: ...


class ClusterPlane(Reads):
    """Implements `control_api.plane.ControlPlane`. `link` makes an address that lets one browser in."""

    def __init__(  # noqa: PLR0913 (the parts it is put together from)
        self,
        server: ApiServer,
        controller: Controller,
        sync: Sync,
        backend: Backend,
        gateway: GatewayHere,
        blobs: Blobs,
        link: Callable[[], str],
        wall_clock: Callable[[], float],
    ) -> None:
        super().__init__(controller, backend, gateway, blobs)
        self._server = server
        self._sync = sync
        self._gateway = gateway
        self._link = link
        self._wall_clock = wall_clock

    # --- edits -------------------------------------------------------------------------------------------
    async def deploy(self, request: DeployRequest, by: str) -> list[DeployResult]:
        """All of it is tried on the API server and on the controller before any of it is written.

        Raises InvalidSpec, Conflict, NoCapacity.
        """
        wanted = [to_resource(document, by) for document in request.apis]
        would_be = [await self._apply(each, force=request.force, dry_run=True) for each in wanted]
        documents = tuple(to_document(each) for each in would_be)
        results = await self._controller.deploy(DeployRequest(apis=documents, dry_run=True, force=request.force), by)
        if request.dry_run:
            return [*results]
        hashes = {file.sha256 for document in documents for file in document.source.files}
        if missing := await self.missing_blobs(tuple(sorted(hashes))):
            raise Conflict(f"{len(missing)} files of the project were not uploaded", hint="deploy again")
        written = []
        for each in wanted:
            applied = await self._apply(each, force=request.force)
            if applied["spec"].get("stopped"):  # as on one machine, a deploy starts what was stopped
                applied = await self._merge(each["metadata"]["name"], to_patch(by, stopped=None))
            written.append(applied)
        for applied in written:
            await self._sync.taken(applied)
        return [result.model_copy(update={"status": self.get(result.name).status}) for result in results]

    async def rollback(self, name: str, to: str | None, by: str) -> DeployResult:
        """With force: what runs is to be as it was, whoever has edited it since."""
        decision = await self._controller.find_earlier(name, to)
        applied = await self._apply(to_resource(decision.document, by), force=True)
        if applied["spec"].get("stopped"):
            applied = await self._merge(name, to_patch(by, stopped=None))
        await self._sync.taken(applied)
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
        with _refusals(name):
            await self._server.delete(REALTIME_APIS, name)
        return status.model_copy(update={"status": "deleting"})

    async def _edit(self, name: str, patch: Json) -> ApiStatus:
        self.get(name)
        await self._sync.taken(await self._merge(name, patch))
        return self.get(name)

    async def _apply(self, resource: Json, *, force: bool, dry_run: bool = False) -> Json:
        with _refusals(resource["metadata"]["name"]):
            return await self._server.apply(resource, force=force, manager=MANAGER, dry_run=dry_run)

    async def _merge(self, name: str, patch: Json) -> Json:
        with _refusals(name):
            return await self._server.merge(REALTIME_APIS, name, patch, manager=MANAGER)

    # --- reading -----------------------------------------------------------------------------------------
    async def status(self) -> Status:
        url = f"http://{CONTROL_SERVICE}.{self._server.namespace}.svc:{CONTROL_API_PORT}"
        return Status(
            engine=EngineStatus(pid=os.getpid(), version=__version__),
            gateway=GatewayStatus(pid=None, port=0, url=self._gateway.url),
            home=f"namespace {self._server.namespace}",
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

    async def add_blobs_from_paths(self, paths: Mapping[str, Path]) -> None:
        raise UsageError("an operator reads no files of other machines", hint="send the content")

    def request_shutdown(self, mode: ShutdownMode, python: str | None) -> None:
        raise UsageError("the cluster keeps its operator running", hint="kubectl rollout restart replaces its pods")


def _not_yet(message: str) -> UsageError:
    return UsageError(message, hint="docs/limits.md lists what a cluster has not")


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """What the API server says to an edit, as errors of ours."""
    try:
        yield
    except Refused as refused:
        said = str(refused).rpartition(" (")[0]
        if refused.code == 409:
            raise Conflict(
                f"{name}: somebody else has set what this would change: {said}",
                hint="leave it out, or take it over with --force",
            ) from refused
        if refused.code in (400, 422):
            raise InvalidSpec(f"{name}: the cluster refuses it: {said}") from refused
        if refused.code == 404:
            raise NotFound(f"there is no API named {name}", hint="`hatchway get` lists what is deployed") from refused
        raise EngineUnavailable(f"{name}: the API server refuses it: {said}") from refused
    except Unreachable as exc:
        raise EngineUnavailable(f"{name}: the API server does not answer: {exc}") from exc
