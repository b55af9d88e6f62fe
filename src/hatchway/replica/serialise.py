"""From what a handler returns to JSON: everything that models return, without importing any of their libraries.

The fast path is one orjson call. What it cannot write (keys that are no strings, integers above 64 bits, exotic
values) is converted step by step in Python, which also knows where in the value a type stands that has no JSON form.

NaN and infinities become null, since JSON has no word for them. Sets become lists, Decimal a number, timedelta
seconds, DataFrames a list of records, Series and arrays lists.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from enum import Enum
from os import PathLike, fspath
from typing import Any
from uuid import UUID

import orjson

DEEPEST_LEVEL = 200


class NotSerialisable(TypeError):
    """A value without a JSON form. `where` is its place, like `result["model"][3]`."""

    def __init__(self, value: object, where: str, why: str = "") -> None:
        self.type_name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        self.where = where
        super().__init__(f"{where} is a {self.type_name}, which has no JSON form{why}")


def to_json(value: Any) -> bytes:
    """Raises NotSerialisable."""
    # orjson imports numpy when asked to write its arrays; only ask when the user has.
    option = orjson.OPT_SERIALIZE_NUMPY if "numpy" in sys.modules else 0
    try:
        return orjson.dumps(value, _simpler, option)
    except (TypeError, RecursionError):
        plain = _plain(value, "result", 0)
        return json.dumps(plain, allow_nan=False, separators=(",", ":")).encode()


class _NoSimplerForm(TypeError):
    pass


def _simpler(value: Any) -> Any:
    """One step towards plain JSON types. Raises _NoSimplerForm."""
    for convert in (_of_standard_library, _of_collections, _of_other_libraries):
        simpler = convert(value)
        if simpler is not _UNKNOWN:
            return simpler
    raise _NoSimplerForm(type(value).__name__)


_UNKNOWN = object()


def _of_standard_library(value: Any) -> Any:
    if value is None or _is_missing(value):
        return None
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (datetime, date, time_of_day)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, PathLike) and isinstance(fspath(value), str):
        return fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return _UNKNOWN


def _of_collections(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _UNKNOWN
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return _in_order(value)
    if isinstance(value, (Sequence, ValuesView)) and not isinstance(value, str):
        return list(value)
    return _UNKNOWN


def _of_other_libraries(value: Any) -> Any:
    """pydantic, pandas, NumPy, PyTorch, Polars, JAX, ...: known by what their values can do."""
    library = type(value).__module__.partition(".")[0]
    if isinstance(value, type):
        return _UNKNOWN
    if callable(getattr(value, "model_dump", None)):  # pydantic 2
        return value.model_dump(mode="json", by_alias=True)
    if hasattr(value, "__fields__") and callable(getattr(value, "dict", None)):  # pydantic 1
        return value.dict(by_alias=True)
    if library == "pandas" and callable(getattr(value, "to_dict", None)) and hasattr(value, "columns"):
        return value.to_dict(orient="records")
    if callable(getattr(value, "to_dicts", None)):  # a Polars frame
        return value.to_dicts()
    if callable(getattr(value, "tolist", None)):
        simpler = value.tolist()
        return _UNKNOWN if type(simpler) is type(value) else simpler
    if callable(getattr(value, "to_list", None)):
        return value.to_list()
    return _UNKNOWN


def _is_missing(value: Any) -> bool:
    """pandas' NA and NaT; a NaT passes for a datetime."""
    return type(value).__module__.startswith("pandas.") and type(value).__name__ in ("NAType", "NaTType")


def _in_order(values: Iterable[Any]) -> list[Any]:
    found = list(values)
    try:
        return sorted(found)
    except TypeError:
        return found


def _plain(value: Any, where: str, depth: int) -> Any:
    """The same value in None, bool, int, float, str, list and dict with string keys."""
    if depth > DEEPEST_LEVEL:
        raise NotSerialisable(value, where, " at this depth: it is nested too deeply or contains itself")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, where, depth + 1)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_key(key, where): _plain(item, f"{where}[{_shown(key)}]", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    try:
        simpler = _simpler(value)
    except _NoSimplerForm:
        raise NotSerialisable(value, where, _advice(value)) from None
    return _plain(simpler, where, depth + 1)


def _advice(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "; decode it, or return it alone"
    if isinstance(value, (Iterator, AsyncIterator)):  # generators are streamed; others may hold anything
        return "; to stream it, be a generator that yields its items, else return a list of them"
    return ""


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return str(key)
    if isinstance(key, tuple):
        raise NotSerialisable(key, f"a key of {where}", " as a key")
    plain = _plain(key, f"a key of {where}", 0)
    if isinstance(plain, (list, dict)):
        raise NotSerialisable(key, f"a key of {where}", " as a key")
    return plain if isinstance(plain, str) else json.dumps(plain)


def _shown(key: Any) -> str:
    return json.dumps(key) if isinstance(key, str) else repr(key)
