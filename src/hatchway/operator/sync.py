"""Custom resources and the controller, kept in step: edits go in, what is observed goes out into the status.

One worker for each API. An edit is taken over once, when its generation is new; the finalizer keeps a deleted resource
until its replicas are gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from hatchway.controller.controller import Controller
from hatchway.controller.loop import Loop
from hatchway.errors import HatchwayError, NotFound, StorageError
from hatchway.kubernetes.api_server import ApiServer, Refused
from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.kubernetes.watching import Watch
from hatchway.operator.custom_resources import FINALIZER, to_document, to_status
from hatchway.operator.routing import routing_of
from hatchway.spec.deploy import DeployRequest
from hatchway.spec.status import ApiStatus

log = logging.getLogger(__name__)

RESYNC_S = 60.0


@dataclass(frozen=True)
class Taken:
    """An edit that was given to the controller, and what it said to it."""

    uid: str
    generation: int
    problem: HatchwayError | None


class Sync:
    """`told` is to be called whenever the controller knows something new of an API.

    `routing(resource)` gives what gateways are to be told of an API, for its status.
    """

    def __init__(
        self,
        server: ApiServer,
        controller: Controller,
        wall_clock: Callable[[], float],
        routing: Callable[[Json], Json | None] = routing_of,
    ) -> None:
        self._server = server
        self._controller = controller
        self._wall_clock = wall_clock
        self._routing = routing
        self._taken: dict[str, Taken] = {}
        self._loop = Loop(self._look, resync_s=RESYNC_S)
        self._watch = Watch(server, REALTIME_APIS, self._changed)

    def told(self, api: str) -> None:
        self._loop.nudge(api)

    def resource(self, api: str) -> Json | None:
        """The custom resource of an API, as what is made for it belongs to it."""
        found = self._watch.get(api)
        return None if found is None else {**found, "apiVersion": REALTIME_APIS.api_version, "kind": REALTIME_APIS.kind}

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.run(), name="watch RealtimeAPIs")
            await self._watch.complete()
            for status in self._controller.list():  # of resources that were taken away while nobody looked
                self.told(status.name)
            group.create_task(self._loop.run(), name="sync RealtimeAPIs")

    def _changed(self, before: Json | None, after: Json | None) -> None:
        resource = after or before
        assert resource is not None
        self.told(resource["metadata"]["name"])

    # --- one API -----------------------------------------------------------------------------------------
    async def _look(self, name: str) -> float | None:
        resource = self._watch.get(name)
        if resource is None:
            return await self._without_resource(name)
        if "deletionTimestamp" in resource["metadata"]:
            return await self._end(resource)
        if FINALIZER not in resource["metadata"].get("finalizers", ()):
            resource = await self._hold(resource)
        problem = await self._take_over(resource)
        await self._report(resource, self._seen(name), problem)
        return RESYNC_S

    async def _without_resource(self, name: str) -> float | None:
        """Somebody took the finalizer away by force, or the API was never one of a resource."""
        self._taken.pop(name, None)
        if self._seen(name) is None:
            return None
        await self._controller.delete(name)
        return RESYNC_S

    async def _end(self, resource: Json) -> float | None:
        name = resource["metadata"]["name"]
        seen = self._seen(name)
        if seen is not None:
            if seen.status != "deleting":
                await self._controller.delete(name)
            await self._report(resource, self._seen(name), None)
            return RESYNC_S
        self._taken.pop(name, None)
        others = [each for each in resource["metadata"].get("finalizers", ()) if each != FINALIZER]
        await self._set_finalizers(resource, others)
        return None

    async def _hold(self, resource: Json) -> Json:
        return await self._set_finalizers(resource, [*resource["metadata"].get("finalizers", ()), FINALIZER])

    async def _set_finalizers(self, resource: Json, finalizers: list[str]) -> Json:
        """Conflict with somebody who edits at the same time: the next look has the newer resource."""
        metadata = resource["metadata"]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers or None}}
        try:
            written = await self._server.merge(REALTIME_APIS, metadata["name"], patch)
        except Refused as refused:
            if refused.code == 404:
                return resource
            raise
        if finalizers:
            self._watch.learn(written)
        return written

    async def _take_over(self, resource: Json) -> HatchwayError | None:
        """Give a new edit to the controller. Returns why it was refused."""
        metadata = resource["metadata"]
        name, uid, generation = metadata["name"], metadata["uid"], metadata["generation"]
        taken = self._taken.get(name)
        if taken is not None and (taken.uid, taken.generation) == (uid, generation):
            return taken.problem
        problem: HatchwayError | None = None
        if not self._was_taken_before_us(resource):
            try:
                # In the place of an update that goes on: what stands in the resource is what is wanted.
                request = DeployRequest(apis=(to_document(resource),), force=True)
                await self._controller.deploy(request, by=_editor(resource))
            except StorageError:
                raise  # not the fault of the edit: tried again
            except HatchwayError as exc:
                log.info("%s: %s", name, exc)
                problem = exc
        self._taken[name] = Taken(uid, generation, problem)
        return problem

    def _was_taken_before_us(self, resource: Json) -> bool:
        """By a former operator: giving it again would try again what has failed."""
        status = resource.get("status", {})
        is_accepted = any(
            each["type"] == "Accepted" and each["status"] == "True" for each in status.get("conditions", ())
        )
        is_seen = status.get("observedGeneration") == resource["metadata"]["generation"]
        return is_accepted and is_seen and self._seen(resource["metadata"]["name"]) is not None

    def _seen(self, name: str) -> ApiStatus | None:
        try:
            return self._controller.get(name)
        except NotFound:
            return None

    async def _report(self, resource: Json, seen: ApiStatus | None, problem: HatchwayError | None) -> None:
        """Write the status, if anything is new."""
        now = datetime.fromtimestamp(self._wall_clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = to_status(resource, seen, problem, now, self._routing(resource))
        if status == resource.get("status"):
            return
        metadata = {"name": resource["metadata"]["name"]}
        body = {"apiVersion": REALTIME_APIS.api_version, "kind": REALTIME_APIS.kind, "metadata": metadata}
        try:
            self._watch.learn(await self._server.apply({**body, "status": status}, sub="status", force=True))
        except Refused as refused:
            if refused.code != 404:
                raise


def _editor(resource: Json) -> str:
    """Who wrote last, for the history: the name of a field manager."""
    entries = resource["metadata"].get("managedFields", ())
    edits = [each for each in entries if not each.get("subresource") and each["manager"] != "hatchway"]
    return str(max(edits, key=lambda each: each.get("time", ""))["manager"]) if edits else ""
