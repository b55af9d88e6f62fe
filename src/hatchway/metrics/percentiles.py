"""Percentiles of latencies that were counted in buckets. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def percentile(ratio: float, bounds: Sequence[float], cumulated: Sequence[int]) -> float | None:
    """The value that `ratio` of all lie at or below, as if those of a bucket were spread evenly over it.

    `cumulated[i]` values are at most `bounds[i]`; the last of `cumulated`, for which there is no bound, counts all.
    What is above all bounds is told as the highest of them. None when there are no values.
    """
    if not cumulated or cumulated[-1] <= 0:
        return None
    rank = ratio * cumulated[-1]
    at = bisect_left(cumulated, rank)
    if at >= len(bounds):
        return bounds[-1]
    below, lower = (cumulated[at - 1], bounds[at - 1]) if at else (0, 0.0)
    inside = cumulated[at] - below
    return lower + (bounds[at] - lower) * (rank - below) / inside if inside else bounds[at]
