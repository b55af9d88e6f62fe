"""One API: observe, plan, act, record. A reconcile never waits; it does the step that is safe now."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from hatchway.backends import Backend, Workload
from hatchway.controller import observe
from hatchway.controller.changes import Changes
from hatchway.controller.plan import Failure, Memory, Plan, Seen, Wish, plan
from hatchway.errors import StorageError
from hatchway.gateway.routes import Endpoint, Route, RouteTable
from hatchway.spec.api import RealtimeApi
from hatchway.spec.load import parse_document
from hatchway.store.blobs import Blobs
from hatchway.store.sqlite import ApiRecord, Event, Store
from hatchway.store.trees import Trees
from hatchway.store.variables import Variables

log = logging.getLogger(__name__)

GATEWAY_POLL_S = 0.05


class Gateway(Protocol):
    """What the controller needs of the gateway."""

    @property
    def url(self) -> str: ...
    @property
    def rejections(self) -> Mapping[str, str]: ...
    def apply(self, table: RouteTable) -> None: ...
    def settled(self, api: str) -> bool: ...
    async def in_flight(self) -> dict[str, int]: ...


@dataclass(frozen=True)
class World:
    """What a reconcile reads and writes."""

    store: Store
    blobs: Blobs
    trees: Trees
    variables: Variables
    backend: Backend
    gateway: Gateway
    changes: Changes
    monotonic: Callable[[], float]
    wall_clock: Callable[[], float]


class Reconciler:
    """Keeps each API's memory and the gateway's route table."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._memories: dict[str, Memory] = {}
        self._routes: dict[str, Route] = {}
        self._specs: dict[tuple[str, int], RealtimeApi] = {}
        self._workloads: dict[tuple[str, str], Workload] = {}
        self._observed: dict[str, int] = {}
        # Held by whoever adds or removes files and records of APIs, so that no deploy meets a deletion halfway.
        self.writing = asyncio.Lock()

    # --- reading -----------------------------------------------------------------------------------------
    def wish(self, record: ApiRecord) -> Wish:
        return Wish(self.spec(record), record.wanted, record.revision, record.live_revision)

    def spec(self, record: ApiRecord) -> RealtimeApi:
        """The spec as wanted, with variables filled in."""
        key = (record.name, record.generation)
        if key not in self._specs:
            self._specs = {known: spec for known, spec in self._specs.items() if known[0] != record.name}
            values = self._world.variables.load(record.name, record.revision)
            self._specs[key] = parse_document(record.document, values)
        return self._specs[key]

    def has_seen(self, record: ApiRecord) -> bool:
        """Whether the newest edit was acted on. Before that, memory and gateway speak of the one before it."""
        return self._observed.get(record.name) == record.generation

    def memory(self, api: str) -> Memory:
        if api not in self._memories:
            self._memories[api] = Memory(failure=self._recall_failure(api))
        return self._memories[api]

    # --- the pass ----------------------------------------------------------------------------------------
    async def reconcile(self, api: str) -> float | None:
        """Returns when to look again in seconds, or None when the API is gone."""
        record = self._world.store.api(api)
        if record is None:
            return None
        wish = self.wish(record)
        seen = await self._observe(api)
        before = self.memory(api)
        step = plan(wish, seen, before, self._world.monotonic())
        self._memories[api] = step.memory
        self._route(wish, step)
        self._observed[api] = record.generation
        look_again_s = await self._act(record, step)
        self._record(record, step, before)
        is_forgotten = step.is_gone and await self._forget(api)
        self._world.changes.publish(api)
        return None if is_forgotten else look_again_s

    def prime(self) -> None:
        """After adoption: tell the gateway of everything that serves, before it listens to us for the first time."""
        for record in self._world.store.apis():
            replicas = [replica for replica in self._world.backend.observe() if replica.api == record.name]
            memory = self.memory(record.name)
            first = plan(self.wish(record), observe.seen(replicas, {}), memory, self._world.monotonic())
            keep = frozenset(replica.id for replica in replicas if replica.state == "ready")
            self._routes[record.name] = self._to_route(self.wish(record), keep, first.memory)
            self._observed[record.name] = record.generation
        self._world.gateway.apply(self._table())

    def has_failed(self, api: str) -> bool:
        """Whether the wanted revision was given up, or a replica of it failed for good."""
        replicas = self._world.backend.observe()
        return self.memory(api).failure is not None or any(r.api == api and r.final for r in replicas)

    def retry(self, api: str) -> None:
        """Give a failed revision another chance."""
        self._memories[api] = Memory()
        self._world.store.remember(_failure_key(api), "")

    async def _observe(self, api: str) -> list[Seen]:
        replicas = [replica for replica in self._world.backend.observe() if replica.api == api]
        is_draining = bool(self.memory(api).drains) or any(replica.state == "draining" for replica in replicas)
        active = await self._world.gateway.in_flight() if is_draining else {}
        return observe.seen(replicas, active)

    async def _act(self, record: ApiRecord, step: Plan) -> float:
        look_again_s = step.look_again_s
        if step.drain:
            if self._world.gateway.settled(record.name):
                for replica_id in step.drain:
                    await self._world.backend.drain(replica_id)
            else:
                look_again_s = GATEWAY_POLL_S
        for replica_id, kill_after_s in step.stop.items():
            await self._world.backend.stop(replica_id, kill_after_s=kill_after_s)
        for revision, count in step.replicas.items():
            await self._world.backend.apply(await self._workload(record, revision, count), count)
        return look_again_s

    async def _workload(self, record: ApiRecord, revision_id: str, count: int) -> Workload:
        """What to run. The project's tree is laid out (or found whole) the first time this engine needs it."""
        key = (record.name, revision_id)
        if key not in self._workloads:
            revision = self._world.store.revision(revision_id, record.name)
            if revision is None:
                raise StorageError(f"revision {revision_id} of {record.name} is not stored any more")
            spec = parse_document(revision.document, self._world.variables.load(record.name, revision_id))
            project_dir = self._world.trees.path(record.name, revision_id)
            workload = Workload(
                api=record.name,
                revision=revision_id,
                spec=spec,
                project_dir=project_dir,
                interpreter=revision.source.interpreter,
                env=spec.handler.env,
            )
            if count == 0:
                return workload
            files = revision.source.files
            await asyncio.to_thread(self._world.trees.materialise, record.name, revision_id, files)
            self._workloads[key] = workload
        return self._workloads[key]

    # --- the gateway -------------------------------------------------------------------------------------
    def _route(self, wish: Wish, step: Plan) -> None:
        if step.is_gone or (wish.wanted == "deleted" and not step.reachable and not step.memory.drains):
            self._routes.pop(wish.spec.name, None)
        else:
            self._routes[wish.spec.name] = self._to_route(wish, step.reachable, step.memory)
        self._world.gateway.apply(self._table())

    def _to_route(self, wish: Wish, reachable: frozenset[str], memory: Memory) -> Route:
        addresses = {replica.id: replica.address for replica in self._world.backend.observe()}
        return Route(
            api=wish.spec.name,
            endpoint=wish.spec.endpoint,
            endpoints=tuple(
                Endpoint(addresses[replica_id], is_draining=replica_id not in reachable)
                for replica_id in sorted(reachable | memory.drains.keys())
                if replica_id in addresses
            ),
            timeout_s=wish.spec.handler.timeout,
            stream_idle_timeout_s=wish.spec.networking.stream_idle_timeout,
            max_body_bytes=wish.spec.networking.max_body,
            cors=wish.spec.networking.cors,
            idempotent=wish.spec.networking.idempotent,
        )

    def _table(self) -> RouteTable:
        return RouteTable(tuple(self._routes[name] for name in sorted(self._routes)))

    # --- what is kept ------------------------------------------------------------------------------------
    def _record(self, record: ApiRecord, step: Plan, before: Memory) -> None:
        if step.live_revision != record.live_revision:
            current = self._world.store.api(record.name)
            if current is not None and current.revision == record.revision:
                self._world.store.save_api(replace(current, live_revision=step.live_revision))
                self._event(record.name, "Live", f"revision {step.live_revision} is live")
        failure = step.memory.failure
        if failure != before.failure:
            kept = "" if failure is None else json.dumps(asdict(failure))
            self._world.store.remember(_failure_key(record.name), kept)
            if failure is not None:
                self._event(record.name, failure.reason, f"revision {failure.revision} failed: {failure.message}")

    async def _forget(self, api: str) -> bool:
        """Remove every trace of a deleted API. False when it was deployed anew meanwhile, and so stays."""
        await self._world.backend.forget(api)
        async with self.writing:
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
        self._workloads = {key: workload for key, workload in self._workloads.items() if key[0] != api}
        return True

    def _recall_failure(self, api: str) -> Failure | None:
        kept = self._world.store.recall(_failure_key(api))
        return Failure(**json.loads(kept)) if kept else None

    def _event(self, api: str, reason: str, message: str) -> None:
        log.info("%s: %s", api, message)
        self._world.store.add_event(Event(api, self._world.wall_clock(), reason, message))


def _failure_key(api: str) -> str:
    return f"failure:{api}"
