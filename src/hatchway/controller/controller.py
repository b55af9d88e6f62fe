"""The controller as others see it: deploy, read, stop, start, delete and watch APIs; and the loop that makes it so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from hatchway.controller.deploys import Decision, Deploys
from hatchway.controller.loop import Loop
from hatchway.controller.plan import Memory
from hatchway.controller.reconcile import Reconciler, World
from hatchway.controller.status import Reachability, View, to_status
from hatchway.errors import NotFound
from hatchway.spec.deploy import DeployRequest
from hatchway.spec.masking import masked
from hatchway.spec.status import ApiStatus, DeployResult
from hatchway.store.sqlite import ApiRecord, Event, Wanted

RESYNC_S = 10.0
REVISIONS_KEPT = 5  # of each API, for rollback


class Controller:
    """All verbs return what is known at once; the loop does the work."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._reconciler = Reconciler(world)
        self._deploys = Deploys(world, self._reconciler)
        self._loop = Loop(self._reconciler.reconcile, resync_s=RESYNC_S)

    # --- the loop ----------------------------------------------------------------------------------------
    def nudge(self, api: str) -> None:
        """Something about `api` changed: look at it now."""
        self._loop.nudge(api)

    def prime(self) -> None:
        """After adoption, before the gateway listens to us: tell it what serves, and look at every API."""
        self._reconciler.prime()
        for record in self._world.store.apis():
            self.nudge(record.name)

    async def run(self) -> None:
        """Reconcile until cancelled. Everything goes on as it is after that."""
        await self._loop.run()

    # --- reading -----------------------------------------------------------------------------------------
    def list(self) -> Sequence[ApiStatus]:
        """All APIs, by name."""
        return [self._status(record) for record in self._world.store.apis()]

    def get(self, name: str) -> ApiStatus:
        """Raises NotFound."""
        return self._status(self._find(name))

    async def watch(self, name: str) -> AsyncIterator[ApiStatus]:
        """The status now and whenever it changed; ends when the API is gone. Raises NotFound."""
        last = None
        self._find(name)
        async for _ in self._world.changes.watch(name):
            record = self._world.store.api(name)
            if record is None:
                return
            status = self._status(record)
            if status != last:
                last = status
                yield status

    # --- writing -----------------------------------------------------------------------------------------
    async def deploy(self, request: DeployRequest) -> Sequence[DeployResult]:
        """Record what is wanted, all of it or nothing. Raises InvalidSpec, Conflict, StorageError."""
        if request.dry_run:
            return [self._result(decision) for decision in self._deploys.decide(request)]
        async with self._reconciler.writing:
            decisions = self._deploys.decide(request)
            for decision in decisions:
                await self._deploys.carry_out(decision)
                if decision.is_retry:
                    await self._retry(decision.spec.name)
                self.nudge(decision.spec.name)
        return [self._result(decision) for decision in decisions]

    async def stop(self, name: str) -> ApiStatus:
        """Let all replicas drain and end; the API keeps its name, endpoint and revisions. Raises NotFound."""
        return self._want(name, "stopped", "Stopped")

    async def start(self, name: str) -> ApiStatus:
        """Run what was stopped, or try again what failed. Raises NotFound."""
        await self._retry(name)
        return self._want(name, "running", "Started")

    async def delete(self, name: str) -> ApiStatus:
        """Stop the API and forget it with its revisions and logs. Raises NotFound."""
        return self._want(name, "deleted", "Deleted")

    def _want(self, name: str, wanted: Wanted, reason: str) -> ApiStatus:
        record = self._find(name)
        if record.wanted != wanted:
            now = self._world.wall_clock()
            record = replace(record, wanted=wanted, updated_at=now)
            self._world.store.save_api(record)
            self._world.store.add_event(Event(name, now, reason, f"revision {record.revision}"))
        self.nudge(name)
        return self._status(record)

    async def _retry(self, name: str) -> None:
        self._find(name)
        self._reconciler.retry(name)
        for replica in self._world.backend.observe():
            if replica.api == name and replica.state == "failed":
                await self._world.backend.stop(replica.id, kill_after_s=0)

    async def prune(self) -> Mapping[str, int]:
        """Remove old revisions, and what none that is kept needs. Returns the bytes freed, by folder of the home."""
        async with self._reconciler.writing:
            return await self._prune()

    async def _prune(self) -> Mapping[str, int]:
        kept: set[tuple[str, str]] = set()
        blobs: set[str] = set()
        for record in self._world.store.apis():
            revisions = self._world.store.revisions(record.name)
            needed = {record.revision, record.live_revision, *(revision.id for revision in revisions[:REVISIONS_KEPT])}
            self._world.store.remove_revisions(record.name, [r.id for r in revisions if r.id not in needed])
            kept |= {(record.name, revision.id) for revision in revisions if revision.id in needed}
            blobs |= {file.sha256 for r in revisions if r.id in needed for file in r.source.files}
        self._world.variables.prune(kept)
        return {
            "revisions": await asyncio.to_thread(self._world.trees.prune, kept),
            "blobs": await asyncio.to_thread(self._world.blobs.prune, blobs),
            "envs": await self._world.backend.prune(frozenset(revision for _, revision in kept)),
        }

    def _find(self, name: str) -> ApiRecord:
        record = self._world.store.api(name)
        if record is None:
            raise NotFound(f"there is no API named {name}", hint="`hatchway get` lists what is deployed")
        return record

    def _status(self, record: ApiRecord) -> ApiStatus:
        wish = self._reconciler.wish(record)
        gateway = self._world.gateway
        has_seen = self._reconciler.has_seen(record)
        return to_status(
            View(
                record=record,
                wish=wish,
                memory=self._reconciler.memory(record.name) if has_seen else Memory(),
                replicas=[replica for replica in self._world.backend.observe() if replica.api == record.name],
                revisions=self._world.store.history(record.name),
                gateway=Reachability(
                    url=gateway.url + wish.spec.endpoint,
                    is_settled=has_seen and gateway.settled(record.name),
                    rejection=gateway.rejections.get(record.name) if has_seen else None,
                ),
                spec=masked(wish.spec, record.document),
            )
        )

    def _result(self, decision: Decision) -> DeployResult:
        record = self._world.store.api(decision.spec.name)
        return DeployResult(
            name=decision.spec.name,
            kind=decision.spec.kind,
            status=self._status(record).status if record else "starting",
            revision=decision.revision,
            endpoint=self._world.gateway.url + decision.spec.endpoint,
            message=decision.message,
            changes=decision.changes,
            action=decision.action,
        )
