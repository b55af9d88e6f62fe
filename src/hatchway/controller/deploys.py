"""What a deploy would do and doing it: documents become revisions, and the newest becomes the wanted one.

Everything is checked before anything is written: one wrong API in a request changes nothing at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hatchway.controller.reconcile import Reconciler, World
from hatchway.errors import Conflict, HatchwayError, InvalidSpec
from hatchway.spec.api import RealtimeApi
from hatchway.spec.changes import Changes, Version, describe_changes
from hatchway.spec.deploy import ApiDocument, DeployRequest
from hatchway.spec.load import parse_document
from hatchway.spec.revision import environment_digest, revision_id, running_variables
from hatchway.store.sqlite import ApiRecord, Event, RevisionRecord

Action = Literal["created", "updated", "configured", "unchanged"]


@dataclass(frozen=True)
class Decision:
    """What a deploy does to one API."""

    spec: RealtimeApi
    document: ApiDocument
    revision: str
    environment_digest: str
    action: Action
    changes: tuple[str, ...]
    message: str
    is_retry: bool = False  # the revision is the wanted one already and failed: try it again


class Deploys:
    """Decides on deploy requests and carries them out."""

    def __init__(self, world: World, reconciler: Reconciler) -> None:
        self._world = world
        self._reconciler = reconciler

    def decide(self, request: DeployRequest) -> list[Decision]:
        """Raises InvalidSpec with the problems of all APIs, or Conflict."""
        specs = self._parse(request.apis)
        self._check_endpoints(specs)
        if not request.dry_run:
            self._check_files(request.apis)
        return [self._decide(spec, document) for spec, document in zip(specs, request.apis, strict=True)]

    async def carry_out(self, decision: Decision) -> None:
        """Write one decision down. The reconciler does the rest."""
        if decision.action == "unchanged":
            return
        api, revision = decision.spec.name, decision.revision
        files = decision.document.source.files
        self._world.variables.save(api, revision, decision.document.variables)
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
            ),
        )
        self._world.store.add_event(Event(api, now, "Deployed", decision.message))

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

    def _check_files(self, documents: Sequence[ApiDocument]) -> None:
        hashes = {file.sha256 for document in documents for file in document.source.files}
        missing = self._world.blobs.missing(hashes)
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

    def _effect(self, before: ApiRecord, revision: str, changes: Changes) -> tuple[Action, str, bool]:
        if revision != before.revision:
            return "updated", f"updated to revision {revision}: {'; '.join(changes.replacing) or 'back again'}", False
        if before.wanted == "stopped":
            return "updated", "started again", True
        if self._reconciler.has_failed(before.name):
            return "updated", "trying again: the last attempt failed", True
        if changes.in_place:
            return "configured", f"changed in place: {'; '.join(changes.in_place)}", False
        if before.live_revision != revision:
            return "unchanged", "already updating", False
        return "unchanged", "up to date", False

    def _changes(self, before: ApiRecord, new: Version) -> Changes:
        revision = self._world.store.revision(before.revision, before.name)
        if revision is None:
            return Changes(("its former revision is not known any more",), ())
        values = self._world.variables.load(before.name, before.revision)
        try:
            spec = parse_document(before.document, values)
        except HatchwayError:  # written by another release, with rules of its own
            return Changes(("written by another release",), ())
        running = running_variables(before.document, values)
        return describe_changes(Version(spec, before.document, revision.source, running), new)
