"""What each kind looks like, from the OpenAPI schemas that Kubernetes publishes, and how an object conforms to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

Json = dict[str, Any]

_FOLDER = "kubernetes-json-schema"
_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@cache
def published_minors() -> tuple[str, ...]:
    """ "1.36" and so on, the oldest first."""
    folder = files("kubernetes_validate").joinpath(_FOLDER)
    found = {match[1] for each in folder.iterdir() if (match := re.match(r"v(\d+\.\d+)\.\d+-local-strict$", each.name))}
    return tuple(sorted(found, key=lambda minor: [int(part) for part in minor.split(".")]))


@cache
def schemas_of(minor: str) -> Schemas:
    path = files("kubernetes_validate").joinpath(_FOLDER, f"v{minor}.0-local-strict", "_definitions.json")
    return Schemas(json.loads(path.read_text())["$defs"])


class Schemas:
    """The definitions of one Kubernetes minor."""

    def __init__(self, definitions: Mapping[str, Json]) -> None:
        self.definitions = definitions
        self._kinds = {
            (kind["group"], kind["version"], kind["kind"]): node
            for node in definitions.values()
            for kind in node.get("x-kubernetes-group-version-kind", ())
        }

    def of(self, group: str, version: str, kind: str) -> Json:
        return self._kinds[group, version, kind]

    def of_custom(self, schema: Json) -> Json:
        """The whole node of a custom resource: what every object has, and its own."""
        own = schema.get("properties", {})
        common = {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": self.definitions[_METADATA],
        }
        return {**schema, "properties": {**own, **common}}

    def resolve(self, node: Json) -> Json:
        """A node without a reference; what stands beside the reference counts too."""
        if "$ref" not in node:
            return node
        target = self.definitions[node["$ref"].rpartition("/")[2]]
        return {**self.resolve(target), **{key: value for key, value in node.items() if key != "$ref"}}

    def child(self, node: Json, name: str) -> Json | None:
        """The node of a field of an object; None: there is no such field."""
        node = self.resolve(node)
        if name in node.get("properties", {}):
            found: Json = self.resolve(node["properties"][name])
            return found
        more = node.get("additionalProperties")
        if isinstance(more, dict):
            return self.resolve(more)
        return None if is_closed(node) else {}

    def items(self, node: Json) -> Json:
        return self.resolve(self.resolve(node).get("items", {}))


def is_closed(node: Json) -> bool:
    """Whether fields without a schema are dropped."""
    if node.get("x-kubernetes-preserve-unknown-fields") or "x-kubernetes-int-or-string" in node:
        return False
    return "properties" in node or node.get("additionalProperties") is False


@dataclass
class Findings:
    unknown: list[str] = field(default_factory=list)  # fields without a schema: dropped, or an error when strict
    wrong: list[str] = field(default_factory=list)  # of the wrong type: cannot be read
    invalid: list[str] = field(default_factory=list)  # read, but not allowed


def conform(value: Any, node: Json, schemas: Schemas, findings: Findings, path: str = "") -> Any:
    """The value without fields that have no schema, without nulls, and with the schema's defaults filled in."""
    node = schemas.resolve(node)
    if not _is_of_type(value, node):
        findings.wrong.append(f"{path}: {type(value).__name__} {value!r} is not {node.get('type')}")
        return value
    _check_rules(value, node, findings, path)
    if isinstance(value, dict):
        return _conform_object(value, node, schemas, findings, path)
    if isinstance(value, list):
        inner = schemas.items(node)
        return [conform(each, inner, schemas, findings, f"{path}[{n}]") for n, each in enumerate(value)]
    return value


def _conform_object(value: Json, node: Json, schemas: Schemas, findings: Findings, path: str) -> Json:
    kept: Json = {}
    for name, each in value.items():
        inner = schemas.child(node, name)
        here = f"{path}.{name}".lstrip(".")
        if inner is None:
            findings.unknown.append(here)
        elif each is not None or inner.get("nullable"):
            kept[name] = each if each is None else conform(each, inner, schemas, findings, here)
    for name, raw in node.get("properties", {}).items():
        if name not in kept and "default" in raw:
            kept[name] = conform(json.loads(json.dumps(raw["default"])), raw, schemas, findings, f"{path}.{name}")
    findings.invalid += [
        f"{path}.{name}: Required value".lstrip(".") for name in node.get("required", ()) if name not in kept
    ]
    return kept


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def _is_of_type(value: Any, node: Json) -> bool:
    if node.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    wanted = node.get("type")
    if wanted is None:
        return True
    names = wanted if isinstance(wanted, list) else [wanted]
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES[name]) for name in names)


def _check_rules(value: Any, node: Json, findings: Findings, path: str) -> None:
    if "enum" in node and value not in node["enum"]:
        findings.invalid.append(f"{path}: Unsupported value: {value!r}: supported values: {node['enum']}")
    if isinstance(value, str):
        if "pattern" in node and not re.search(node["pattern"], value):
            findings.invalid.append(f"{path}: Invalid value: {value!r}: should match {node['pattern']!r}")
        if len(value) < node.get("minLength", 0) or len(value) > node.get("maxLength", len(value)):
            findings.invalid.append(f"{path}: Invalid value: length of {value!r}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = node.get("minimum", value), node.get("maximum", value)
        if not low <= value <= high or (node.get("exclusiveMinimum") is True and value == low):
            findings.invalid.append(f"{path}: Invalid value: {value!r}: should be from {low} to {high}")
    if isinstance(value, list) and len(value) < node.get("minItems", 0):
        findings.invalid.append(f"{path}: Invalid value: at least {node['minItems']} items")
