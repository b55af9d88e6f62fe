"""The controller as others see it: deploy, read, stop, start, delete and watch APIs; and the loop that makes it so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from hatchway.controller.deploys import Decision, Deploys
from hatchway.controller.loop import Loop
from hatchway.controller.plan import Memory
from hatchway.controller.reconcile import Reconciler, World
from hatchway.controller.rollbacks import Rollbacks
from hatchway.controller.scaling import Scaler
from hatchway.controller.status import Reachability, View, to_entry, to_status, to_step
from hatchway.controller.summaries import follow
from hatchway.controller.verbs import Verbs
from hatchway.monitoring.terms import Watched, watched
from hatchway.spec.api import RealtimeApi
from hatchway.spec.deploy import DeployRequest
from hatchway.spec.masking import masked
from hatchway.spec.requests import ScaleRequest
from hatchway.spec.status import ApiStatus, DeployResult, HistoryEntry, ScalingStep
from hatchway.spec.summary import Summaries
from hatchway.store.sqlite import ApiRecord, RevisionRecord

RESYNC_S = 10.0
REVISIONS_KEPT = 5  # of each API, for rollback


class Controller:
    """All verbs return what is known at once; the loop does the work."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scaler = Scaler(
            world.store, world.gateway, world.backend.observe, self._moved, world.monotonic, world.wall_clock
        )
        self._reconciler = Reconciler(world, self._scaler)
        self._verbs = Verbs(world, self._reconciler)
        self._deploys = Deploys(world, self._reconciler)
        self._rollbacks = Rollbacks(world, self._reconciler, self._deploys)
        self._loop = Loop(self._reconciler.reconcile, resync_s=RESYNC_S)

    # --- the loop ----------------------------------------------------------------------------------------
    def nudge(self, api: str) -> None:
        """Something about `api` changed: look at it now."""
        self._loop.nudge(api)
        self._world.monitoring.look()

    def prime(self) -> None:
        """After adoption, before the gateway listens to us: tell it what serves, and look at every API."""
        self._reconciler.prime()
        for record in self._world.store.apis():
            self.nudge(record.name)

    def wake(self, api: str) -> None:
        """Requests wait for a replica of `api`: have one started now."""
        self._scaler.wake(api)

    def _moved(self, api: str) -> None:
        """Another number of replicas is wanted."""
        self.nudge(api)
        self._world.changes.publish(api)

    def save(self, api: str) -> None:
        """Have everything that is remembered of `api` in the store."""
        self._scaler.save(api)

    async def run(self) -> None:
        """Reconcile and scale until cancelled. Everything goes on as it is after that."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop.run(), name="reconcile")
            group.create_task(self._scaler.run(), name="scale")

    # --- reading -----------------------------------------------------------------------------------------
    def list(self) -> Sequence[ApiStatus]:
        """All APIs, by name."""
        return [self._status(record) for record in self._world.store.apis()]

    def names(self) -> Sequence[str]:
        """Of all APIs, in order."""
        return [record.name for record in self._world.store.apis()]

    def get(self, name: str) -> ApiStatus:
        """Raises NotFound."""
        return self._status(self._verbs.find(name))

    def specs(self) -> Mapping[str, RealtimeApi]:
        """What is wanted of each API, with variables filled in; from memory."""
        return self._reconciler.specs()

    def wanted(self) -> Mapping[str, int]:
        """How many replicas each API should have now; one that is stopped is missing."""
        return self._scaler.numbers()

    def history(self, name: str) -> Sequence[HistoryEntry]:
        """What was done to the API, the newest first. Raises NotFound."""
        self._verbs.find(name)
        return [to_entry(deed) for deed in self._world.store.deeds(name)]

    def scaling(self, name: str) -> Sequence[ScalingStep]:
        """What the autoscaler decided and why, the newest first. Raises NotFound."""
        self._verbs.find(name)
        return [to_step(at, decision) for at, decision in self._scaler.decisions(name)]

    def watched(self) -> dict[str, Watched]:
        """API -> what is watched of its predictions."""
        return {
            record.name: watched(
                self._reconciler.spec(record),
                record.live_revision or record.revision,
                self._world.trees.path(record.name, record.live_revision or record.revision),
            )
            for record in self._world.store.apis()
            if record.wanted != "deleted"
        }

    async def watch(self, name: str) -> AsyncIterator[ApiStatus]:
        """The status now and whenever it changed; ends when the API is gone. Raises NotFound."""
        last = None
        self._verbs.find(name)
        async for _ in self._world.changes.watch(name):
            record = self._world.store.api(name)
            if record is None:
                return
            status = self._status(record)
            if status != last:
                last = status
                yield status

    def watch_all(self) -> AsyncIterator[Summaries]:
        """Every API in a few words, and then what changed of them; never ends."""
        return follow(self._world.changes, self.list, self.get)

    # --- writing -----------------------------------------------------------------------------------------
    async def deploy(self, request: DeployRequest, by: str = "") -> Sequence[DeployResult]:
        """Record what is wanted, all of it or nothing. Raises InvalidSpec, Conflict, NoCapacity, StorageError."""
        if request.dry_run:
            return [self._result(decision) for decision in await self._deploys.decide(request)]
        async with self._reconciler.writing:
            decisions = await self._deploys.decide(request)
            for decision in decisions:
                await self._carry_out(decision, by)
        return [self._result(decision) for decision in decisions]

    async def rollback(self, name: str, to: str | None, by: str = "") -> DeployResult:
        """Make an earlier revision the wanted one; it starts what is stopped. `to`: the beginning of its name.

        Raises NotFound, Conflict, NoCapacity.
        """
        async with self._reconciler.writing:
            decision = self._rollbacks.decide(self._verbs.find(name), to)
            await self._deploys.check_room(decision)
            await self._carry_out(decision, by)
        return self._result(decision)

    async def find_earlier(self, name: str, to: str | None) -> Decision:
        """What `rollback` would do, without doing it. Raises NotFound, Conflict, NoCapacity."""
        decision = self._rollbacks.decide(self._verbs.find(name), to)
        await self._deploys.check_room(decision)
        return decision

    async def restart(self, name: str, by: str = "") -> DeployResult:
        """Replace all replicas by others of the same revision. Raises NotFound, Conflict, NoCapacity."""
        record = await self._verbs.restart(name, by)
        self.nudge(name)
        status = self._status(record)
        return DeployResult(
            name=name,
            kind=record.kind,
            status=status.status,
            revision=record.revision,
            endpoint=status.endpoint,
            message="restarted",
            action="restarted",
        )

    async def stop(self, name: str, by: str = "") -> ApiStatus:
        """Let all replicas drain and end; the API keeps its name, endpoint and revisions. Raises NotFound."""
        return self._nudged(self._verbs.stop(name, by))

    async def start(self, name: str, by: str = "") -> ApiStatus:
        """Run what was stopped, or try again what failed. Raises NotFound."""
        return self._nudged(await self._verbs.start(name, by))

    async def delete(self, name: str) -> ApiStatus:
        """Stop the API and forget it with its revisions and logs. Raises NotFound."""
        return self._nudged(self._verbs.delete(name))

    async def scale(self, name: str, request: ScaleRequest, by: str = "") -> ApiStatus:
        """So many replicas for a while. Raises NotFound, UsageError, Conflict."""
        return self._nudged(self._verbs.scale(name, request, by))

    async def _carry_out(self, decision: Decision, by: str) -> None:
        await self._deploys.carry_out(decision, by)
        if decision.is_retry:
            await self._verbs.retry(decision.spec.name)
        self.nudge(decision.spec.name)

    def _nudged(self, record: ApiRecord) -> ApiStatus:
        self.nudge(record.name)
        return self._status(record)

    async def prune(self) -> Mapping[str, int]:
        """Remove old revisions, and what none that is kept needs. Returns the bytes freed, by folder of the home."""
        async with self._reconciler.writing:
            return await self._prune()

    async def _prune(self) -> Mapping[str, int]:
        kept: set[tuple[str, str]] = set()
        blobs: set[str] = set()
        for record in self._world.store.apis():
            revisions = self._world.store.revisions(record.name)
            needed = needed_revisions(record, revisions)
            self._world.store.remove_revisions(record.name, [r.id for r in revisions if r.id not in needed])
            kept |= {(record.name, revision.id) for revision in revisions if revision.id in needed}
            blobs |= {file.sha256 for r in revisions if r.id in needed for file in r.source.files}
        self._world.variables.prune(kept)
        return {
            "revisions": await asyncio.to_thread(self._world.trees.prune, kept),
            "blobs": await asyncio.to_thread(self._world.blobs.prune, blobs),
            "envs": await self._world.backend.prune(frozenset(revision for _, revision in kept)),
        }

    def _status(self, record: ApiRecord) -> ApiStatus:
        wish = self._reconciler.wish(record)
        gateway = self._world.gateway
        has_seen = self._reconciler.has_seen(record)
        return to_status(
            View(
                record=record,
                wish=wish,
                memory=self._reconciler.memory(record.name) if has_seen else Memory(),
                replicas=self._world.backend.observe(record.name),
                revisions=self._world.store.revision_summaries(record.name),
                gateway=Reachability(
                    url=gateway.url + wish.spec.endpoint,
                    is_settled=has_seen and gateway.settled(record.name),
                    rejection=gateway.rejection(record.name) if has_seen else None,
                    held=gateway.waiting().get(record.name, 0),
                ),
                scaled=self._reconciler.scaled(record),
                spec=masked(wish.spec, record.document),
                monitored=self._world.monitoring.conditions(record.name),
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
            kept=decision.kept,
        )


def needed_revisions(record: ApiRecord, revisions: Sequence[RevisionRecord]) -> set[str]:
    """What is kept of an API's revisions (newest first): what is wanted, what runs, and what a rollback may want.

    Those that were live come first, the last one before the others: many deploys that never worked must not push
    out the one that did.
    """
    lived = sorted(revisions, key=lambda one: one.lived, reverse=True)
    return {one.id for one in lived[:REVISIONS_KEPT]} | {record.revision, record.live_revision or record.revision}
