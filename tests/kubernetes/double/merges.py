"""The three ways of patching besides server-side apply: JSON merge patch, JSON patch, strategic merge patch. Pure."""

from __future__ import annotations

import copy
from typing import Any

from tests.kubernetes.double.schemas import Json, Schemas


class Unpatchable(Exception):
    """A JSON patch does not fit: its test failed, or its path leads nowhere."""


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def json_patch(target: Json, operations: list[Json]) -> Json:
    """RFC 6902 without `move` and `copy`. Raises Unpatchable."""
    result = copy.deepcopy(target)
    for operation in operations:
        path = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        try:
            _carry_out(result, path, operation)
        except (KeyError, IndexError, ValueError) as exc:
            raise Unpatchable(f"the server rejected our request due to an error in our request: {exc!r}") from exc
    return result


def _carry_out(document: Any, path: list[str], operation: Json) -> None:
    parent = document
    for part in path[:-1]:
        parent = parent[int(part)] if isinstance(parent, list) else parent[part]
    last: Any = path[-1]
    if isinstance(parent, list):
        last = len(parent) if last == "-" else int(last)
    match operation["op"]:
        case "test":
            if parent[last] != operation["value"]:
                raise Unpatchable(f"testing value {operation['path']} failed")
        case "remove":
            del parent[last]
        case "add" if isinstance(parent, list):
            parent.insert(last, operation["value"])
        case "replace":
            parent[last]  # it must exist
            parent[last] = operation["value"]
        case "add":
            parent[last] = operation["value"]
        case other:
            raise Unpatchable(f"operation {other} is not known here")


def strategic_merge(target: Any, patch: Any, node: Json, schemas: Schemas) -> Any:
    """Like a merge patch, but lists with a merge key are merged item by item; `$patch: delete` removes one."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    if patch.get("$patch") == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        inner = schemas.child(node, name) or {}
        if value is None:
            merged.pop(name, None)
        elif name.startswith("$deleteFromPrimitiveList/"):
            of = name.partition("/")[2]
            merged[of] = [each for each in merged.get(of, []) if each not in value]
        elif name.startswith("$setElementOrder/") or name == "$retainKeys":
            continue
        elif isinstance(value, list) and inner.get("x-kubernetes-patch-strategy", "").startswith("merge"):
            merged[name] = _merge_lists(merged.get(name) or [], value, inner, schemas)
        else:
            merged[name] = strategic_merge(merged.get(name), value, inner, schemas)
    return merged


def _merge_lists(target: list[Any], patch: list[Any], node: Json, schemas: Schemas) -> list[Any]:
    key = node.get("x-kubernetes-patch-merge-key")
    if key is None:
        return target + [each for each in patch if each not in target]
    merged = list(target)
    for item in patch:
        at = next((n for n, each in enumerate(merged) if each.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            merged.append(copy.deepcopy(item))
        else:
            merged[at] = strategic_merge(merged[at], item, schemas.items(node), schemas)
    return merged
