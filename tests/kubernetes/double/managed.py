"""Who owns which field: server-side apply and the record that every other write leaves. Pure.

A field is a path of elements as in `fieldsV1`: "f:spec", 'k:{"name":"web"}', 'v:"finalizer"'.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

from tests.kubernetes.double.schemas import Json, Schemas

Path = tuple[str, ...]
_METADATA_OWNED = {"labels", "annotations", "ownerReferences", "finalizers"}


@dataclass(frozen=True)
class Manager:
    name: str
    operation: str  # "Apply" or "Update"
    subresource: str = ""


Owners = dict[Manager, set[Path]]


class Conflicting(Exception):
    """Fields that others own would get another value."""

    def __init__(self, conflicts: list[tuple[str, str]]) -> None:
        super().__init__(
            f"Apply failed with {len(conflicts)} conflict{'s' * (len(conflicts) > 1)}: "
            + ", ".join(f'conflict with "{manager}": {path}' for manager, path in conflicts)
        )
        self.conflicts = conflicts


class Fields:
    """Field sets of objects of one kind."""

    def __init__(self, node: Json, schemas: Schemas) -> None:
        self._node = node
        self._schemas = schemas

    def of(self, obj: Json) -> dict[Path, Any]:
        """Every field of an object that can be owned -> its value."""
        found: dict[Path, Any] = {}
        for name, value in obj.items():
            if name == "metadata":
                inner = self._schemas.child(self._node, "metadata") or {}
                kept = {key: each for key, each in value.items() if key in _METADATA_OWNED}
                if kept:
                    self._collect(kept, inner, ("f:metadata",), found)
            elif name not in ("apiVersion", "kind"):
                self._collect(value, self._schemas.child(self._node, name) or {}, (f"f:{name}",), found)
        return found

    def _collect(self, value: Any, node: Json, path: Path, found: dict[Path, Any]) -> None:
        if isinstance(value, dict) and value and node.get("x-kubernetes-map-type") != "atomic":
            for name, each in value.items():
                self._collect(each, self._schemas.child(node, name) or {}, (*path, f"f:{name}"), found)
        elif isinstance(value, list) and node.get("x-kubernetes-list-type") == "map":
            for item in value:
                here = (*path, _key_of(item, node))
                found[here] = None  # that it is there
                self._collect(item, self._schemas.items(node), here, found)
        elif isinstance(value, list) and node.get("x-kubernetes-list-type") == "set":
            found.update({(*path, "v:" + json.dumps(each)): None for each in value})
        else:
            found[path] = value

    def merge(self, live: Any, applied: Any, node: Json | None = None) -> Any:
        node = self._node if node is None else node
        if isinstance(applied, dict) and isinstance(live, dict) and node.get("x-kubernetes-map-type") != "atomic":
            merged = dict(live)
            for name, value in applied.items():
                inner = self._schemas.child(node, name) or {}
                merged[name] = self.merge(live[name], value, inner) if name in live else copy.deepcopy(value)
            return merged
        if isinstance(applied, list) and isinstance(live, list):
            if node.get("x-kubernetes-list-type") == "set":
                return live + [each for each in applied if each not in live]
            if node.get("x-kubernetes-list-type") == "map":
                return self._merge_items(live, applied, node)
        return copy.deepcopy(applied)

    def _merge_items(self, live: list[Json], applied: list[Json], node: Json) -> list[Json]:
        merged = {_key_of(item, node): item for item in live}
        for item in applied:
            key = _key_of(item, node)
            inner = self._schemas.items(node)
            merged[key] = self.merge(merged[key], item, inner) if key in merged else copy.deepcopy(item)
        return list(merged.values())


_KEY_DEFAULTS = {"protocol": "TCP"}


def _key_of(item: Json, node: Json) -> str:
    names = node["x-kubernetes-list-map-keys"]
    return "k:" + json.dumps({name: item.get(name, _KEY_DEFAULTS.get(name)) for name in names}, sort_keys=True)


def apply(live: Json, applied: Json, manager: Manager, owners: Owners, fields: Fields, *, force: bool) -> Json:
    """The object after an apply; `owners` is changed. Raises Conflicting."""
    wanted, there = fields.of(applied), fields.of(live)
    conflicts = [
        (other.name, ".".join(part.partition(":")[2] for part in path))
        for other, paths in owners.items()
        if other != manager
        for path in sorted(paths & wanted.keys())
        if path in there and there[path] != wanted[path]
    ]
    if conflicts and not force:
        raise Conflicting(conflicts)
    merged = fields.merge(live, applied)
    former = owners.get(manager, set())
    others = set().union(*(paths for other, paths in owners.items() if other != manager))
    for path in sorted(former - wanted.keys(), key=len):
        if not any(other[: len(path)] == path for other in others):
            _remove(merged, list(path))
    for other, paths in owners.items():
        if other != manager:
            paths.difference_update(path for path in wanted if path in there and there[path] != wanted[path])
    owners[manager] = set(wanted)
    return merged  # type: ignore[no-any-return]


def record_update(before: Json | None, after: Json, manager: Manager, owners: Owners, fields: Fields) -> None:
    """A write other than an apply: what it changed is the writer's."""
    old, new = ({} if before is None else fields.of(before)), fields.of(after)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    gone = old.keys() - new.keys()
    for paths in owners.values():
        paths.difference_update(changed, gone)
    if changed:
        owners.setdefault(manager, set()).update(changed)
    for each in [each for each, paths in owners.items() if not paths]:
        del owners[each]


def _remove(value: Any, path: list[str]) -> None:
    kind, _, name = path[0].partition(":")
    if kind == "f":
        if not isinstance(value, dict) or name not in value:
            return
        if len(path) == 1:
            del value[name]
            return
        value[name] = copy.copy(value[name])
        _remove(value[name], path[1:])
        if value[name] in ({}, []):
            del value[name]
        return
    if not isinstance(value, list):
        return
    if kind == "v":
        value[:] = [each for each in value if each != json.loads(name)]
        return
    key = json.loads(name)
    for at, item in enumerate(value):
        if all(item.get(part, _KEY_DEFAULTS.get(part)) == wanted for part, wanted in key.items()):
            if len(path) == 1:
                del value[at]
            else:
                value[at] = copy.copy(item)
                _remove(value[at], path[1:])
            return


# --- as it stands in metadata.managedFields --------------------------------------------------------------------
def read_owners(metadata: Json) -> Owners:
    return {
        Manager(each["manager"], each["operation"], each.get("subresource", "")): set(_paths(each["fieldsV1"]))
        for each in metadata.get("managedFields", ())
    }


def write_owners(owners: Owners, api_version: str, now: str) -> list[Json]:
    entries = []
    for manager, paths in owners.items():
        tree: Json = {}
        for path in sorted(paths):
            at = tree
            for part in path:
                at = at.setdefault(part, {})
            if path[-1].startswith("k:"):
                at["."] = {}
        entry = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": api_version,
            "time": now,
            "fieldsType": "FieldsV1",
            "fieldsV1": tree,
        }
        entries.append({**entry, "subresource": manager.subresource} if manager.subresource else entry)
    return entries


def _paths(tree: Json, path: Path = ()) -> list[Path]:
    found = []
    for name, inner in tree.items():
        if name == ".":
            found.append(path)
        elif inner:
            found += _paths(inner, (*path, name))
        else:
            found.append((*path, name))
    return found
