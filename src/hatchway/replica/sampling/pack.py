"""From the records of many requests to columns: what one look at a second of requests sends. Pure.

The names of fields are those of reports: "input.age", "output.label". A field of texts that are too long to be kept
is the field of their lengths, "input.comment.length", from the first such text on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from hatchway.replica.sampling.look import MAX_NAME_CHARS, WHOLE, Shape, TextLength, Values
from hatchway.replica.sampling.redact import covers, hides

MAX_NAMES = 512  # fields that one frame tells of
MAX_TEXTS = 4096  # fields of long texts that are remembered: a caller may name its fields anew in each request
_MADE_OF = {"prediction": "label", "probabilities": "confidence"}  # see look.py


class Packer:
    """Remembers which fields are long texts."""

    def __init__(self) -> None:
        self._fields: tuple[str, ...] | None = None
        self._redacted: tuple[str, ...] = ()
        self._texts: set[str] = set()

    def watch(self, fields: Sequence[str] | None, redacted: Sequence[str]) -> None:
        """`fields` of the input only (None: all), and of either side none that are `redacted`."""
        self._fields = None if fields is None else tuple(fields)
        self._redacted = (*redacted, *(_MADE_OF[name] for name in redacted if name in _MADE_OF))

    def pack(self, groups: Mapping[Shape, Sequence[Values]]) -> dict[str, dict[str, Any]]:
        """The tables of a frame, see SampleTerms."""
        tables: dict[str, dict[str, Any]] = {}
        n_left = MAX_NAMES
        for (where, names, has_texts), rows in groups.items():
            table = tables.setdefault(where, {"count": 0, "columns": {}})
            table["count"] += len(rows)
            columns = table["columns"]
            for name, column in zip(names, zip(*rows, strict=True), strict=True):
                if not self._is_watched(where, str(name)):
                    continue
                known_as, values = self._named(where, str(name), column, has_texts=has_texts)
                if known_as in columns:
                    columns[known_as] += values
                elif n_left:
                    n_left -= 1
                    columns[known_as] = values
        return tables

    def _is_watched(self, where: str, name: str) -> bool:
        side, _, inner = where.partition(".")
        path = ".".join(part for part in (inner, name) if part)
        if len(name) > MAX_NAME_CHARS or hides(self._redacted, path):
            return False
        return self._fields is None or side != "input" or covers(self._fields, path)

    def _named(self, where: str, name: str, column: tuple[Any, ...], *, has_texts: bool) -> tuple[str, list[Any]]:
        """The column as it is told, under the name that it has there."""
        full = f"{where}.{name}"
        is_long = full in self._texts
        if has_texts and not is_long and any(type(value) is TextLength for value in column):
            is_long = True
            if len(self._texts) < MAX_TEXTS:
                self._texts.add(full)
        if not is_long:
            return name, list(column)
        lengths = [len(value) if type(value) is str else value for value in column]
        return ("length" if name == WHOLE else f"{name}.length"), lengths


def encode(document: Mapping[str, Any]) -> bytes:
    """One line of JSON. What JSON has no number for is null."""
    try:
        return orjson.dumps(document) + b"\n"
    except orjson.JSONEncodeError:  # an integer of more than 64 bits, or half of a surrogate pair
        return orjson.dumps(_plain(document)) + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if type(value) in (int, TextLength) and not -(2**63) <= value < 2**64:
        try:
            return float(value)
        except OverflowError:
            return None
    return value
