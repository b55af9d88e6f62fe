"""What a deploy would do and doing it: documents become revisions, and the newest becomes the wanted one.

Everything is checked before anything is written: one wrong API in a request changes nothing at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hatchway.controller.plan import Wish
from hatchway.controller.reconcile import Reconciler, World
from hatchway.controller.room import check_room
from hatchway.controller.updates import describe_update
from hatchway.errors import Conflict, HatchwayError, InvalidSpec
from hatchway.spec.api import RealtimeApi
from hatchway.spec.changes import Changes, Version, describe_changes
from hatchway.spec.deploy import ApiDocument, DeployRequest
from hatchway.spec.load import parse_document
from hatchway.spec.revision import environment_digest, revision_id, running_variables
from hatchway.spec.status import DeployAction
from hatchway.store.sqlite import Action as DeedAction
from hatchway.store.sqlite import ApiRecord, Deed, Event, RevisionRecord, Scaled

DEEDS: dict[DeployAction, DeedAction] = {
    "created": "deployed",
    "updated": "deployed",
    "configured": "configured",
    "rolled_back": "rolled_back",
}


@dataclass(frozen=True)
class Decision:
    """What a deploy, or a rollback, does to one API."""

    spec: RealtimeApi
    document: ApiDocument
    revision: str
    environment_digest: str
    action: DeployAction
    changes: tuple[str, ...]
    message: str
    is_retry: bool = False  # the revision is the wanted one already and failed: try it again
    kept: tuple[str, ...] = ()  # of a rollback: settings that stay as they are, though the revision had others


class Deploys:
    """Decides on deploy requests and carries them out."""

    def __init__(self, world: World, reconciler: Reconciler) -> None:
        self._world = world
        self._reconciler = reconciler

    async def decide(self, request: DeployRequest) -> list[Decision]:
        """Raises InvalidSpec with the problems of all APIs, Conflict or NoCapacity."""
        specs = self._parse(request.apis)
        self._check_endpoints(specs)
        if not request.dry_run:
            await self._check_files(request.apis)
        decisions = [self._decide(spec, document) for spec, document in zip(specs, request.apis, strict=True)]
        for decision in decisions:
            if not request.force:
                self._check_not_updating(decision)
            await self.check_room(decision)
        return decisions

    async def check_room(self, decision: Decision) -> None:
        """Raises NoCapacity when an update to the decision's revision could never finish."""
        before = self._world.store.api(decision.spec.name)
        if before is not None and before.wanted == "running" and decision.revision != before.revision:
            decided = self._reconciler.wish(before).decided
            wish = Wish(decision.spec, "running", decision.revision, before.live_revision, decided=decided)
            await check_room(self._world.backend, wish)

    async def carry_out(self, decision: Decision, by: str) -> None:
        """Write one decision down. The reconciler does the rest."""
        if decision.action == "unchanged":
            return
        api, revision = decision.spec.name, decision.revision
        files = decision.document.source.files
        self._world.variables.save(api, revision, decision.document.variables)
        self._reconciler.forget_workloads(api)  # credentials of an index may be new, though the revision is not
        await asyncio.to_thread(self._world.trees.materialise, api, revision, files)
        now = self._world.wall_clock()
        before = self._world.store.api(api)
        record = ApiRecord(
            name=api,
            kind=decision.spec.kind,
            document=decision.document.document,
            revision=revision,
            wanted="running",
            generation=before.generation + 1 if before else 1,
            updated_at=now,
            live_revision=before.live_revision if before else None,
            outdated=self._outdated(before, revision),
            scaled=self._scaled(before, decision.spec),
        )
        known = self._world.store.revision(revision, api)
        self._world.store.save_deploy(
            record,
            RevisionRecord(
                id=revision,
                api=api,
                document=decision.document.document,
                source=decision.document.source,
                environment_digest=decision.environment_digest,
                created_at=known.created_at if known else now,
                live_at=known.live_at if known else None,
                lived=known.lived if known else 0,
            ),
        )
        self._world.store.add_event(Event(api, now, "Deployed", decision.message))
        self._world.store.add_deed(
            Deed(
                api,
                now,
                DEEDS[decision.action],
                by,
                revision,
                git_commit=decision.document.source.git_commit,
                changes=decision.changes or (decision.message,),
                outcome="done" if decision.action == "configured" else "pending",
            )
        )

    def _outdated(self, before: ApiRecord | None, revision: str) -> tuple[str, ...]:
        """What has to go though the live revision is wanted: replicas of an update that this deploy takes back, or
        those that a restart has not replaced yet."""
        if before is None or before.live_revision != revision:
            return ()
        if before.revision == revision:
            return before.outdated
        replicas = [one for one in self._world.backend.observe(before.name) if one.state != "draining"]
        return tuple(replica.id for replica in replicas if replica.revision != revision)

    def _scaled(self, before: ApiRecord | None, spec: RealtimeApi) -> Scaled | None:
        """A number that somebody asked for goes on, unless the bounds it was chosen within are others now."""
        if before is None:
            return None
        old, new = self._reconciler.spec(before).autoscaling, spec.autoscaling
        is_same = (old.min_replicas, old.max_replicas) == (new.min_replicas, new.max_replicas)
        return before.scaled if is_same else None

    def _check_not_updating(self, decision: Decision) -> None:
        before = self._world.store.api(decision.spec.name)
        if before is None or decision.revision == before.revision:
            return
        replicas = self._world.backend.observe(before.name)
        wish, memory = self._reconciler.wish(before), self._reconciler.memory(before.name)
        update = describe_update(wish, replicas, memory)
        if update is not None:
            raise Conflict(
                f"{before.name} is {update}; this deploy is of another revision",
                hint=f"wait for it (hatchway get {before.name} --watch), or put this one in its place with --force",
            )

    def _parse(self, documents: Sequence[ApiDocument]) -> list[RealtimeApi]:
        specs, problems = [], []
        for document in documents:
            try:
                specs.append(parse_document(document.document, document.variables))
            except InvalidSpec as exc:
                prefix = f"{document.location}: " if document.location else ""
                problems += [prefix + problem for problem in exc.problems or (exc.message,)]
        if problems:
            raise InvalidSpec("the specification is wrong; nothing was changed", problems=tuple(problems))
        return specs

    def _check_endpoints(self, specs: Sequence[RealtimeApi]) -> None:
        deploying = {spec.name for spec in specs}
        taken = {
            self._reconciler.spec(record).endpoint: record.name
            for record in self._world.store.apis()
            if record.name not in deploying
        }
        for spec in specs:
            other = taken.setdefault(spec.endpoint, spec.name)
            if other != spec.name:
                raise Conflict(
                    f"{spec.name}: endpoint {spec.endpoint} is served by {other} already",
                    hint="give one of them another networking.endpoint",
                )

    async def _check_files(self, documents: Sequence[ApiDocument]) -> None:
        hashes = {file.sha256 for document in documents for file in document.source.files}
        missing = await asyncio.to_thread(self._world.blobs.missing, hashes)
        if missing:
            raise Conflict(f"{len(missing)} files of the project were not uploaded", hint="deploy again")

    def _decide(self, spec: RealtimeApi, document: ApiDocument) -> Decision:
        variables = running_variables(document.document, document.variables)
        digest = environment_digest(variables, self._world.variables.key())
        revision = revision_id(spec, document.document, document.source, digest)
        before = self._world.store.api(spec.name)
        if before is None or before.wanted == "deleted":
            return Decision(spec, document, revision, digest, "created", (), f"created revision {revision}")
        if before.kind != spec.kind:
            raise Conflict(f"{spec.name} is deployed as a {before.kind}", hint=f"`hatchway delete {spec.name}` first")
        changes = self._changes(before, Version(spec, document.document, document.source, variables))
        action, message, is_retry = self._effect(before, revision, changes)
        lines = (*changes.replacing, *changes.in_place)
        return Decision(spec, document, revision, digest, action, lines, message, is_retry)

    def _effect(self, before: ApiRecord, revision: str, changes: Changes) -> tuple[DeployAction, str, bool]:
        if revision != before.revision:
            return "updated", f"updated to revision {revision}: {'; '.join(changes.replacing) or 'back again'}", False
        if before.wanted == "stopped":
            return "updated", "started again", True
        if self._reconciler.has_failed(before.name):
            return "updated", "trying again: the last attempt failed", True
        if changes.in_place:
            return "configured", f"changed in place: {'; '.join(changes.in_place)}", False
        if before.live_revision != revision or before.outdated:
            return "unchanged", "already updating", False
        return "unchanged", "up to date", False

    def _changes(self, before: ApiRecord, new: Version) -> Changes:
        if self._world.store.revision(before.revision, before.name) is None:
            return Changes(("its former revision is not known any more",), ())
        old = self.version(before.name, before.revision, before.document)
        if old is None:
            return Changes(("written by another release",), ())
        return describe_changes(old, new)

    def version(self, api: str, revision_id: str, document: dict[str, Any]) -> Version | None:
        """What `document` says with the files and variables of a revision; None when another release, with rules of
        its own, wrote it, or the revision is not known."""
        revision = self._world.store.revision(revision_id, api)
        values = self._world.variables.load(api, revision_id)
        try:
            spec = parse_document(document, values)
        except HatchwayError:
            return None
        if revision is None:
            return None
        return Version(spec, document, revision.source, running_variables(document, values))
