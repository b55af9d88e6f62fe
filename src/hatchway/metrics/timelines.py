"""The last hour of every API in steps of STEP_S: written while something happens, and read by dashboards. Pure.

What stands still is not written: steps that are missing are filled when they are read. An API takes 65 KB while it is
remembered, which ends an hour after its last replica and its last request.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

from hatchway.spec.timeline import Sparkline, Timeline

STEP_S = 2.0
STEPS = 1800  # an hour
POINTS = 60  # of a sparkline, at most
STEPS_A_POINT = 8  # of a sparkline: a quarter of an hour


@dataclass(frozen=True)
class Traffic:
    """In one step. Without an answer there are no percentiles."""

    requests_per_s: float = 0.0
    errors_per_s: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True)
class Standing:
    """At the end of a step."""

    in_flight: int = 0
    queued: int = 0
    replicas_ready: int = 0
    replicas_wanted: int = 0


QUIET, NOTHING = Traffic(), Standing()


class Ring:
    """The last STEPS steps of one API, by column. Steps are numbered since some moment."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.last = first - 1
        self.standing = NOTHING
        self._columns = [array("f", bytes(4 * STEPS)) for _ in range(9)]
        self._point = first // STEPS_A_POINT
        self._sums = [array("f", bytes(4 * POINTS)) for _ in range(2)]  # of both rates, by point of the sparkline

    def write(self, step: int, traffic: Traffic, standing: Standing) -> None:
        """Steps since the last one that was written were as quiet as it left off. Earlier ones are not accepted."""
        for missed in range(max(self.last + 1, step - STEPS), step):
            self._put(missed, QUIET, self.standing)
        self._put(step, traffic, standing)
        self._sum(step // STEPS_A_POINT, traffic)
        self.last, self.standing = step, standing

    def _put(self, step: int, traffic: Traffic, standing: Standing) -> None:
        values = (*astuple(traffic), *astuple(standing))
        for column, value in zip(self._columns, values, strict=True):
            column[step % STEPS] = math.nan if value is None else value

    def _sum(self, point: int, traffic: Traffic) -> None:
        for missed in range(max(self._point, point - POINTS) + 1, point + 1):
            for sums in self._sums:
                sums[missed % POINTS] = 0.0
        self._point = point
        for sums, value in zip(self._sums, (traffic.requests_per_s, traffic.errors_per_s), strict=True):
            sums[point % POINTS] += value

    def means(self, column: int, first: int, last: int, steps_in_last: int) -> tuple[float, ...]:
        """Of one of the rates, by point of the sparkline; the last point has only so many steps yet."""
        sums, known = self._sums[column], range(self._point - POINTS + 1, self._point + 1)
        found = [round(sums[at % POINTS] / STEPS_A_POINT, 3) if at in known else 0.0 for at in range(first, last + 1)]
        found[-1] = round(found[-1] * STEPS_A_POINT / steps_in_last, 3)
        return tuple(found)

    def read(self, column: int, first: int, count: int) -> array[float]:
        """`count` steps from `first` on; what was before the ring's time, or after its last step, is filled in."""
        oldest = max(self.first, self.last - STEPS + 1)
        rest = math.nan if 2 <= column <= 4 else 0.0
        after = (*astuple(QUIET), *astuple(self.standing))[column]
        end = first + count
        found = array("f", [rest]) * max(0, min(oldest, end) - first)
        begin, stop = max(first, oldest), min(end, self.last + 1)
        if begin < stop:
            values, at = self._columns[column], begin % STEPS
            found += values[at : at + stop - begin]
            found += values[: max(0, at + stop - begin - STEPS)]
        return found + array("f", [math.nan if after is None else after]) * (count - len(found))


class Timelines:
    """`began` is the step before which nothing is known."""

    def __init__(self, began: int) -> None:
        self._began = began
        self._rings: dict[str, Ring] = {}

    def note(self, step: int, api: str, traffic: Traffic, standing: Standing) -> None:
        """How the API was in this step, if that is news."""
        ring = self._rings.get(api)
        if traffic == QUIET and standing == (NOTHING if ring is None else ring.standing):
            return
        if ring is None:
            ring = self._rings[api] = Ring(step)
        ring.write(step, traffic, standing)

    def forget_old(self, step: int) -> None:
        """Drop what has been at rest for the whole hour."""
        for api in [api for api, ring in self._rings.items() if _is_over(ring, step)]:
            del self._rings[api]

    def known(self) -> Iterator[str]:
        """APIs that were not at rest all the time."""
        return iter(self._rings)

    def timeline(self, api: str, step: int, count: int, start: float) -> Timeline:
        """The `count` steps that end with `step`, which began at `start` (seconds since the epoch); fewer if it is
        not that long that anything is known."""
        first = max(step - min(count, STEPS) + 1, self._began)
        n = max(0, step - first + 1)
        ring = self._rings.get(api) or Ring(step)
        columns = [ring.read(column, first, n) for column in range(9)]
        return Timeline(
            step_s=STEP_S,
            start=start - (step - first) * STEP_S,
            requests_per_s=_rounded(columns[0]),
            errors_per_s=_rounded(columns[1]),
            p50_ms=_with_gaps(columns[2]),
            p95_ms=_with_gaps(columns[3]),
            p99_ms=_with_gaps(columns[4]),
            in_flight=tuple(map(int, columns[5])),
            queued=tuple(map(int, columns[6])),
            replicas_ready=tuple(map(int, columns[7])),
            replicas_wanted=tuple(map(int, columns[8])),
        )

    def answered(self, api: str, step: int, count: int) -> tuple[int, int, float]:
        """Requests and those answered with 5xx in the `count` steps that end with `step`, and how many seconds of them
        are known. Nearly exact: a step is never exactly as long as it should be."""
        first = max(step - min(count, STEPS) + 1, self._began)
        n = max(0, step - first + 1)
        ring = self._rings.get(api)
        if ring is None or ring.last < first:
            return 0, 0, n * STEP_S
        requests, errors = (round(sum(ring.read(column, first, n)) * STEP_S) for column in (0, 1))
        return requests, errors, n * STEP_S

    def sparklines(self, step: int, start: float) -> Mapping[str, Sparkline]:
        """Each point is the mean of STEPS_A_POINT steps, the last of those there were. Quiet APIs are missing."""
        last = step // STEPS_A_POINT
        first = max(last - POINTS + 1, self._began // STEPS_A_POINT)
        began = first * STEPS_A_POINT
        in_last = step % STEPS_A_POINT + 1
        return {
            api: Sparkline(
                step_s=STEP_S * STEPS_A_POINT,
                start=start - (step - began) * STEP_S,
                requests_per_s=ring.means(0, first, last, in_last),
                errors_per_s=ring.means(1, first, last, in_last),
            )
            for api, ring in self._rings.items()
        }


def _is_over(ring: Ring, step: int) -> bool:
    return ring.standing == NOTHING and ring.last <= step - STEPS


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values)


def _with_gaps(values: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else round(value, 3) for value in values)
