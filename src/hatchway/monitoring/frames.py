"""One line of what a replica tells, read with care: it is the user's process that writes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

MAX_COUNT = 2**40  # of anything in one frame

_TEXTS = ("request_id", "input", "output")
_COUNTS = ("status", "input_bytes", "output_bytes")
_SECONDS = ("at", "latency_s")
_MOST_SECONDS = 1e11  # the year 5138


class BadFrame(ValueError):
    """What a replica sent is not what contract.SampleTerms describes."""


@dataclass(frozen=True)
class Table:
    """Records of one place in the payloads, and the values that their fields had."""

    count: int
    columns: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Frame:
    """What was seen since the last one."""

    seen: int
    sampled: int
    tables: Mapping[str, Table]
    log: Sequence[Mapping[str, Any]] = ()
    log_dropped: int = 0


def read(line: bytes) -> Frame:
    """Raises BadFrame."""
    try:
        document = orjson.loads(line)
        tables = {
            str(where): Table(
                _count(table["count"]),
                {str(name): column for name, column in table["columns"].items() if isinstance(column, list)},
            )
            for where, table in document["tables"].items()
        }
        log = [_entry(entry) for entry in document.get("log", ())]
        seen, sampled = _count(document["seen"]), _count(document["sampled"])
        return Frame(seen, sampled, tables, log, _count(document.get("log_dropped", 0)))
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise BadFrame(str(exc)) from exc


def _count(value: Any) -> int:
    """Raises BadFrame for what no database and no sketch could count with."""
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise BadFrame(f"{value!r} is no number of requests or values")
    return value


def _entry(value: Any) -> Mapping[str, Any]:
    """Raises BadFrame for one that no column of the log could hold, so that the others can be written."""
    is_one = (
        isinstance(value, dict)
        and all(isinstance(value.get(name), str | None) for name in _TEXTS)
        and all(type(value.get(name)) is int and 0 <= value[name] <= MAX_COUNT for name in _COUNTS)
        and all(type(value.get(name)) in (int, float) and 0 <= value[name] <= _MOST_SECONDS for name in _SECONDS)
        and value["status"] < 1000
    )
    if not is_one:
        raise BadFrame("an entry of its log is none")
    return value  # type: ignore[no-any-return]  # a dict, as was just seen
