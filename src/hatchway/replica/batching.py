"""Which waiting requests make a batch, and whose result is whose. Pure.

There is no timer by default: the next batch is whatever came while the last one ran, so a request that finds a free
slot is never held back, and batches grow by themselves as load does. A timer is for methods whose batches cost the
same at any size and whose callers can wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Batching:
    """At most `max_size` requests run together; none is held back longer than `max_wait_s` for others to join it."""

    max_size: int = 1
    max_wait_s: float = 0.0


class BadBatch(Exception):
    """A batching method returned something that is not one result for each request."""


class FailedTogether(Exception):
    """Another request of the same batch has the traceback."""


def one_by_one(results: Any, count: int) -> list[Any]:
    """The result of each request, in their order: the items of a list, the rows of an array. Raises BadBatch."""
    try:
        rows = None if isinstance(results, (str, bytes, dict, set)) else list(results)
    except TypeError:
        rows = None
    if rows is None:
        raise BadBatch(
            f"the method returned {type(results).__name__} for a batch of {count}; "
            "with handler.batching it returns a list with one result for each payload"
        )
    if len(rows) != count:
        raise BadBatch(f"the method returned {len(rows)} results for a batch of {count} payloads")
    return rows
