"""One line of what a replica tells, read with care: it is the user's process that writes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson


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
                int(table["count"]),
                {str(name): column for name, column in table["columns"].items() if isinstance(column, list)},
            )
            for where, table in document["tables"].items()
        }
        log = [entry for entry in document.get("log", ()) if isinstance(entry, dict)]
        return Frame(int(document["seen"]), int(document["sampled"]), tables, log, int(document.get("log_dropped", 0)))
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise BadFrame(str(exc)) from exc
