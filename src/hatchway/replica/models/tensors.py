"""Nested lists as tensors: their shape, what is in them, and their JSON Schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hatchway.replica.models.model import Schema

MAX_DEPTH = 32
_ALLOWED = {"number": (int, float), "integer": (int,), "boolean": (bool,), "string": (str,)}


class WrongShape(Exception):
    """Lists of different lengths, or values of another kind."""


def depth_of(value: Any) -> int:
    """How deep lists are nested, by the first of each."""
    depth = 0
    while isinstance(value, list) and depth <= MAX_DEPTH:
        depth += 1
        value = value[0] if value else None
    return depth


def shape_of(value: Any, kind: str) -> tuple[int, ...]:
    """Raises WrongShape when lists are ragged, or hold something else than `kind`: number, integer, boolean, string."""
    if not isinstance(value, list):
        is_right = isinstance(value, _ALLOWED[kind]) and (kind == "boolean" or not isinstance(value, bool))
        if not is_right:
            raise WrongShape(f"{_shown(value)} is no {kind}")
        return ()
    if depth_of(value) > MAX_DEPTH:
        raise WrongShape("lists are nested too deeply")
    shapes = {shape_of(item, kind) for item in value}
    if len(shapes) > 1:
        raise WrongShape("lists within it have different lengths")
    return (len(value), *(shapes.pop() if shapes else ()))


def tensor_schema(kind: str, shape: Sequence[int | None]) -> Schema:
    """Of nested lists; None: any length."""
    schema: Schema = {"type": kind}
    for size in reversed(shape):
        limits = {} if size is None else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **limits}
    return schema


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
