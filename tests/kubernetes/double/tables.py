"""What `kubectl get` shows: the printer columns of a custom resource, or just names. Pure."""

from __future__ import annotations

import re
from typing import Any

from tests.kubernetes.double.kinds import Kind
from tests.kubernetes.double.schemas import Json

_FILTER = re.compile(r'\[\?\(@\.(\w+)==["\'](.*?)["\']\)\]')


def to_table(kind: Kind, objects: list[Json], metadata: Json) -> Json:
    columns = [] if kind.custom is None else kind.custom.get("additionalPrinterColumns", [])
    definitions = [{"name": "Name", "type": "string", "format": "name", "priority": 0, "description": ""}]
    definitions += [{"priority": 0, "format": "", "description": "", **each} for each in columns]
    rows = [
        {
            "cells": [obj["metadata"]["name"], *(find(obj, each["jsonPath"]) for each in columns)],
            "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]},
        }
        for obj in objects
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    }


def find(obj: Any, json_path: str) -> Any:
    """The value at a JSON path of names and of filters by equality; None: there is none."""
    for part in re.findall(r"\[\?\(.*?\)\]|\.[^.\[]+", json_path):
        if obj is None:
            return None
        if match := _FILTER.fullmatch(part):
            obj = next((each for each in obj if str(each.get(match[1])) == match[2]), None)
        else:
            obj = obj.get(part[1:]) if isinstance(obj, dict) else None
    return obj
