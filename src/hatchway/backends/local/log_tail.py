"""The newest lines of several logs that fit into so many bytes, without reading what is older.

Each log is read from a little before its end on. A log of which only a part was read says nothing of the time before
that part, so older lines of the others do not count yet either: while there is room, the one that hides most is read
from further back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from hatchway.backends.local.log_reading import Cursor
from hatchway.spec.logs import newest_of
from hatchway.spec.status import LogLine

FIRST_REACH_BYTES = 64 * 1024
WIDER = 8  # times, with each look
_LINES_PER_TURN = 200

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Newest(Generic[K]):
    lines: list[LogLine]  # oldest first
    cursors: Mapping[K, Cursor]  # they stand at the ends, to go on from there


@dataclass(frozen=True)
class _Part:
    """What was read of one log: its last `reach_bytes`."""

    reach_bytes: int
    lines: list[LogLine]
    since: str  # what is older was not read: "" when that is nothing, "~" when nothing says when this part begins
    cursor: Cursor


async def newest(ends: Mapping[K, int], open_at: Callable[[K, int], Cursor], max_bytes: int) -> Newest[K]:
    """`ends`: where the reading of each log ends. `open_at(key, position)` opens one there."""
    parts = {
        key: await _read(open_at(key, end - FIRST_REACH_BYTES), end, FIRST_REACH_BYTES) for key, end in ends.items()
    }
    while True:
        horizon = max((part.since for part in parts.values()), default="")
        known = (line for part in parts.values() for line in part.lines if line.time >= horizon)
        lines, is_full = newest_of(sorted(known, key=lambda line: line.time), max_bytes)
        if is_full or not horizon:
            return Newest(lines, {key: part.cursor for key, part in parts.items()})
        for key, part in parts.items():
            if part.since == horizon:
                reach_bytes = part.reach_bytes * WIDER
                parts[key] = await _read(open_at(key, ends[key] - reach_bytes), ends[key], reach_bytes)


async def _read(cursor: Cursor, end: int, reach_bytes: int) -> _Part:
    since, lines = "", list[LogLine]()
    for count, step in enumerate(cursor.steps(end)):
        since = since or step.time
        if step.line is not None:
            lines.append(step.line)
        if step.line is None or count % _LINES_PER_TURN == 0:
            await asyncio.sleep(0)
    return _Part(reach_bytes, lines, (since or "~") if cursor.is_part else "", cursor)
