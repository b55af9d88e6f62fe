"""Custom resources and the controller, kept in step: edits go in, what is observed goes out into the status.

One worker for each API. An edit is taken over once, when its generation is new; the finalizer keeps a deleted resource
until its replicas are gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from hatchway.controller.controller import Controller
from hatchway.controller.loop import Loop
from hatchway.errors import HatchwayError, NotFound, StorageError, TimedOut
from hatchway.kubernetes.api_server import ApiServer, Refused
from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.kubernetes.watching import Watch
from hatchway.operator.custom_resources import FINALIZER, to_document, to_status
from hatchway.operator.routing import routing_of
from hatchway.operator.wishes import MANAGER, asked_by, to_seconds, wishes_of
from hatchway.spec.deploy import ApiDocument, DeployRequest
from hatchway.spec.requests import ScaleRequest
from hatchway.spec.status import ApiStatus, ScaledStatus

log = logging.getLogger(__name__)

RESYNC_S = 60.0
TAKEN_S = 30.0  # for an edit of a command to be given to the controller
MISSING_LOOK_S = 1.0  # for what an edit refers to


@dataclass(frozen=True)
class Taken:
    """An edit that was given to the controller, and what it said to it."""

    uid: str
    generation: int
    problem: HatchwayError | None


class Sync:
    """`told` is to be called whenever the controller knows something new of an API.

    `routing(resource)` gives what gateways are to be told of an API, for its status.
    `read_variables(secret)` gives the values of `${VAR}` references, and raises NotFound as long as they are not there.
    `record(api)` is awaited before anything is written: what a status says was done has to be remembered by then.
    """

    def __init__(
        self,
        server: ApiServer,
        controller: Controller,
        wall_clock: Callable[[], float],
        record: Callable[[str], Awaitable[None]],
        read_variables: Callable[[str], Awaitable[dict[str, str]]],
        routing: Callable[[Json], Json | None] = routing_of,
    ) -> None:
        self._read_variables = read_variables
        self._server = server
        self._record = record
        self._controller = controller
        self._wall_clock = wall_clock
        self._routing = routing
        self._taken: dict[str, Taken] = {}
        self._restarted: dict[str, str] = {}  # API -> the wish for a restart that was last fulfilled
        self._has_taken = asyncio.Event()  # another one after each edit
        self._loop = Loop(self._look, resync_s=RESYNC_S)
        self._watch = Watch(server, REALTIME_APIS, self._changed)
        self._watching: asyncio.Task[None] | None = None

    def told(self, api: str) -> None:
        self._loop.nudge(api)

    def resource(self, api: str) -> Json | None:
        """The custom resource of an API, as what is made for it belongs to it."""
        found = self._watch.get(api)
        return None if found is None else {**found, "apiVersion": REALTIME_APIS.api_version, "kind": REALTIME_APIS.kind}

    def resources(self) -> Collection[Json]:
        """All there are."""
        return self._watch.all()

    async def taken(self, written: Json) -> None:
        """Returns when an edit of ours has been given to the controller, and is remembered.

        Raises what the controller says against it, NotFound, TimedOut.
        """
        self._watch.learn(written)
        metadata = written["metadata"]
        name = metadata["name"]
        self.told(name)
        try:
            async with asyncio.timeout(TAKEN_S):
                while not self._has_been_taken(name, metadata["uid"], metadata["generation"]):
                    await self._has_taken.wait()
        except TimeoutError:
            raise TimedOut(
                f"{name}: the edit is written, and the operator has not come to it in {TAKEN_S:g} s"
            ) from None

    async def gone(self, name: str) -> None:
        """Returns when a resource that is being deleted is gone."""
        while (found := self._watch.get(name)) is not None and "deletionTimestamp" in found["metadata"]:
            await self._has_taken.wait()

    def _has_been_taken(self, name: str, uid: str, generation: int) -> bool:
        found, taken = self._watch.get(name), self._taken.get(name)
        if found is None or "deletionTimestamp" in found["metadata"]:
            raise NotFound(f"{name} was deleted meanwhile")
        if taken is None or taken.uid != uid or taken.generation < generation:
            return False
        if taken.problem is not None:
            raise taken.problem
        return True

    async def adopt(self) -> None:
        """Read all there are: what is made for an API belongs to its resource."""
        self._watching = asyncio.create_task(self._watch.run(), name="watch RealtimeAPIs")
        await self._watch.complete()

    async def run(self) -> None:
        """Follow until cancelled. After `adopt`."""
        for status in self._controller.list():  # of resources that were taken away while nobody looked
            self.told(status.name)
        await self._loop.run()

    async def close(self) -> None:
        """Follow no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    def _changed(self, before: Json | None, after: Json | None) -> None:
        resource = after or before
        assert resource is not None
        self._tell_waiting()
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
        await self._record(name)
        self._tell_waiting()
        await self._report(resource, self._seen(name), problem)
        return MISSING_LOOK_S if isinstance(problem, NotFound) else RESYNC_S

    async def _without_resource(self, name: str) -> float | None:
        """Somebody took the finalizer away by force, or the API was never one of a resource."""
        self._taken.pop(name, None)
        if self._seen(name) is None:
            await self._record(name)
            return None
        await self._controller.delete(name)
        return RESYNC_S

    async def _end(self, resource: Json) -> float | None:
        name = resource["metadata"]["name"]
        seen = self._seen(name)
        if seen is not None:
            if seen.status != "deleting":
                await self._controller.delete(name)
            await self._record(name)
            await self._report(resource, self._seen(name), None)
            return RESYNC_S
        await self._record(name)
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
                request = DeployRequest(apis=(await self._document(resource),), force=True)
                await self._controller.deploy(request, by=_editor(resource))
                await self._fulfil(resource)
            except NotFound as exc:
                return exc  # what it refers to may come yet
            except StorageError:
                raise  # not the fault of the edit: tried again
            except HatchwayError as exc:
                log.info("%s: %s", name, exc)
                problem = exc
        self._taken[name] = Taken(uid, generation, problem)
        return problem

    def _tell_waiting(self) -> None:
        self._has_taken.set()
        self._has_taken = asyncio.Event()

    async def _fulfil(self, resource: Json) -> None:
        """What verbs ask for, beside the deploy: stop and start, restart, a fixed number. Raises HatchwayError."""
        name, by, wishes = resource["metadata"]["name"], _editor(resource), wishes_of(resource)
        before = self._restarted.get(name, resource.get("status", {}).get("restartedAt", ""))
        self._restarted[name] = wishes.restarted_at or before
        seen = self._controller.get(name)
        if wishes.stopped != (seen.status == "stopped"):
            await (self._controller.stop if wishes.stopped else self._controller.start)(name, by)
        if wishes.restarted_at not in ("", before):
            await self._controller.restart(name, by)
        now = self._wall_clock()
        replicas, until = wishes.scaled or (None, now)
        if until > now and (seen.scaled is None or not _is_same(seen.scaled, replicas, until)):
            await self._controller.scale(name, ScaleRequest(replicas=replicas, for_s=until - now), by)
        elif until <= now and seen.scaled is not None:
            await self._controller.scale(name, ScaleRequest(for_s=0), by)

    async def _document(self, resource: Json) -> ApiDocument:
        """Raises InvalidSpec and NotFound."""
        document = to_document(resource)
        secret = document.source.variables_secret
        if secret is None:
            return document
        return document.model_copy(update={"variables": await self._read_variables(secret)})

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
        if restarted := self._restarted.get(
            resource["metadata"]["name"], resource.get("status", {}).get("restartedAt")
        ):
            status["restartedAt"] = restarted
        if status == resource.get("status"):
            return
        metadata = {"name": resource["metadata"]["name"]}
        body = {"apiVersion": REALTIME_APIS.api_version, "kind": REALTIME_APIS.kind, "metadata": metadata}
        try:
            self._watch.learn(await self._server.apply({**body, "status": status}, sub="status", force=True))
        except Refused as refused:
            if refused.code != 404:
                raise


def _is_same(scaled: ScaledStatus, replicas: int | None, until: float) -> bool:
    known = to_seconds(scaled.until)
    return scaled.replicas == replicas and known is not None and abs(known - until) < 1


def _editor(resource: Json) -> str:
    """Who wrote last, for the history: the user of a command, else the name of a field manager."""
    entries = resource["metadata"].get("managedFields", ())
    edits = [each for each in entries if not each.get("subresource") and each["manager"] != "hatchway"]
    manager = str(max(edits, key=lambda each: each.get("time", ""))["manager"]) if edits else ""
    return asked_by(resource) or manager if manager == MANAGER else manager
