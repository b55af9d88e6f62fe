"""What changed in a field, in words with figures. Pure.

`median 5.1 -> 5.8; 31 % of the values moved`, `"red" 20 % -> 45 %; 25 % of the values moved`, `missing 0.1 % -> 12 %`.
"""

from __future__ import annotations

from collections.abc import Mapping

from hatchway.monitoring.distances import Aspect, Distance
from hatchway.monitoring.sketches import FieldSketch, Numbers

_MAX_TOLD = 2


def explain(aspect: Aspect, distance: Distance, current: FieldSketch, baseline: FieldSketch) -> str:
    if aspect == "missing":
        return f"missing {_percent(baseline.missing, baseline.count)} -> {_percent(current.missing, current.count)}"
    if aspect == "types":
        return _moves(current.types, baseline.types)
    return f"{_values(distance, current, baseline)}; {_share(distance.effect)} of the values moved"


def _values(distance: Distance, current: FieldSketch, baseline: FieldSketch) -> str:
    ours, theirs = current.counts(), baseline.categories
    if distance.test == "chi2" and ours is not None and theirs is not None:
        return _moves(ours.counts, theirs.counts, ours.total, theirs.total)
    if current.numeric is not None and baseline.numeric is not None:
        return _medians(current.numeric, baseline.numeric, "median")
    if current.texts is not None and baseline.texts is not None:
        return _medians(current.texts.lengths, baseline.texts.lengths, "median length")
    return "other values"


def _medians(current: Numbers, baseline: Numbers, name: str) -> str:
    """The median tells a shift; where the ends of the middle 90 % moved far more than it, they tell a spread."""
    (low, ours, high), (old_low, theirs, old_high) = current.at((0.05, 0.5, 0.95)), baseline.at((0.05, 0.5, 0.95))
    ends_moved = max(abs(low - old_low), abs(high - old_high))
    if abs(ours - theirs) >= max(0.05 * (old_high - old_low), 0.25 * ends_moved):
        return f"{name} {theirs:.4g} -> {ours:.4g}"
    return f"{name} {ours:.4g}, 90 % of values {old_low:.4g} to {old_high:.4g} -> {low:.4g} to {high:.4g}"


def _moves(current: Mapping[str, int], baseline: Mapping[str, int], n: int | None = None, m: int | None = None) -> str:
    """The categories whose share changed most."""
    n, m = n or sum(current.values()), m or sum(baseline.values())
    moves = sorted(
        current.keys() | baseline.keys(),
        key=lambda name: (-round(abs(current.get(name, 0) / n - baseline.get(name, 0) / m), 6), name),
    )
    return ", ".join(
        f"{name} {_percent(baseline.get(name, 0), m)} -> {_percent(current.get(name, 0), n)}"
        + ("" if name in baseline else " (new)")
        for name in moves[:_MAX_TOLD]
    )


def _percent(part: int, whole: int) -> str:
    return _share(part / whole if whole else 0.0)


def _share(share: float) -> str:
    """Two digits: 31 %, 1.2 %, 0.05 %."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 9.95 or not percent else f"{percent:.2g} %"
