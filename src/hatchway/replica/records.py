"""What became of the last requests of this replica, for whoever asks by their id.

A request that is over leaves one tuple; everything else happens when somebody asks. Those that failed, were refused,
lost their client or were slow are kept apart, so that the fast ones do not push them out. Under load, when the fast
ones would push each other out before anybody could ask, most are passed over: so the making and forgetting of tuples
costs most where there is time for it. Of all that goes on when the replica dies the gateway's journal tells.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from hatchway.contract import MAX_REQUEST_ID_CHARS, FoundRequests, RequestRecord

KEPT = 2048  # about 1 MB
KEPT_FOR_S = 10.0  # at least: so up to 204 requests a second are all kept
KEPT_NOTABLE = 1024
SLOW_S = 1.0
PATH_BYTES = 200
_DIGITS = 9

# id, came at, slot at (0: none), over at, status (0: none), bytes of the answer, size of the batch (0: none), outcome,
# method, target, attempt, held, trace. Times are of time.monotonic().
Record = tuple[str, float, float, float, int, int, int, str, str, bytes, bytes | None, bytes | None, Any]


class Records:
    """Bounded. A request that is over is kept by `keep_notable`, or from `open_at` on by `keep`; if it came too early
    for that, `skipped_at` says so. Moments are of time.monotonic().
    """

    def __init__(self) -> None:
        self._recent: deque[Record] = deque(maxlen=KEPT)
        self._notable: deque[Record] = deque(maxlen=KEPT_NOTABLE)
        self.keep_notable: Callable[[Record], None] = self._notable.append
        self.open_at = 0.0
        self.skipped_at = 0.0

    def keep(self, record: Record) -> None:
        """One that was fast and fine. It waits for the oldest to have its time, once there is no more room."""
        self._recent.append(record)
        if len(self._recent) == KEPT:
            self.open_at = self._recent[0][3] + KEPT_FOR_S

    def find(self, request_id: str, live: Iterable[Record]) -> FoundRequests:
        """Those of this id, the oldest first; `live` are what is not over yet."""
        offset_s = time.time() - time.monotonic()
        found = [one for one in [*self._notable, *self._recent, *live] if one[0] == request_id]
        oldest = self._recent[0][3] if len(self._recent) == KEPT else 0.0
        since = max(oldest, self.skipped_at)
        return FoundRequests(
            [to_record(one, offset_s) for one in sorted(found, key=lambda one: one[1])],
            since + offset_s if since else None,
        )


def as_live(record: Record) -> Record:
    """Of a request that is not over: what it does now."""
    outcome = record[7] if record[7] != "answered" else "running" if record[2] else "waiting"
    return (*record[:7], outcome, *record[8:])


def to_record(record: Record, offset_s: float) -> RequestRecord:
    """`offset_s` makes a moment of the wall clock of one of time.monotonic()."""
    id, came_at, slot_at, over_at, status, sent, batch, outcome, method, target, attempt, held, trace = record
    held_s, refusals = _held(held)
    return RequestRecord(
        request_id=id[:MAX_REQUEST_ID_CHARS],
        outcome=outcome,
        method=method,
        path=target.decode("latin-1"),
        came_at=came_at + offset_s,
        queue_s=max(0.0, (slot_at or over_at) - came_at),
        handler_s=over_at - slot_at if slot_at else None,
        status=status or None,
        response_bytes=sent,
        batch_size=batch or None,
        attempt=_count(attempt) or 1,
        held_s=held_s,
        held_refusals=refusals,
        trace_id=trace.trace_id if trace is not None else None,
    )


def _held(header: bytes | None) -> tuple[float | None, int]:
    """What the activator says in HEADER_HELD."""
    try:
        seconds, refusals = (header or b"").split(b" ")
        held_s = float(seconds)
    except ValueError:
        return None, 0
    return (held_s, _count(refusals)) if math.isfinite(held_s) else (None, 0)


def _count(written: bytes | None) -> int:
    """0 for what nobody of ours writes: who reaches a replica directly may write anything."""
    return int(written) if written and len(written) <= _DIGITS and written.isdigit() else 0
