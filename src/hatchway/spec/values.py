"""Durations, quantities and the other leaves of the YAML: how each is written, checked and written back.

A `Rule` is the one truth about a leaf: the sentence that says what is allowed (shown in errors and in the
reference), how a written value becomes ours, and how ours is written for people. Rules are strict: text is not
taken for a number, nor a boolean for text; only a value that came from `${VAR}` (`Filled`) takes the type
that its place asks for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

if TYPE_CHECKING:
    from yaml import SafeLoader

MAX_SECONDS = 365 * 86400
MAX_NUMBER = 2**63


class Filled(str):
    """Text that a lone `${VAR}` stood for: where a number or a boolean belongs, it is read as one."""

    __slots__ = ()


class Wrong(Exception):
    """A value breaks its rule; `note` says what would help beyond the rule itself."""

    def __init__(self, note: str = "") -> None:
        super().__init__(note)
        self.note = note


@dataclass(frozen=True)
class Rule:
    """What one leaf accepts. `says` completes "must be ..."; `read` raises Wrong; `show` undoes `read`.

    `is_secret`: no message tells a value that breaks the rule.
    """

    says: str
    read: Callable[[Any], Any]
    show: Callable[[Any], Any] = lambda value: value
    is_secret: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._check,
            serialization=core_schema.plain_serializer_function_ser_schema(self.show, when_used="json"),
        )

    def _check(self, value: Any) -> Any:
        try:
            return self.read(value)
        except Wrong as wrong:
            said = {"says": self.says, "note": wrong.note, "is_secret": self.is_secret}
            raise PydanticCustomError("rule", "must be {says}", said) from None


# --- scalars as YAML reads them ------------------------------------------------------------------------------
_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*")
MAX_DIGITS = 300


def read_scalar(text: str) -> Any:
    """What a plain YAML scalar means: None, bool, int, float or the text itself. Raises Wrong for .inf and .nan.

    Dates and times of day (`2026-01-01`, `12:30`) stay text, as everybody but YAML 1.1 expects.
    """
    return read_tagged(_yaml_tag(text).rpartition(":")[2], text)


def _yaml_tag(text: str) -> str:
    import yaml

    return str(_resolver().resolve(yaml.ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]


@cache
def _resolver() -> SafeLoader:
    import yaml  # only for those who read YAML: durations are read by everybody

    return yaml.SafeLoader("")


def read_tagged(kind: str, text: str) -> Any:
    """`text` as YAML's `kind` ("null", "bool", "int", "float"; anything else is text). Raises Wrong."""
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("true", "yes", "on")
    if kind == "int":
        return _read_int(text)
    if kind == "float" and ":" not in text:
        return _read_float(text)
    return text


def _read_int(text: str) -> Any:
    if len(text) > MAX_DIGITS:
        raise Wrong(f"numbers have at most {MAX_DIGITS} digits")
    if _INTEGER.fullmatch(text) and not re.fullmatch(r"[-+]?0[0-9_]+", text):
        return int(text.replace("_", ""))
    if re.match(r"[-+]?0[bx]", text):
        return int(text.replace("_", ""), 0)
    return text  # octal such as 0755 and base 60 such as 1:30 stay what they look like


def _read_float(text: str) -> float:
    lowered = text.lower().replace("_", "")
    if lowered.lstrip("+-") in (".inf", ".nan"):
        raise Wrong("infinity and not-a-number have no place in a configuration")
    number = float(lowered)
    if not math.isfinite(number):
        raise Wrong("the number is too large")
    return number


def typed(value: Any) -> Any:
    """`value` with each `Filled` text, at any depth, read as the YAML scalar it looks like."""
    if isinstance(value, Filled):
        return read_scalar(str(value))
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return value


# --- text ----------------------------------------------------------------------------------------------------
def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong("" if value is None or isinstance(value, dict | list) else "put it in quotes")
    if "\0" in value:
        raise Wrong("it has a NUL character")
    return str(value)


def text(says: str = "text", pattern: str | None = None, *, near: Callable[[str], str] | None = None) -> Rule:
    """Text that matches `pattern` as a whole; `near` makes the right text of a slightly wrong one."""
    matcher = re.compile(pattern) if pattern else None

    def read(value: Any) -> str:
        found = _read_text(value)
        if matcher and not matcher.fullmatch(found):
            better = near(found) if near else ""
            raise Wrong(f"write {better}" if matcher.fullmatch(better) else "")
        return found

    return Rule(says, read)


def secret(says: str, accepts: Callable[[str], bool]) -> Rule:
    """Text that `accepts` takes and that no message tells."""

    def read(value: Any) -> str:
        found = _read_text(value)
        if not accepts(found):
            raise Wrong
        return found

    return Rule(says, read, is_secret=True)


def choice(*values: str) -> Rule:
    """One of a few words."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise Wrong
        return str(value)

    return Rule("one of " + ", ".join(values), read)


def project_path(says: str, *, suffix: str = "") -> Rule:
    """A path inside the project; `./` and doubled slashes are normalised away."""

    def read(value: Any) -> str:
        found = _read_text(value)
        if not found.strip():
            raise Wrong
        if found.startswith(("/", "~")):
            raise Wrong("it is absolute: write it relative to the YAML file's folder")
        parts = [part for part in found.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Wrong("it leaves the project: only files in the YAML file's folder travel with the API")
        if not found.endswith(suffix):
            raise Wrong
        return "/".join(parts) or "."

    return Rule(says, read)


# --- numbers and booleans ------------------------------------------------------------------------------------
def _read_number(value: Any) -> int | float:
    value = typed(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong("remove the quotes" if isinstance(value, str) and _looks_numeric(value) else "")
    if not abs(value) <= MAX_NUMBER:  # written so that not-a-number is refused too
        raise Wrong
    return value


def _looks_numeric(written: str) -> bool:
    return bool(re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", written))


def _span(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else ""


def whole(low: int, high: int | None = None) -> Rule:
    """A whole number within bounds, both included."""

    def read(value: Any) -> int:
        number = _read_number(value)
        if number != int(number) or number < low or (high is not None and number > high):
            raise Wrong
        return int(number)

    return Rule(f"a whole number{_span(low, high)}", read)


def number(says: str, accepts: Callable[[float], bool]) -> Rule:
    """Any number that `accepts` takes."""

    def read(value: Any) -> float:
        found = float(_read_number(value))
        if not accepts(found):
            raise Wrong
        return found

    return Rule(says, read, plain_number)


def plain_number(value: float) -> int | float:
    """1.0 as 1, so that a default and the same value written out are shown, and hashed, alike."""
    return int(value) if value == int(value) else value


def _read_flag(value: Any) -> bool:
    value = typed(value)
    if not isinstance(value, bool):
        raise Wrong
    return value


flag = Rule("true or false", _read_flag)
anything = Rule("any value", typed)


# --- durations -----------------------------------------------------------------------------------------------
_UNIT_SECONDS = {"d": Decimal(86400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|[dhms]))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[dhms])")


def parse_duration(written: str | int | float) -> float:
    """Seconds of `30s`, `5m`, `1h30m`, `100ms`, `0.1s`, or of a number of seconds. Raises Wrong."""
    if isinstance(written, str) and _looks_numeric(written):
        written = float(written)
    if not isinstance(written, str):
        seconds = float(_read_number(written))
    elif _DURATION.fullmatch(written):
        seconds = float(sum(Decimal(n) * _UNIT_SECONDS[unit] for n, unit in _DURATION_PART.findall(written)))
    else:
        raise Wrong
    if not 0 <= seconds <= MAX_SECONDS:
        raise Wrong
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest way to write a duration that reads back as exactly the same: `1h30m`, `100ms`, `0s`."""
    left = Decimal(repr(float(seconds)))
    parts = []
    for unit, size in _UNIT_SECONDS.items():
        count = left / size if unit == "ms" else left // size
        left -= count * size
        if count:
            parts.append(f"{count.normalize():f}{unit}")
    return "".join(parts) or "0s"


def duration(minimum: str = "0s", maximum: str | None = None) -> Rule:
    """A duration within bounds, both included, held in seconds."""
    least, most = parse_duration(minimum), parse_duration(maximum or MAX_SECONDS)

    def read(value: Any) -> float:
        found = parse_duration(value)
        if not least <= found <= most:
            raise Wrong
        return found

    bounds = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    return Rule(f"a duration {bounds}, such as 30s, 5m, 1h30m or 100ms", read, format_duration)


def one_of_durations(*written: str) -> Rule:
    """One of a few durations, held in seconds."""
    allowed = {parse_duration(one) for one in written}

    def read(value: Any) -> float:
        found = parse_duration(value)
        if found not in allowed:
            raise Wrong
        return found

    return Rule(f"{', '.join(written[:-1])} or {written[-1]}", read, format_duration)


# --- quantities ----------------------------------------------------------------------------------------------
_BINARY = {"Ti": 1024**4, "Gi": 1024**3, "Mi": 1024**2, "Ki": 1024}
_DECIMAL = {"T": 1000**4, "G": 1000**3, "M": 1000**2, "K": 1000}
_QUANTITY = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)([KMGT]i?|k)?")


def parse_bytes(written: str | int) -> int:
    """Bytes of `512Mi`, `2G`, `1.5Gi` or a whole number. Raises Wrong."""
    if isinstance(written, str) and (match := _QUANTITY.fullmatch(written)):
        unit = (match[2] or "").replace("k", "K")
        size = Decimal(match[1]) * ({**_BINARY, **_DECIMAL}[unit] if unit else 1)
    elif isinstance(written, str):
        raise Wrong(_quantity_note(written))
    else:
        size = Decimal(_read_number(written))
    if size != int(size) or not 0 <= size < 2**63:
        raise Wrong
    return int(size)


def _quantity_note(written: str) -> str:
    match = re.fullmatch(r"([0-9.]+)\s*([kmgt])(i?)b?", written, re.IGNORECASE)
    return f"write {match[1]}{match[2].upper()}{match[3].lower()}" if match else ""


def format_bytes(size: int) -> str | int:
    """The largest unit that divides `size` exactly: `512Mi`, `2G`; else the number."""
    for unit, factor in [*_BINARY.items(), *_DECIMAL.items()]:
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return size


def byte_size(minimum: str) -> Rule:
    """A quantity of memory of at least `minimum`, held in bytes."""
    least = parse_bytes(minimum)

    def read(value: Any) -> int:
        found = parse_bytes(value)
        if found < least:
            raise Wrong
        return found

    unit = "B" if minimum.isdecimal() else ""
    return Rule(f"a quantity of at least {minimum}{unit}, such as 512Mi, 2G or a number of bytes", read, format_bytes)


def _read_cores(value: Any) -> float:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}m", value):
        cores = float(Decimal(value[:-1]) / 1000)
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        cores = float(value)
    else:
        cores = float(_read_number(value))
    if cores < 0.02:
        raise Wrong
    return cores


cores = Rule("a number of cores of at least 20m, such as 1, 0.5 or 200m", _read_cores, plain_number)


def _read_share(value: Any) -> int | str:
    if isinstance(value, str) and (match := re.fullmatch(r"([0-9]{1,3})%", value)) and int(match[1]) <= 100:
        return f"{int(match[1])}%"
    found = _read_number(value)
    if found != int(found) or found < 0:
        raise Wrong
    return int(found)


share = Rule("a whole number of replicas of at least 0, or a percentage such as 25%", _read_share)


# --- rates ---------------------------------------------------------------------------------------------------
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%")


def _read_rate(value: Any) -> float:
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        found = float(Decimal(match[1]) / 100)
    else:
        found = float(_read_number(value))
    if not 0 <= found <= 1:
        raise Wrong("write a percentage with its sign, such as 5%" if 1 < found <= 100 else "")
    return found


def format_rate(rate: float) -> str:
    """A share of 1 as a percentage: 0.05 as `5%`."""
    return f"{(Decimal(repr(rate)) * 100).normalize():f}%"


rate = Rule("a percentage from 0% to 100%, such as 5%", _read_rate, format_rate)


def rate_from(least: float, most: float, such_as: str) -> Rule:
    """A rate within bounds, both included."""

    def read(value: Any) -> float:
        found = _read_rate(value)
        if not least <= found <= most:
            raise Wrong
        return found

    return Rule(f"a percentage from {format_rate(least)} to {format_rate(most)}, such as {such_as}", read, format_rate)
