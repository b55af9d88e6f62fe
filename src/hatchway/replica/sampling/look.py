"""The fields of one payload or answer, taken out before anybody can change it.

A value becomes records: where in the payload they stand, the names of their fields, and as many scalars. Texts longer
than MAX_TEXT_CHARS become their length, arrays and tables a bounded part of themselves, what is no data nothing.
numpy, pandas and Pillow are the user's: their objects are known by the module of their type, never imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import islice
from types import NoneType
from typing import Any

Scalar = float | int | bool | str | None
Shape = tuple[str, tuple[str, ...], bool]  # where ("input"), names of fields, whether texts are among the values
Values = tuple[Scalar, ...]
Record = tuple[Shape, Values]
Records = tuple[Record, ...]

MAX_FIELDS = 256  # of one record
MAX_DEPTH = 4  # of objects and lists within each other
MAX_ROWS = 64  # of one batch; of a larger one, rows at equal distances
MAX_POSITIONS = 64  # a longer list of numbers is one field with many values, not many fields
MAX_ELEMENTS = 64  # of such a list that are looked at, at equal distances
MAX_VALUES = 2048  # of one payload
MAX_TEXT_CHARS = 64
MAX_NAME_CHARS = 100  # fields with longer names are passed over
OUTPUT = "output"
WHOLE = ""  # the name of a value that is no field of anything

_NUMBERS = frozenset({int, float, bool, NoneType})
_SCALARS = _NUMBERS | {str}
_ALONE = (WHOLE,)
_STREAMED = ("bytes",)
_PLACES = tuple(tuple(str(place) for place in range(length)) for length in range(MAX_POSITIONS + 1))
_BRIGHTNESS_SIDE = 16  # pixels of each side that are enough for a mean


class TextLength(int):
    """How many characters a text has that is too long to be kept."""


def look(value: Any, where: str) -> Records:
    """What there is to say of one payload ("input") or answer ("output"); nothing of bytes and what is no data."""
    record = _flat(value, where)
    if record is not None:
        return (record,)
    if type(value) is bytes:
        return ()
    walk = _Walk()
    walk.see(value, where, 0)
    return tuple(walk.found)


def streamed(sent_bytes: int) -> Records:
    """What there is to say of an answer that was sent piece by piece."""
    return (((OUTPUT, _STREAMED, False), (sent_bytes,)),)


def _flat(value: Any, where: str) -> Record | None:
    """The record of an object of scalars, a short list of numbers or a number: what most payloads are."""
    kind = type(value)
    if kind is dict:
        if 0 < len(value) <= MAX_FIELDS:
            values = tuple(value.values())
            if _NUMBERS.issuperset(map(type, values)):
                return (where, tuple(value), False), values
            if _SCALARS.issuperset(map(type, values)):
                return (where, tuple(value), True), tuple([_short(one) for one in values])
            return _with_lists(value, where)
    elif kind is list:
        if 0 < len(value) <= MAX_POSITIONS and _NUMBERS.issuperset(map(type, value)):
            return (where, _PLACES[len(value)], False), tuple(value)
    elif kind in _NUMBERS:
        return (where, _ALONE, False), (value,)
    return None


def _with_lists(value: dict[Any, Any], where: str) -> Record | None:
    """The record of an object of scalars and short lists of numbers, with each place of a list as a field."""
    names: list[str] = []
    values: list[Scalar] = []
    has_texts = False
    for key, item in value.items():
        kind = type(item)
        if kind is list:
            if not 0 < len(item) <= MAX_POSITIONS or not _NUMBERS.issuperset(map(type, item)):
                return None
            names += _places_of(key, len(item))
            values += item
        elif kind in _NUMBERS:
            names.append(key)
            values.append(item)
        elif kind is str:
            names.append(key)
            values.append(_short(item))
            has_texts = True
        else:
            return None
    return ((where, tuple(names), has_texts), tuple(values)) if len(names) <= MAX_FIELDS else None


@lru_cache(maxsize=256)
def _places_of(name: str, length: int) -> tuple[str, ...]:
    return tuple(f"{name}.{place}" for place in _PLACES[length])


class _Walk:
    """The way through one value that is more than a flat object."""

    def __init__(self) -> None:
        self.found: list[Record] = []
        self._left = MAX_VALUES

    def see(self, value: Any, where: str, depth: int) -> None:
        """A record, several of them, or a value that stands alone."""
        if self._left <= 0 or depth > MAX_DEPTH:
            return
        taken = _scalar(value)
        if taken is not _NO_DATA:
            self._add(where, _ALONE, (taken,))
        elif _module_of(type(value)) == "pandas" and hasattr(value, "columns"):
            self._see_table(value, where)
        elif (fields := _as_mapping(value)) is not None:
            self._see_record(fields, where, depth)
        elif (rows := _as_rows(value)) is not None:
            self._see_list(rows, where, depth)

    def _see_record(self, fields: Mapping[Any, Any], where: str, depth: int) -> None:
        names: list[str] = []
        values: list[Any] = []
        self._see_fields(_simplified(fields), "", depth, names, values, where)
        if names:
            self._add(where, tuple(names), tuple(values))

    def _see_fields(
        self, fields: Mapping[Any, Any], prefix: str, depth: int, names: list[str], values: list[Any], where: str
    ) -> None:
        for key, item in islice(fields.items(), MAX_FIELDS):
            if len(names) >= MAX_FIELDS:
                return
            name = f"{prefix}{key}"
            taken = _scalar(item)
            if taken is not _NO_DATA:
                names.append(name)
                values.append(taken)
            elif depth >= MAX_DEPTH:
                continue
            elif (inner := _as_mapping(item)) is not None:
                self._see_fields(inner, f"{name}.", depth + 1, names, values, where)
            elif (rows := _as_rows(item)) is not None:
                places = _positions(rows)
                if places is None:
                    self._see_list(rows, f"{where}.{name}", depth + 1)
                else:
                    names += [f"{name}.{place}" for place in _PLACES[len(places)]]
                    values += places

    def _see_list(self, rows: Sequence[Any], where: str, depth: int) -> None:
        if not rows:
            return
        places = _positions(rows)
        if places is not None:
            self._add(where, _PLACES[len(places)], tuple(places))
        elif type(rows[0]) in _SCALARS:
            for item in _spread(rows, MAX_ELEMENTS):
                taken = _scalar(item)
                if taken is not _NO_DATA:
                    self._add(where, _ALONE, (taken,))
        else:
            for row in _spread(rows, MAX_ROWS):
                record = _flat(row, where)
                if record is None:
                    self.see(row, where, depth + 1)
                elif self._left > 0:
                    self._left -= len(record[1])
                    self.found.append(record)

    def _see_table(self, frame: Any, where: str) -> None:
        step = max(1, -(-len(frame) // MAX_ROWS))
        names = tuple(str(name) for name in islice(frame.columns, MAX_FIELDS))
        columns = [frame.iloc[::step, place].tolist() for place in range(len(names))]
        for row in zip(*columns, strict=True):
            if self._left <= 0:
                return
            self._add(where, names, tuple([_known(_scalar(item)) for item in row]))

    def _add(self, where: str, names: tuple[str, ...], values: tuple[Any, ...]) -> None:
        self._left -= len(values)
        self.found.append(((where, names, not _NUMBERS.issuperset(map(type, values))), values))


def _positions(rows: Sequence[Any]) -> list[Any] | None:
    """The values of a list, if it is a short row of numbers: then each place is a field of its own."""
    if 0 < len(rows) <= MAX_POSITIONS and _SCALARS.issuperset(map(type, rows)) and type(rows[0]) is not str:
        return [_short(item) for item in rows]
    return None


def _spread(rows: Any, limit: int) -> Any:
    """At most `limit` of them, at equal distances."""
    return rows if len(rows) <= limit else rows[:: -(-len(rows) // limit)]


_NO_DATA = object()


def _scalar(value: Any) -> Any:
    """The value as a JSON scalar, or _NO_DATA."""
    kind = type(value)
    if kind in _NUMBERS:
        return value
    if kind is str:
        return _short(value)
    if isinstance(value, Enum):
        return _scalar(value.value)
    if isinstance(value, Decimal):
        return float(value)
    if _module_of(kind) == "numpy" and getattr(value, "ndim", None) == 0:
        inner = value.item()
        return inner if type(inner) in _NUMBERS else _short(inner) if type(inner) is str else _NO_DATA
    return _NO_DATA


def _known(taken: Any) -> Scalar:
    """A cell of a table: what is no data is missing there."""
    return None if taken is _NO_DATA else taken


def _short(value: Any) -> Any:
    return TextLength(len(value)) if type(value) is str and len(value) > MAX_TEXT_CHARS else value


def _as_mapping(value: Any) -> Mapping[Any, Any] | None:
    """An object with named fields: of JSON, of a form, a dataclass, a pydantic model, a table, an image."""
    kind = type(value)
    if kind is list:
        return None
    if kind is dict or isinstance(value, Mapping):
        return value  # type: ignore[no-any-return]
    if any(hasattr(kind, mark) for mark in ("__dataclass_fields__", "model_fields", "__fields__")):
        return getattr(value, "__dict__", None)
    if _module_of(kind) == "PIL" and hasattr(value, "convert"):
        return _image(value)
    return None


def _as_rows(value: Any) -> Sequence[Any] | None:
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, (set, frozenset)):
        return list(islice(value, MAX_ELEMENTS))
    module = _module_of(type(value))
    if module == "pandas" and hasattr(value, "to_numpy"):
        return _array(value.to_numpy())
    if module in ("numpy", "torch") and hasattr(value, "tolist"):
        return _array(value)
    return None


def _array(array: Any) -> Sequence[Any]:
    """An array as lists, or as a bounded part of itself. What is not copied was not looked at."""
    if array.ndim > 2 or (array.ndim == 2 and array.shape[1] > MAX_POSITIONS):
        array = array.reshape(-1)
    limit = MAX_ROWS if array.ndim == 2 or len(array) <= MAX_POSITIONS else MAX_ELEMENTS + MAX_POSITIONS
    rows: list[Any] = _spread(array, limit).tolist()
    return rows


def _image(image: Any) -> Mapping[Any, Any]:
    small = image.resize((_BRIGHTNESS_SIDE, _BRIGHTNESS_SIDE), 0).convert("L").tobytes()
    return {"width": image.width, "height": image.height, "brightness": sum(small) / len(small) / 255}


def _simplified(fields: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """What a model file answers: the label, and how sure it is of it."""
    if len(fields) == 2 and "prediction" in fields and "probabilities" in fields:
        shares = fields["probabilities"]
        if isinstance(shares, Mapping) and shares and _NUMBERS.issuperset(map(type, shares.values())):
            return {"label": fields["prediction"], "confidence": max(shares.values())}
    return fields


def _module_of(kind: type) -> str:
    module = getattr(kind, "__module__", "")
    return module.partition(".")[0] if isinstance(module, str) else ""
