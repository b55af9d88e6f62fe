"""Label and field selectors, as in queries and in specs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.kubernetes.double.failures import bad_request
from tests.kubernetes.double.schemas import Json

_SET = re.compile(r"\s*([^\s=!,()]+)\s+(in|notin)\s+\(([^)]*)\)\s*")


def match_query(labels: Mapping[str, str], selector: str) -> bool:
    """`a=b,c!=d,e in (f,g),h,!i`. Raises Refused (400)."""
    return all(_match_one(labels, each.strip()) for each in re.split(r",(?![^(]*\))", selector) if each.strip())


def _match_one(labels: Mapping[str, str], requirement: str) -> bool:
    if found := _SET.fullmatch(requirement):
        values = [each.strip() for each in found[3].split(",")]
        return (labels.get(found[1]) in values) == (found[2] == "in")
    if "!=" in requirement:
        name, _, value = requirement.partition("!=")
        return labels.get(name.strip()) != value.strip()
    if "=" in requirement:
        name, _, value = requirement.replace("==", "=").partition("=")
        return labels.get(name.strip()) == value.strip()
    if requirement.startswith("!"):
        return requirement[1:] not in labels
    if " " in requirement:
        raise bad_request(f"unable to parse requirement: {requirement}")
    return requirement in labels


def match_fields(obj: Json, selector: str) -> bool:
    """`metadata.name=a,spec.nodeName!=b`."""
    for each in filter(None, selector.split(",")):
        name, is_negative, value = re.fullmatch(r"([^=!]+)(!?)==?(.*)", each).groups()  # type: ignore[union-attr]
        found: Any = obj
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if (str(found if found is not None else "") == value) == bool(is_negative):
            return False
    return True


def match_spec(labels: Mapping[str, str], selector: Json) -> bool:
    """A `selector` with matchLabels and matchExpressions."""
    if any(labels.get(name) != value for name, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_match_expression(labels, each) for each in selector.get("matchExpressions", ()))


def _match_expression(labels: Mapping[str, str], each: Json) -> bool:
    name, values = each["key"], each.get("values", [])
    match each["operator"]:
        case "In":
            return labels.get(name) in values
        case "NotIn":
            return labels.get(name) not in values
        case "Exists":
            return name in labels
        case _:
            return name not in labels
