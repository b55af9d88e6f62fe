"""Rows of a table from JSON: an object by feature name, or a list of values in the order of the features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hatchway.errors import RequestError
from hatchway.replica.models.model import Schema

MAX_NAMED = 5  # features that a message lists

NUMBER = "number"
TEXT = "string"
ANY = "any"
_TYPES = {NUMBER: {"type": ["number", "boolean", "null"]}, TEXT: {"type": ["string", "null"]}}
_EXAMPLES = {NUMBER: 0.0, TEXT: "text", ANY: 0.0}


@dataclass(frozen=True)
class Column:
    """One feature. `name` is "" where the model knows none."""

    name: str
    kind: str = NUMBER
    example: Any = None
    choices: tuple[Any, ...] = ()  # what it was trained on, for the documentation only

    @property
    def schema(self) -> Schema:
        schema: Schema = dict(_TYPES.get(self.kind, {}))
        if self.choices:
            schema["examples"] = list(self.choices[:10])
        return schema

    @property
    def shown(self) -> Any:
        return _EXAMPLES[self.kind] if self.example is None else self.example


class Columns:
    """What a row of a model's input consists of. Without columns: lists of numbers of any length."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.names = tuple(column.name for column in columns) if columns and columns[0].name else ()
        self._is_numeric = all(column.kind == NUMBER for column in columns)
        self._places = {name: index for index, name in enumerate(self.names)}

    @classmethod
    def unnamed(cls, count: int | None) -> Columns:
        return cls([Column("")] * (count or 0))

    def read(self, payload: Any) -> tuple[list[list[Any]], bool]:
        """See `Model.read`. None becomes NaN."""
        if isinstance(payload, dict):
            return [self._of_object(payload, "")], True
        if not isinstance(payload, list):
            raise _wrong(f"send {self._wanted()} or a list of such; this is {_kind_of(payload)}")
        if not payload:
            return [], False
        if not isinstance(payload[0], (list, dict)):
            return [self._of_list(payload, "")], True
        return [self._row(record, f"record {index}: ") for index, record in enumerate(payload)], False

    def _row(self, record: Any, where: str) -> list[Any]:
        if isinstance(record, dict):
            return self._of_object(record, where)
        if isinstance(record, list):
            return self._of_list(record, where)
        raise _wrong(f"{where}send {self._wanted()}; this is {_kind_of(record)}")

    def _of_object(self, record: dict[str, Any], where: str) -> list[Any]:
        if not self.names:
            raise _wrong(f"{where}the model knows no feature names: send {self._wanted()}")
        if len(record) != len(self.names) or not self._places.keys() >= record.keys():
            raise _wrong(where + self._name_problem(record))
        return self._checked([record[name] for name in self.names], where)

    def _name_problem(self, record: dict[str, Any]) -> str:
        missing = [name for name in self.names if name not in record]
        unknown = [name for name in record if name not in self._places]
        told = [f"missing {_listed(missing)}"] if missing else []
        told += [f"unknown {_listed(unknown)}"] if unknown else []
        return f"features: {'; '.join(told)}. The model was trained on {_listed(self.names)}"

    def _of_list(self, record: list[Any], where: str) -> list[Any]:
        if self.columns and len(record) != len(self.columns):
            raise _wrong(f"{where}{len(record)} values; the model takes {self._wanted()}")
        return self._checked(record, where)

    def _checked(self, values: list[Any], where: str) -> list[Any]:
        if self._is_numeric and all(type(value) is float or type(value) is int for value in values):
            return values  # nearly always
        columns = self.columns or [Column("")] * len(values)
        return [
            _value(value, column, index, where)
            for index, (value, column) in enumerate(zip(values, columns, strict=True))
        ]

    def _wanted(self) -> str:
        if self.names:
            return f"an object with the features {_listed(self.names)}, or a list of {len(self.names)} values"
        return f"a list of {len(self.columns)} values" if self.columns else "a list of numbers"

    # --- for the documentation -------------------------------------------------------------------------------
    @property
    def example(self) -> Any:
        if self.names:
            return {column.name: column.shown for column in self.columns}
        return [column.shown for column in self.columns] or [0.0]

    @property
    def schema(self) -> Schema:
        return one_or_many(self.record_schema)

    @property
    def record_schema(self) -> Schema:
        size = {"minItems": len(self.columns), "maxItems": len(self.columns)} if self.columns else {}
        number = {"type": "number"} if self._is_numeric and not self.columns else {}
        values: Schema = {"type": "array", **size}
        if self.columns and self._is_numeric:
            values["items"] = self.columns[0].schema
        elif self.columns:
            values["prefixItems"] = [column.schema for column in self.columns]
        elif number:
            values["items"] = number
        if not self.names:
            return values
        named = {
            "type": "object",
            "properties": {column.name: column.schema for column in self.columns},
            "required": list(self.names),
            "additionalProperties": False,
        }
        return {"anyOf": [named, values]}


def one_or_many(record: Schema) -> Schema:
    """The schema of one record, or a list of them."""
    return {"anyOf": [record, {"type": "array", "items": record}]}


def _value(value: Any, column: Column, index: int, where: str) -> Any:
    if value is None:
        return math.nan
    name = repr(column.name) if column.name else f"value {index}"
    if isinstance(value, (list, dict)):
        raise _wrong(f"{where}{name} is {_kind_of(value)}; one value is wanted")
    if column.kind == NUMBER and isinstance(value, str):
        raise _wrong(f"{where}{name} is text ({_cut(value)}); a number is wanted")
    if column.kind == TEXT and not isinstance(value, str):
        raise _wrong(f"{where}{name} is {_kind_of(value)}; text is wanted")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    return value


def _kind_of(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "a boolean",
        type(None): "null",
        bytes: "binary data",
    }
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:MAX_NAMED]))
    return shown if len(names) <= MAX_NAMED else f"{shown} and {len(names) - MAX_NAMED} more"


def _cut(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _wrong(message: str) -> RequestError:
    return RequestError(message, status=422)
