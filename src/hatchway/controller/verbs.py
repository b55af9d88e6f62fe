"""What can be asked of an API that is deployed, beside another deploy: each verb writes down what is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hatchway.backends import Replica
from hatchway.controller.plan import replicas_wanted
from hatchway.controller.reconcile import Reconciler, World
from hatchway.controller.room import check_room
from hatchway.errors import Conflict, NotFound, UsageError
from hatchway.spec.requests import ScaleRequest
from hatchway.store.sqlite import Action, ApiRecord, Deed, Event, Outcome, Scaled


class Verbs:
    """Every method may raise NotFound. `by` is who asks."""

    def __init__(self, world: World, reconciler: Reconciler) -> None:
        self._world = world
        self._reconciler = reconciler

    def find(self, name: str) -> ApiRecord:
        record = self._world.store.api(name)
        if record is None:
            raise NotFound(f"there is no API named {name}", hint="`hatchway get` lists what is deployed")
        return record

    def stop(self, name: str, by: str) -> ApiRecord:
        record = self.find(name)
        if record.wanted == "stopped":
            return record
        return self._note(self._save(replace(record, wanted="stopped")), "stopped", by, "done")

    async def start(self, name: str, by: str) -> ApiRecord:
        record = self.find(name)
        is_news = record.wanted != "running" or not record.live_revision or self._reconciler.has_failed(name)
        await self.retry(name)
        record = self._save(replace(record, wanted="running"))
        return self._note(record, "started", by, "pending") if is_news else record

    def delete(self, name: str) -> ApiRecord:
        record = self.find(name)
        return record if record.wanted == "deleted" else self._save(replace(record, wanted="deleted"))

    async def retry(self, name: str) -> None:
        """Forget that the wanted revision failed, and let what failed of it begin anew."""
        self._reconciler.retry(name)
        for replica in self._replicas(name):
            if replica.state == "failed":
                await self._world.backend.stop(replica.id, kill_after_s=0)

    async def restart(self, name: str, by: str) -> ApiRecord:
        """Replace all replicas by new ones of the same revision. Raises Conflict, NoCapacity."""
        wish = self._reconciler.wish(self._restartable(name))
        outdated = self._not_draining(name)
        await check_room(self._world.backend, replace(wish, outdated=frozenset(outdated)))
        record = self._restartable(name)  # as it is now
        self._reconciler.retry(name)
        record = self._save(replace(record, outdated=self._not_draining(name)))
        return self._note(record, "restarted", by, "pending")

    def _not_draining(self, name: str) -> tuple[str, ...]:
        return tuple(replica.id for replica in self._replicas(name) if replica.state != "draining")

    def _restartable(self, name: str) -> ApiRecord:
        record = self.find(name)
        if record.wanted != "running":
            raise Conflict(f"{name} is {record.wanted}", hint=f"hatchway start {name}")
        if record.live_revision in (None, record.revision):
            return record
        if self._reconciler.has_failed(name):
            raise Conflict(
                f"{name} runs revision {record.live_revision}, because its update to {record.revision} failed",
                hint=f"hatchway rollback {name} makes the one that runs the wanted one; "
                f"hatchway start {name} tries the update again",
            )
        raise Conflict(f"{name} is being updated to revision {record.revision}, which replaces its replicas anyway")

    def scale(self, name: str, request: ScaleRequest, by: str) -> ApiRecord:
        """So many replicas for a while. Raises UsageError outside the API's bounds, Conflict when it does not run."""
        record, now = self.find(name), self._world.wall_clock()
        if request.for_s == 0:
            if self._reconciler.scaled(record) is None:
                return record
            record = self._save(replace(record, scaled=None))
            return self._note(record, "scaled", by, "done", "no longer to a fixed number")
        if record.wanted != "running":
            raise Conflict(f"{name} is {record.wanted}", hint=f"hatchway start {name}")
        replicas = self._within_bounds(record, request.replicas)
        record = self._save(replace(record, scaled=Scaled(replicas, now + request.for_s, by)))
        before = replicas_wanted(self._reconciler.wish(record))
        return self._note(record, "scaled", by, "done", f"{before} -> {replicas} replicas for {request.for_s:g} s")

    def _within_bounds(self, record: ApiRecord, replicas: int | None) -> int:
        scaling = self._reconciler.spec(record).autoscaling
        if replicas is None:
            raise UsageError("say how many replicas", hint=f"hatchway scale {record.name} 3 --for 30m")
        if replicas < 1:
            raise UsageError("at least 1 replica", hint=f"hatchway stop {record.name} runs none")
        if replicas < scaling.min_replicas:
            raise UsageError(
                f"{replicas} is below autoscaling.min_replicas of {record.name} ({scaling.min_replicas})",
                hint="deploy it with a lower one",
            )
        if replicas > scaling.max_replicas:
            raise UsageError(
                f"{replicas} is above autoscaling.max_replicas of {record.name} ({scaling.max_replicas})",
                hint="deploy it with a higher one",
            )
        return replicas

    # --- writing it down ---------------------------------------------------------------------------------
    def _replicas(self, name: str) -> Sequence[Replica]:
        return self._world.backend.observe(name)

    def _save(self, record: ApiRecord) -> ApiRecord:
        """As another edit."""
        record = replace(record, generation=record.generation + 1, updated_at=self._world.wall_clock())
        self._world.store.save_api(record)
        return record

    def _note(self, record: ApiRecord, action: Action, by: str, outcome: Outcome, change: str = "") -> ApiRecord:
        """For the history, and as an event."""
        now = record.updated_at
        revision = self._world.store.revision(record.revision, record.name)
        commit = None if revision is None else revision.source.git_commit
        changes = (change,) if change else ()
        self._world.store.add_deed(Deed(record.name, now, action, by, record.revision, commit, changes, outcome))
        self._world.store.add_event(
            Event(record.name, now, action.capitalize(), change or f"revision {record.revision}")
        )
        return record
