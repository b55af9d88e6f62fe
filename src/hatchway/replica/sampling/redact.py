"""What may not leave a replica is taken out of payloads here. Pure.

A field is named as in reports, without its side: "email", "user.email". A list on the way to it counts for nothing:
"user.email" is in {"user": {"email": 1}} and in [{"user": [{"email": 1}]}]. The values of a list of numbers are
named by their places, "features.0". A name stands for all that is below it.

What is redacted is so at any depth: who writes "email" means that of {"user": {"email": 1}}, and an answer may repeat
a payload within something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def covers(names: Sequence[str], name: str) -> bool:
    """Whether one of `names` is this field, or one that it is part of."""
    return any(name == one or name.startswith(f"{one}.") for one in names)


def hides(names: Sequence[str], name: str) -> bool:
    """Whether one of `names` is this field, or one that it is part of, wherever it lies."""
    return any(f".{one}." in f".{name}." for one in names)


def without(value: Any, names: Sequence[str]) -> Any:
    """A JSON value without these fields."""
    return _filtered(value, "", lambda name: not hides(names, name)) if names else value


def only(value: Any, names: Sequence[str]) -> Any:
    """A JSON value with nothing but these fields; what is no object has none and becomes None."""
    if not isinstance(value, (dict, list)):
        return None
    return _filtered(value, "", lambda name: covers(names, name) or any(one.startswith(f"{name}.") for one in names))


def _filtered(value: Any, prefix: str, keeps: Callable[[str], bool]) -> Any:
    if isinstance(value, dict):
        kept = {key: f"{prefix}{key}" for key in value if keeps(f"{prefix}{key}")}
        return {key: _filtered(value[key], f"{name}.", keeps) for key, name in kept.items()}
    if isinstance(value, list):
        return [
            _filtered(item, prefix, keeps) if isinstance(item, (dict, list)) or keeps(f"{prefix}{place}") else None
            for place, item in enumerate(value)
        ]
    return value
