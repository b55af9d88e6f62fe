"""The CustomResourceDefinition of a RealtimeAPI, made from the models of the YAML. Pure.

Structural, as Kubernetes demands: every field has a type, without references. Where a number may stand, so may a
`${VAR}` or a text such as 30s, which only the models tell right from wrong: the operator does, and says so in the
status, in the words that `deploy` has for it.
"""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hatchway.kubernetes.names import HATCHWAY, MANAGED_BY, NAME
from hatchway.kubernetes.resources import REALTIME_APIS, Json, Resource
from hatchway.spec.api import RealtimeApi
from hatchway.spec.values import Rule

_ANY: Json = {"x-kubernetes-preserve-unknown-fields": True}
_LEAVES: dict[Any, Json] = {str: {"type": "string"}, int: {"x-kubernetes-int-or-string": True}}
_NOT_IN_SPEC = ("name", "kind")  # they stand in metadata.name and kind


def realtime_api_definition() -> Json:
    """As to be applied."""
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {"spec": _spec_schema(), "status": _status_schema()},
    }
    version = {
        "name": REALTIME_APIS.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.autoscaling.min_replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            _column("Status", ".status.phase"),
            _column("Ready", ".status.readyReplicas", type="integer"),
            _column("Wanted", ".status.replicas", type="integer"),
            _column("Revision", ".status.revision"),
            _column("Endpoint", ".status.endpoint"),
            _column("Reason", ".status.reason"),
            _column("Age", ".metadata.creationTimestamp", type="date"),
        ],
    }
    return _definition(REALTIME_APIS, version, singular="realtimeapi", short=["rtapi"])


def definition_name(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}"


def _definition(resource: Resource, version: Json, *, singular: str, short: list[str]) -> Json:
    names = {
        "plural": resource.plural,
        "singular": singular,
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "shortNames": short,
        "categories": ["hatchway"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": definition_name(resource), "labels": {NAME: HATCHWAY, MANAGED_BY: HATCHWAY}},
        "spec": {"group": resource.group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _column(name: str, path: str, *, type: str = "string") -> Json:
    return {"name": name, "type": type, "jsonPath": path}


# --- spec ------------------------------------------------------------------------------------------------------
def _spec_schema() -> Json:
    schema = schema_of(RealtimeApi)
    properties = {name: each for name, each in schema["properties"].items() if name not in _NOT_IN_SPEC}
    # The scale subresource reads a number where nobody may have written one.
    properties["autoscaling"]["default"] = {}
    properties["autoscaling"]["properties"]["min_replicas"]["default"] = 1
    properties["source"] = {
        "type": "object",
        "description": "The project that runs, as the command line uploaded it.",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    required = [name for name in schema.get("required", ()) if name not in _NOT_IN_SPEC]
    return {**schema, "properties": {**properties, **_VERBS}, "required": required}


# What commands ask of an API beside its YAML.
_VERBS: Json = {
    "stopped": {"type": "boolean", "description": "Whether it runs no replicas, as `hatchway stop` asks for."},
    "restarted_at": {
        "type": "string",
        "description": "Another moment than before (ISO 8601): all replicas are replaced, as by `hatchway restart`.",
    },
    "scaled": {
        "type": "object",
        "description": "So many replicas until a moment (ISO 8601), whatever the load, as by `hatchway scale`.",
        "required": ["replicas", "until"],
        "properties": {"replicas": {"type": "integer"}, "until": {"type": "string"}},
    },
}


def schema_of(model: type[BaseModel]) -> Json:
    """A section of the YAML as a structural schema."""
    properties = {}
    required = []
    for name, field in model.model_fields.items():
        written = field.alias or name
        properties[written] = {**_schema_of_annotation(field.annotation), "description": _description(field)}
        if field.is_required():
            required.append(written)
    found: Json = {"type": "object", "properties": properties}
    return {**found, "required": required} if required else found


def _description(field: FieldInfo) -> str:
    rules = [*field.metadata, *(part for inner in get_args(field.annotation) for part in get_args(inner))]
    says = next((rule.says for rule in rules if isinstance(rule, Rule)), "")
    return " ".join(part for part in (field.description, f"Must be {says}." if says else "") if part)


def _schema_of_annotation(annotation: Any) -> Json:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _schema_of_annotation(parts[0])
    if origin in (typing.Union, types.UnionType):
        return _schema_of_union([each for each in parts if each is not type(None)])
    if origin is dict:
        inner = _schema_of_annotation(parts[1])
        return {"type": "object", **(_ANY if inner == _ANY else {"additionalProperties": inner})}
    if origin is tuple:
        return {"type": "array", "items": _schema_of_annotation(parts[0])}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return schema_of(annotation)
    return dict(_LEAVES.get(str if origin is typing.Literal else annotation, _ANY))


def _schema_of_union(choices: list[Any]) -> Json:
    if len(choices) == 1:
        return _schema_of_annotation(choices[0])
    return {"x-kubernetes-int-or-string": True} if set(choices) == {int, str} else dict(_ANY)


# --- status ----------------------------------------------------------------------------------------------------
def _status_schema() -> Json:
    text, count = {"type": "string"}, {"type": "integer"}
    condition = {
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": text,
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "observedGeneration": count,
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "reason": text,
            "message": text,
        },
    }
    return {
        "type": "object",
        "properties": {
            "observedGeneration": count,
            "phase": text,
            "reason": text,
            "message": text,
            "revision": text,
            "liveRevision": text,
            "endpoint": text,
            "replicas": count,
            "readyReplicas": count,
            "selector": text,
            "routing": _routing_schema(),
            "restartedAt": text,
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": condition,
            },
        },
    }


def _routing_schema() -> Json:
    text, number, texts = {"type": "string"}, {"type": "number"}, {"type": "array", "items": {"type": "string"}}
    count, flag = {"type": "integer", "format": "int64"}, {"type": "boolean"}
    return {
        "type": "object",
        "description": "How gateways treat requests for the API. Written by the operator that leads, read by all.",
        "required": ["endpoint", "timeoutSeconds", "streamIdleTimeoutSeconds", "maxBodyBytes", "idempotent", "maxHeld"],
        "properties": {
            "endpoint": text,
            "timeoutSeconds": number,
            "streamIdleTimeoutSeconds": number,
            "maxBodyBytes": count,
            "idempotent": flag,
            "maxHeld": count,
            "cors": {
                "type": "object",
                "properties": {
                    "allowOrigins": texts,
                    "allowMethods": texts,
                    "allowHeaders": texts,
                    "exposeHeaders": texts,
                    "allowCredentials": flag,
                    "maxAge": number,
                },
            },
        },
    }
