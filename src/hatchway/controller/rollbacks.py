"""Going back: an earlier revision becomes the wanted one, with the settings of now that need no new replicas.

What runs (handler, compute, files, packages, secret values) is the revision's own. `autoscaling`, `update_strategy`,
`networking` and `monitoring` stay: they were often changed because of what happened since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hatchway.controller.deploys import Decision, Deploys
from hatchway.controller.reconcile import Reconciler, World
from hatchway.errors import Conflict, InvalidSpec, NotFound
from hatchway.spec.api import RealtimeApi
from hatchway.spec.changes import Version, describe_changes
from hatchway.spec.deploy import ApiDocument
from hatchway.spec.load import parse_document
from hatchway.spec.revision import RUNNING_SECTIONS, running_variables
from hatchway.spec.variables import names_in
from hatchway.store.sqlite import ApiRecord, RevisionRecord

IN_PLACE_SECTIONS = frozenset(RealtimeApi.model_fields) - {"name", "kind", *RUNNING_SECTIONS}


class Rollbacks:
    """Decides on rollbacks; they are carried out like deploys."""

    def __init__(self, world: World, reconciler: Reconciler, deploys: Deploys) -> None:
        self._world = world
        self._reconciler = reconciler
        self._deploys = deploys

    def decide(self, record: ApiRecord, to: str | None) -> Decision:
        """Raises NotFound, or Conflict when there is nothing to go back to."""
        revisions = self._world.store.revisions(record.name)
        target = find_named(record, revisions, to) if to else find_earlier(record, revisions)
        document = merge_documents(target.document, record.document)
        values = merge_variables(
            document,
            self._world.variables.load(record.name, target.id),
            self._world.variables.load(record.name, record.revision),
        )
        try:
            spec = parse_document(document, values)
        except InvalidSpec as exc:
            raise Conflict(
                f"{record.name}: revision {target.id} does not go with the settings of now: "
                + "; ".join(exc.problems or (exc.message,)),
                hint="deploy its files with settings that fit",
            ) from exc
        version = Version(spec, document, target.source, running_variables(document, values))
        now = self._deploys.version(record.name, record.revision, record.document)
        then = self._deploys.version(record.name, target.id, target.document)
        changes = () if now is None else describe_changes(now, version).replacing
        is_retry = record.wanted != "running" or self._reconciler.has_failed(record.name)
        is_done = target.id == record.revision and not is_retry
        started = " and started" if record.wanted == "stopped" else ""
        return Decision(
            spec=spec,
            document=ApiDocument(document=document, variables=values, source=target.source),
            revision=target.id,
            environment_digest=target.environment_digest,
            action="unchanged" if is_done else "rolled_back",
            changes=changes,
            message="the wanted one already" if is_done else f"rolled back to revision {target.id}{started}",
            is_retry=is_retry,
            kept=() if then is None else describe_changes(then, version).in_place,
        )


def find_earlier(record: ApiRecord, revisions: Sequence[RevisionRecord]) -> RevisionRecord:
    """The revision that was live last, but for the wanted one. Raises Conflict."""
    lived = [one for one in revisions if one.lived and one.id != record.revision]
    if lived:
        return max(lived, key=lambda one: one.lived)
    raise Conflict(f"{record.name} has no earlier revision that was live", hint=_there_are(revisions))


def find_named(record: ApiRecord, revisions: Sequence[RevisionRecord], to: str) -> RevisionRecord:
    """The revision whose name begins with `to`. Raises NotFound."""
    found = [one for one in revisions if one.id.startswith(to)]
    if len(found) == 1:
        return found[0]
    problem = "has several revisions" if found else "has no revision"
    raise NotFound(f"{record.name} {problem} {to}", hint=_there_are(found or revisions))


def _there_are(revisions: Sequence[RevisionRecord]) -> str:
    names = [one.id if one.lived else f"{one.id} (never live)" for one in revisions]
    return f"there are: {', '.join(names)}; older ones may have been pruned"


def merge_documents(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What runs as it was, what changes in place as it is."""
    runs = {key: value for key, value in then.items() if key not in IN_PLACE_SECTIONS}
    return runs | {key: value for key, value in now.items() if key in IN_PLACE_SECTIONS}


def merge_variables(document: Mapping[str, Any], then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """The values that each part had with its settings; where both name a variable, what runs decides."""
    running = names_in({key: document.get(key) for key in RUNNING_SECTIONS})
    in_place = names_in({key: document.get(key) for key in IN_PLACE_SECTIONS})
    return {name: now[name] for name in in_place if name in now} | {
        name: then[name] for name in running if name in then
    }
