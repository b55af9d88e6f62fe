"""What differs between an object as it was and as it is, in words. Pure.

What the server keeps for itself is no difference; what a Secret holds is never shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from hatchway.kubernetes.resources import Json

_OF_THE_SERVER = frozenset(
    {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"}
)  # of metadata
LONGEST = 60  # of a value, in characters
KEPT = 10  # of what two long values begin with alike


def name_of(obj: Json) -> str:
    """As `kubectl` names it: deployment/hatchway-operator."""
    return f"{obj['kind'].lower()}/{obj['metadata']['name']}"


def differences(before: Json, after: Json) -> list[str]:
    """One line per field: "spec.replicas: 1 -> 2"."""
    is_secret = after.get("kind") == "Secret"
    found = []
    for path, old, new in _walk("", _relevant(before), _relevant(after)):
        if is_secret and path.startswith("data."):
            found.append(f"{path}: another value")
        else:
            found.append(f"{path}: {' -> '.join(_shown_beside(old, new))}")
    return found


def _relevant(obj: Json) -> Json:
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _OF_THE_SERVER}
    return {**{name: value for name, value in obj.items() if name != "status"}, "metadata": metadata}


_ABSENT = object()


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            yield from _walk(f"{path}.{name}".lstrip("."), old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list) and _are_named([*old, *new]):
        olds, news = ({each["name"]: each for each in several} for several in (old, new))
        for name in dict.fromkeys((*olds, *news)):
            yield from _walk(f"{path}[{name}]", olds.get(name, _ABSENT), news.get(name, _ABSENT))
    elif old != new:
        yield path, old, new


def _are_named(several: list[Any]) -> bool:
    return all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in several)


def _shown_beside(old: Any, new: Any) -> tuple[str, str]:
    """Two values, shortened where they are the same for long."""
    texts = ["nothing" if value is _ABSENT else str(value) for value in (old, new)]
    n_same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))) - KEPT
    if n_same > 0 and max(map(len, texts)) > LONGEST:
        texts = [f"…{text[n_same:]}" for text in texts]
    first, second = (text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…" for text in texts)
    return first, second
