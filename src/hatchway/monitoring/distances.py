"""How far apart the values of a field are in two sketches, and how far they would be by chance. Pure.

Three aspects of a field are compared: its values, how many are missing, and their types. A distance does not depend on
how many values were seen, so that a setting in its unit means the same for a busy API and a quiet one; how much of it
is chance does, and that is what the noise is for.

- Numbers and lengths of texts: Kolmogorov-Smirnov, the largest difference between the shares of values up to some
  point. It is at most the share of values that would have to change to turn one into the other.
- Choices, booleans, missing, types: the share of values that changed category (total variation distance) is the
  effect; the test is Pearson's chi-square. Rare values are pooled, as the test needs about 5 expected of each.

What the sketches may be wrong by is taken off the distance first: it is no evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hatchway.monitoring import tails
from hatchway.monitoring.sketches import Categories, FieldSketch, Numbers

Aspect = Literal["values", "missing", "types"]
Test = Literal["ks", "chi2"]

MIN_EXPECTED = 5.0
KOLMOGOROV_SQUARE = math.pi**2 / 12  # the mean square of sqrt(pairs) * distance by chance
# The mean square of the greatest error of ranks, as measured, against the square of the bound that 99 of 100 keep.
SKETCH_SQUARE = 0.5


@dataclass(frozen=True)
class Distance:
    """Between the values of a field in two sketches.

    Attributes:
        effect: at least this share of the values moved; 0 to 1. What is left when the sketches' error is taken off.
        length: what the test looks at, also free of sample sizes: for ks the effect itself, for chi2 the square root
            of chi2 / pairs.
        raw: the length with the sketches' error in it.
        freedom: degrees of freedom of chi2; 0 for ks.
        sketch_square: how large the square of `raw` is on average because sketches are not exact.
    """

    test: Test
    effect: float
    length: float
    raw: float
    n_current: int
    n_baseline: int
    freedom: int = 0
    sketch_square: float = 0.0

    @property
    def pairs(self) -> float:
        """n m / (n + m), n and m being how many values each side has."""
        return self.n_current * self.n_baseline / (self.n_current + self.n_baseline)

    @property
    def scale(self) -> float:
        """What a Kolmogorov-Smirnov distance is multiplied with: Stephens' correction of sqrt(pairs)."""
        root = math.sqrt(self.pairs)
        return root + 0.12 + 0.11 / root

    @property
    def statistic(self) -> float:
        """As textbooks have it: D of Kolmogorov-Smirnov, or chi-square."""
        return self.length if self.test == "ks" else self.length**2 * self.pairs

    @property
    def chance_square(self) -> float:
        """The mean square of `raw` if nothing changed."""
        by_sampling = KOLMOGOROV_SQUARE / self.scale**2 if self.test == "ks" else self.freedom / self.pairs
        return by_sampling + self.sketch_square

    def chance(self, length: float) -> float:
        """P of at least this length if nothing changed, and values were independent of each other."""
        if self.test == "ks":
            return tails.kolmogorov(length * self.scale)
        return tails.chi_square(length**2 * self.pairs, self.freedom)


def between(aspect: Aspect, current: FieldSketch, baseline: FieldSketch) -> Distance | None:
    """None if there is nothing to compare: one side has no such values, or there is but one category."""
    if aspect == "missing":
        return of_counts(_missing(current), _missing(baseline))
    if aspect == "types":
        return of_counts(current.types, baseline.types)
    return _of_values(current, baseline)


def to_the_rest(found: Distance) -> Distance | None:
    """The distance of a part to the whole without it, from that to the whole. None if the part is all there is.

    The whole is part and rest in proportion, so shares of the part differ from those of the rest by 1 / (1 - part)
    times as much. `effect` and `length` are not converted: only wobble is measured this way.
    """
    rest = found.n_baseline - found.n_current
    if rest <= 0:
        return None
    more = found.n_baseline / rest
    return replace(found, raw=found.raw * more, n_baseline=rest, sketch_square=found.sketch_square * more * more)


def of_numbers(current: Numbers, baseline: Numbers) -> Distance | None:
    if not current.count or not baseline.count:
        return None
    ours, our_shares = current.points()
    theirs, their_shares = baseline.points()
    points = np.concatenate([ours, theirs])
    gaps = _shares_at(points, ours, our_shares) - _shares_at(points, theirs, their_shares)
    error_square = current.rank_error**2 + baseline.rank_error**2
    raw = float(np.abs(gaps).max())
    length = max(0.0, raw - math.sqrt(error_square))
    return Distance("ks", length, length, raw, current.count, baseline.count, 0, SKETCH_SQUARE * error_square)


def of_counts(current: Mapping[str, int], baseline: Mapping[str, int], slack: float = 0.0) -> Distance | None:
    """Of how often each category occurs. `slack` is by how much the difference of two shares may be wrong."""
    n, m = sum(current.values()), sum(baseline.values())
    if not n or not m:
        return None
    rows = _pooled(current, baseline)
    if len(rows) < 2:
        return None
    square = raw_square = moved = 0.0
    for ours, theirs in rows:
        raw_gap = abs(ours / n - theirs / m)
        gap = max(0.0, raw_gap - slack)
        weight = (n + m) / (ours + theirs)
        square += gap * gap * weight
        raw_square += raw_gap * raw_gap * weight
        moved += gap / 2
    return Distance("chi2", moved, math.sqrt(square), math.sqrt(raw_square), n, m, len(rows) - 1)


def _of_values(current: FieldSketch, baseline: FieldSketch) -> Distance | None:
    """By the kind of the baseline. A choice whose values can no longer be counted is compared as numbers or lengths."""
    ours, theirs = current.counts(), baseline.categories
    if baseline.kind in ("categorical", "boolean") and ours is not None and theirs is not None:
        return of_counts(_counted(ours), _counted(theirs), ours.error / ours.total + theirs.error / theirs.total)
    if current.numeric is not None and baseline.numeric is not None:
        return of_numbers(current.numeric, baseline.numeric)
    if current.texts is not None and baseline.texts is not None:
        return of_numbers(current.texts.lengths, baseline.texts.lengths)
    return None


def _shares_at(points: object, values: object, shares: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    padded = np.concatenate([[0.0], np.asarray(shares, dtype=np.float64)])
    return np.asarray(padded[np.searchsorted(np.asarray(values), np.asarray(points), side="right")])


def _missing(sketch: FieldSketch) -> dict[str, int]:
    return {"missing": sketch.missing, "present": sketch.present}


def _counted(categories: Categories) -> dict[str, int]:
    """With one more category for the values that are not listed; no JSON value is an empty text."""
    return {**categories.counts, "": categories.total - sum(categories.counts.values())}


def _pooled(current: Mapping[str, int], baseline: Mapping[str, int]) -> list[tuple[int, int]]:
    """The counts of each category; those expected less than 5 times on either side go together until they are not.

    What is expected is what both sides together say, and they are put together in that order, the most frequent first:
    an order that knew more, which values are new, say, would find a difference by itself.
    """
    n, m = sum(current.values()), sum(baseline.values())
    least = MIN_EXPECTED * (n + m) / min(n, m)
    counts = {name: (current.get(name, 0), baseline.get(name, 0)) for name in current.keys() | baseline.keys()}
    rows: list[tuple[int, int]] = []
    ours = theirs = 0
    for name in sorted(counts, key=lambda name: (-sum(counts[name]), name)):
        ours, theirs = ours + counts[name][0], theirs + counts[name][1]
        if ours + theirs >= least:
            rows.append((ours, theirs))
            ours = theirs = 0
    if rows:  # what is left over goes with the last
        rows[-1] = (rows[-1][0] + ours, rows[-1][1] + theirs)
    return rows
