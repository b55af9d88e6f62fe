"""One API: observe, plan, act, record. A reconcile never waits; it does the step that is safe now."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from hatchway.backends import Backend, Workload
from hatchway.controller import observe
from hatchway.controller.changes import Changes
from hatchway.controller.plan import Failure, Memory, Plan, Seen, Wish, plan
from hatchway.controller.scaling import Scaler, Subject
from hatchway.errors import StorageError
from hatchway.gateway.routes import Endpoint, Route, RouteTable
from hatchway.gateway.stats import Requests
from hatchway.spec.api import RealtimeApi
from hatchway.spec.load import parse_document
from hatchway.spec.status import Condition
from hatchway.store.blobs import BlobStore
from hatchway.store.sqlite import ApiRecord, Event, Outcome, Scaled, Store
from hatchway.store.trees import NoTrees, Trees
from hatchway.store.variables import VariableStore

log = logging.getLogger(__name__)

GATEWAY_POLL_S = 0.05


class Gateway(Protocol):
    """What the controller needs of the gateway."""

    @property
    def url(self) -> str: ...
    def rejection(self, api: str) -> str | None: ...
    def apply(self, table: RouteTable) -> None: ...
    def settled(self, api: str) -> bool: ...
    def waiting(self) -> Mapping[str, int]: ...
    async def in_flight(self) -> dict[str, int]: ...
    async def requests(self) -> dict[str, Requests]: ...


class Monitoring(Protocol):
    """What the controller needs of monitoring."""

    def look(self) -> None:
        """What is watched may have changed."""
        ...

    def conditions(self, api: str) -> tuple[Condition, ...]: ...


class Unmonitored:
    """No monitoring at all."""

    def look(self) -> None:
        pass

    def conditions(self, api: str) -> tuple[Condition, ...]:
        return ()


@dataclass(frozen=True)
class World:
    """What a reconcile reads and writes."""

    store: Store
    blobs: BlobStore
    trees: Trees | NoTrees
    variables: VariableStore
    backend: Backend
    gateway: Gateway
    changes: Changes
    monotonic: Callable[[], float]
    wall_clock: Callable[[], float]
    monitoring: Monitoring = field(default_factory=Unmonitored)


class Reconciler:
    """Keeps each API's memory and the gateway's route table."""

    def __init__(self, world: World, scaler: Scaler) -> None:
        self._world = world
        self._scaler = scaler
        self._memories: dict[str, Memory] = {}
        self._routes: dict[str, Route] = {}
        self._is_told = False  # whether the gateway has taken these routes
        self._specs: dict[tuple[str, int], RealtimeApi] = {}
        self._workloads: dict[tuple[str, str], Workload] = {}
        self._observed: dict[str, int] = {}
        # Held by whoever adds or removes files and records of APIs, so that no deploy meets a deletion halfway.
        self.writing = asyncio.Lock()

    # --- reading -----------------------------------------------------------------------------------------
    def wish(self, record: ApiRecord) -> Wish:
        return Wish(
            self.spec(record),
            record.wanted,
            record.revision,
            record.live_revision,
            frozenset(record.outdated),
            self._scaler.replicas(record.name),
        )

    def scaled(self, record: ApiRecord) -> Scaled | None:
        """The number of replicas that somebody wants for a while, while it lasts."""
        scaled = record.scaled
        return scaled if scaled is not None and self._world.wall_clock() < scaled.until else None

    def spec(self, record: ApiRecord) -> RealtimeApi:
        """The spec as wanted, with variables filled in."""
        key = (record.name, record.generation)
        if key not in self._specs:
            self._specs = {known: spec for known, spec in self._specs.items() if known[0] != record.name}
            values = self._world.variables.load(record.name, record.revision)
            self._specs[key] = parse_document(record.document, values)
        return self._specs[key]

    def specs(self) -> dict[str, RealtimeApi]:
        """The newest spec of each API, from memory."""
        return {name: spec for (name, _), spec in self._specs.items()}

    def has_seen(self, record: ApiRecord) -> bool:
        """Whether the newest edit was acted on. Before that, memory and gateway speak of the one before it."""
        return self._observed.get(record.name) == record.generation

    def memory(self, api: str) -> Memory:
        if api not in self._memories:
            self._memories[api] = self._recall(api)
        return self._memories[api]

    # --- the pass ----------------------------------------------------------------------------------------
    async def reconcile(self, api: str) -> float | None:
        """Returns when to look again in seconds, or None when the API is gone."""
        record = self._world.store.api(api)
        if record is None:
            return None
        self._scale(record)
        wish = self.wish(record)
        before = self.memory(api)
        seen, step = await self._plan(wish, before)
        self._memories[api] = step.memory
        self._route(wish, step)
        self._observed[api] = record.generation
        look_again_s = await self._act(record, step, seen)
        self._record(record, step, before)
        if record.wanted == "stopped" and not seen:
            self._world.backend.release(api)
        is_forgotten = step.is_gone and await self._forget(api)
        self._world.changes.publish(api)
        return None if is_forgotten else min(look_again_s, self._scaled_for_s(record))

    def prime(self) -> None:
        """After adoption: tell the gateway of everything that serves, before it listens to us for the first time."""
        for record in self._world.store.apis():
            self._scale(record)
            replicas = self._world.backend.observe(record.name)
            memory = self.memory(record.name)
            first = plan(self.wish(record), observe.seen(replicas, {}), memory, self._world.monotonic())
            keep = frozenset(replica.id for replica in replicas if replica.state == "ready")
            self._routes[record.name] = self._to_route(self.wish(record), keep, first.memory)
            self._observed[record.name] = record.generation
        self._tell_gateway()

    def has_failed(self, api: str) -> bool:
        """Whether the wanted revision was given up, or a replica of it failed for good."""
        replicas = self._world.backend.observe(api)
        return self.memory(api).failure is not None or any(replica.final for replica in replicas)

    def retry(self, api: str) -> None:
        """Give a failed revision another chance."""
        self._memories[api] = Memory()
        self._world.store.remember(_failure_key(api), "")

    def _scale(self, record: ApiRecord) -> None:
        """Have the API scaled as it is wanted now."""
        if record.wanted != "running":
            self._scaler.unfollow(record.name)
            return
        spec = self.spec(record)
        subject = Subject(spec.autoscaling, self._slots(spec), self.scaled(record))
        self._scaler.follow(record.name, subject)

    def _slots(self, spec: RealtimeApi) -> int | None:
        """How many requests a replica works on at a time, as the spec or a replica says."""
        told = (replica.slots for replica in self._world.backend.observe(spec.name))
        return spec.handler.slots or next(filter(None, told), None)

    async def _plan(self, wish: Wish, memory: Memory) -> tuple[list[Seen], Plan]:
        """The next step, and what it is based on. Every replica that it wants back has come back."""
        while True:
            seen = await self._observe(wish.spec.name)
            step = plan(wish, seen, memory, self._world.monotonic())
            # All are asked: one that refuses is not counted on any more, and those that came back are there to stay.
            if all([await self._world.backend.resume(replica_id) for replica_id in step.resume]):
                return seen, step

    async def _observe(self, api: str) -> list[Seen]:
        replicas = self._world.backend.observe(api)
        is_draining = bool(self.memory(api).drains) or any(replica.state == "draining" for replica in replicas)
        active = await self._world.gateway.in_flight() if is_draining else {}
        return observe.seen(replicas, active)

    async def _act(self, record: ApiRecord, step: Plan, seen: Sequence[Seen]) -> float:
        look_again_s = step.look_again_s
        is_settled = self._world.gateway.settled(record.name)
        # The backend counts a replica until it drains: without those that wait for that, it would take others for
        # too many and stop those that are not ready yet, which may be the new ones.
        waiting = Counter(replica.revision for replica in seen if replica.id in step.drain and not is_settled)
        if step.drain:
            if is_settled:
                for replica_id in step.drain:
                    await self._world.backend.drain(replica_id, for_good=replica_id in record.outdated)
            else:
                look_again_s = GATEWAY_POLL_S
        for replica_id, kill_after_s in step.stop.items():
            await self._world.backend.stop(replica_id, kill_after_s=kill_after_s)
        for revision, count in step.replicas.items():
            workload = await self._workload(record, revision, count)
            await self._world.backend.apply(workload, count + waiting[revision])
        return look_again_s

    def _scaled_for_s(self, record: ApiRecord) -> float:
        """Seconds until a number of replicas that was asked for ends. When it has ended, it is forgotten."""
        if record.scaled is None:
            return math.inf
        left_s = record.scaled.until - self._world.wall_clock()
        current = self._world.store.api(record.name)
        if left_s <= 0 and current is not None and current.scaled == record.scaled:
            self._world.store.save_api(replace(current, scaled=None))
            self._event(record.name, "ScaleEnded", f"no longer fixed at {record.scaled.replicas} replicas")
        return max(0.0, left_s)

    async def _workload(self, record: ApiRecord, revision_id: str, count: int) -> Workload:
        """What to run. The project's tree is laid out (or found whole) the first time this engine needs it."""
        key = (record.name, revision_id)
        if key not in self._workloads:
            revision = self._world.store.revision(revision_id, record.name)
            if revision is None:
                raise StorageError(f"revision {revision_id} of {record.name} is not stored any more")
            variables = self._world.variables.load(record.name, revision_id)
            spec = parse_document(revision.document, variables)
            project_dir = self._world.trees.path(record.name, revision_id)
            workload = Workload(
                api=record.name,
                revision=revision_id,
                spec=spec,
                project_dir=project_dir,
                interpreter=revision.source.interpreter,
                env=spec.handler.env,
                build_env=variables,
                files=revision.source.files,
                lock=revision.source.lock,
                trusted_models=revision.source.trusted_models,
            )
            if count == 0:
                return workload
            files = revision.source.files
            await asyncio.to_thread(self._world.trees.materialise, record.name, revision_id, files)
            self._workloads[key] = workload
        return self._workloads[key]

    # --- the gateway -------------------------------------------------------------------------------------
    def _route(self, wish: Wish, step: Plan) -> None:
        """Tell the gateway, if anything is new: with hundreds of APIs, that is most of a reconcile's work."""
        name, route = wish.spec.name, None
        if not step.is_gone and (wish.wanted != "deleted" or step.reachable or step.memory.drains):
            route = self._to_route(wish, step.reachable, step.memory)
        if self._is_told and route == self._routes.get(name):
            return
        if route is None:
            self._routes.pop(name, None)
        else:
            self._routes[name] = route
        self._tell_gateway()

    def _tell_gateway(self) -> None:
        """Raises Conflict while two APIs that swap their endpoints still claim the same one; then it is tried again."""
        self._is_told = False
        self._world.gateway.apply(self._table())
        self._is_told = True

    def _to_route(self, wish: Wish, reachable: frozenset[str], memory: Memory) -> Route:
        replicas = {replica.id: replica for replica in self._world.backend.observe(wish.spec.name)}
        return Route(
            api=wish.spec.name,
            endpoint=wish.spec.endpoint,
            endpoints=tuple(
                Endpoint(replica.address, is_draining=replica_id not in reachable, revision=replica.revision)
                for replica_id in sorted(reachable | memory.drains.keys())
                if (replica := replicas.get(replica_id)) is not None
            ),
            timeout_s=wish.spec.handler.timeout,
            stream_idle_timeout_s=wish.spec.networking.stream_idle_timeout,
            max_body_bytes=wish.spec.networking.max_body,
            cors=wish.spec.networking.cors,
            idempotent=wish.spec.networking.idempotent,
            max_held=self._max_held(wish, reachable, memory),
        )

    def _max_held(self, wish: Wish, reachable: frozenset[str], memory: Memory) -> int:
        """As many as the first replica to come up can take at once; none when none will."""
        replicas = self._world.backend.observe(wish.spec.name)
        is_hopeless = not reachable and any(replica.final for replica in replicas)
        has_failed = memory.failure is not None and wish.live_revision is None
        if wish.wanted != "running" or is_hopeless or has_failed:
            return 0
        return (self._slots(wish.spec) or 1) + wish.spec.handler.max_queue_length

    def _table(self) -> RouteTable:
        return RouteTable(tuple(self._routes[name] for name in sorted(self._routes)))

    # --- what is kept ------------------------------------------------------------------------------------
    def _record(self, record: ApiRecord, step: Plan, before: Memory) -> None:
        name = record.name
        is_current = self._world.store.api(name) == record  # else this pass was about what was wanted before
        if step.is_complete and (step.live_revision != record.live_revision or record.outdated):
            self._record_live(record)
        failure = step.memory.failure
        if failure != before.failure:
            kept = "" if failure is None else json.dumps(asdict(failure))
            self._world.store.remember(_failure_key(name), kept)
            if failure is not None:
                self._event(name, failure.reason, f"revision {failure.revision} failed: {failure.message}")
        if failure is not None and is_current:
            self._settle(name, "failed", reason=failure.reason, message=failure.message)
        elif step.is_complete and is_current:
            self._settle(name, "live")

    def _record_live(self, record: ApiRecord) -> None:
        """Unless something else is wanted since: then that is what counts."""
        now = self._world.wall_clock()
        current = self._world.store.api(record.name)
        if current is None or (current.revision, current.outdated) != (record.revision, record.outdated):
            return
        live = replace(current, live_revision=current.revision, outdated=())
        if record.live_revision == current.revision:
            self._world.store.save_api(live)
        else:
            self._world.store.save_live(live, now)
        self._event(record.name, "Live", f"revision {current.revision} is live")
        self._world.monitoring.look()
        self._scaler.rouse(record.name)

    def _settle(self, api: str, outcome: Outcome, *, reason: str = "", message: str = "") -> None:
        self._world.store.settle_deed(api, outcome, self._world.wall_clock(), reason=reason, message=message)

    async def _forget(self, api: str) -> bool:
        """Remove every trace of a deleted API. False when it was deployed anew meanwhile, and so stays."""
        await self._world.backend.forget(api)
        async with self.writing:
            self._scaler.unfollow(api)
            record = self._world.store.api(api)
            if record is not None and record.wanted != "deleted":
                return False
            await asyncio.to_thread(self._world.trees.remove, api)
            self._world.variables.remove(api)
            self._world.store.remove_api(api)
            self._world.store.remember(_failure_key(api), "")
        self._memories.pop(api, None)
        self._observed.pop(api, None)
        self._specs = {key: spec for key, spec in self._specs.items() if key[0] != api}
        self.forget_workloads(api)
        return True

    def forget_workloads(self, api: str) -> None:
        """What is kept of its revisions may have changed on disk."""
        self._workloads = {key: workload for key, workload in self._workloads.items() if key[0] != api}

    def _recall(self, api: str) -> Memory:
        """What a former engine knew: that the wanted update or restart failed."""
        kept = self._world.store.recall(_failure_key(api))
        record = self._world.store.api(api)
        if not kept or record is None:
            return Memory()
        failure = Failure(**json.loads(kept))
        return Memory(revision=failure.revision, outdated=frozenset(record.outdated), failure=failure)

    def _event(self, api: str, reason: str, message: str) -> None:
        log.info("%s: %s", api, message)
        self._world.store.add_event(Event(api, self._world.wall_clock(), reason, message))


def _failure_key(api: str) -> str:
    return f"failure:{api}"
