"""Checks of single values, for plain.py: what is taken, what is converted, and what is said of the rest."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from hatchway.replica.typed.decoder import MAX_DETAILS, Schema

Loc = tuple[str | int, ...]
Detail = dict[str, object]


class Invalid(ValueError):
    """A value that is not what the annotation asks for."""

    def __init__(self, details: list[Detail]) -> None:
        super().__init__(details)
        self.details = details


Check = Callable[[Any, Loc], Any]  # the value, converted; raises Invalid


class collecting:  # noqa: N801 (reads as a sentence in a with statement)
    """Notes what is wrong and goes on; no more of it than anybody reads."""

    def __init__(self, details: list[Detail]) -> None:
        self._details = details

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> bool:
        if not isinstance(exc, Invalid):
            return False
        if len(self._details) < MAX_DETAILS:
            self._details.extend(exc.details)
        return True


def wrong(loc: Loc, message: str, kind: str) -> Invalid:
    return Invalid([{"loc": list(loc), "msg": message, "type": kind}])


def anything(value: Any, loc: Loc) -> Any:
    return value


def none(value: Any, loc: Loc) -> None:
    if value is not None:
        raise wrong(loc, "Input should be None", "none_required")


def _boolean(value: Any, loc: Loc) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    raise wrong(loc, "Input should be a valid boolean", "bool_type")


_WORDS = dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True) | dict.fromkeys(
    ("false", "f", "no", "n", "off", "0"), False
)


def _integer(value: Any, loc: Loc) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if value.is_integer():
            return int(value)
        raise wrong(loc, "Input should be a valid integer, got a number with a fractional part", "int_from_float")
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError as exc:
            message = "Input should be a valid integer, unable to parse string as an integer"
            raise wrong(loc, message, "int_parsing") from exc
    raise wrong(loc, "Input should be a valid integer", "int_type")


def _number(value: Any, loc: Loc) -> float:
    if isinstance(value, (int, float, str)):
        try:
            found = float(value)
        except (ValueError, OverflowError) as exc:
            raise wrong(
                loc, "Input should be a valid number, unable to parse string as a number", "float_parsing"
            ) from exc
        if math.isfinite(found):
            return found
        raise wrong(loc, "Input should be a finite number", "finite_number")
    raise wrong(loc, "Input should be a valid number", "float_type")


def _text(value: Any, loc: Loc) -> str:
    if isinstance(value, str):
        return value
    raise wrong(loc, "Input should be a valid string", "string_type")


def _bytes(value: Any, loc: Loc) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    raise wrong(loc, "Input should be a valid bytes", "bytes_type")


def upload(value: Any, loc: Loc) -> Any:
    if hasattr(value, "filename"):
        return value
    raise wrong(loc, "Input should be an uploaded file", "file_type")


def _parsed(parse: Callable[[str], Any], what: str, kind: str) -> Check:
    def check(value: Any, loc: Loc) -> Any:
        if isinstance(value, str):
            try:
                return parse(value)
            except (ValueError, ArithmeticError) as exc:
                raise wrong(loc, f"Input should be a valid {what}", f"{kind}_parsing") from exc
        raise wrong(loc, f"Input should be a valid {what}", f"{kind}_type")

    return check


def _decimal(value: Any, loc: Loc) -> Decimal:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            found = Decimal(str(value))
        except ArithmeticError as exc:
            raise wrong(loc, "Input should be a valid decimal", "decimal_parsing") from exc
        if found.is_finite():
            return found
        raise wrong(loc, "Input should be a finite number", "finite_number")
    raise wrong(loc, "Decimal input should be an integer, float or string", "decimal_type")


def literal(choices: tuple[Any, ...]) -> tuple[Check, Schema]:
    shown = " or ".join(repr(choice) for choice in choices)

    def check(value: Any, loc: Loc) -> Any:
        for choice in choices:
            if type(choice) is type(value) and choice == value:
                return choice
        raise wrong(loc, f"Input should be {shown}", "literal_error")

    return check, {"enum": [_as_json(choice) for choice in choices]}


def _as_json(choice: Any) -> Any:
    value = choice.value if isinstance(choice, enum.Enum) else choice
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def enumeration(cls: type[enum.Enum]) -> tuple[Check, Schema]:
    shown = " or ".join(repr(member.value) for member in cls)

    def check(value: Any, loc: Loc) -> Any:
        try:
            return cls(value)
        except (ValueError, TypeError) as exc:
            raise wrong(loc, f"Input should be {shown}", "enum") from exc

    return check, {"title": cls.__name__, "enum": [member.value for member in cls]}


def _formatted(name: str) -> Schema:
    return {"type": "string", "format": name}


SCALARS: dict[Any, tuple[Check, Schema]] = {
    bool: (_boolean, {"type": "boolean"}),
    int: (_integer, {"type": "integer"}),
    float: (_number, {"type": "number"}),
    str: (_text, {"type": "string"}),
    bytes: (_bytes, _formatted("binary")),
    datetime: (_parsed(datetime.fromisoformat, "datetime", "datetime"), _formatted("date-time")),
    date: (_parsed(date.fromisoformat, "date", "date"), _formatted("date")),
    time: (_parsed(time.fromisoformat, "time", "time"), _formatted("time")),
    UUID: (_parsed(UUID, "UUID", "uuid"), _formatted("uuid")),
    Decimal: (_decimal, {"anyOf": [{"type": "number"}, {"type": "string"}]}),
}
