"""How much windows of an unchanged API differ by themselves, beyond chance. Pure.

Requests are no independent draws: an hour has its own users, batches and time of day. A test that takes them for
independent cries wolf as soon as there is traffic enough. So the windows of a period without drift are compared with
each other: what they differ by beyond what their sizes explain is the field's own wobble (the random-effects model of
DerSimonian and Laird, "Meta-analysis in clinical trials", 1986, with distances in place of means). A later window may
differ by as much.

A field's distance is then at most the sum of two: chance, which the test knows, and wobble, which follows Student's t
with as many degrees of freedom as it was measured with. Both tests' distances obey the triangle inequality, so this
is a bound, not an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hatchway.monitoring import tails
from hatchway.monitoring.distances import Distance

_SPLITS = tuple(i / 16 for i in range(1, 16))


@dataclass(frozen=True)
class Wobble:
    """The root mean square of a field's wobble, in the unit of `Distance.length`.

    `freedom` says how well it is known, in windows; infinite when it was not measured but assumed.
    """

    size: float
    freedom: float = math.inf


NO_WOBBLE = Wobble(0.0)
# Until a day of windows was seen: each may differ from the baseline by this. A tenth of the values, or a shift of a
# quarter of a standard deviation: what a mild daily rhythm does.
ASSUMED_WOBBLE = Wobble(0.1)


def measure(distances: Sequence[Distance], freedom: float) -> Wobble:
    """From the distance of each window of an unchanged period to the others; there is at least one.

    The mean square tells of windows that all differ a little. A few that differ much, bursts of one client, hide in it:
    so the largest counts too, as what Student's t reaches once in so many windows.
    """
    excess = [found.raw**2 - found.chance_square for found in distances]
    usual = math.sqrt(max(0.0, sum(excess) / len(excess)))
    once = 1 / max(2, len(distances))
    largest = max(found.raw - math.sqrt(found.sketch_square) - _chance_length(found, once) for found in distances)
    return Wobble(max(usual, largest / _student_inverse(freedom, once)), freedom)


def probability(distance: Distance, length: float, wobble: Wobble) -> float:
    """P that an unchanged field is at least `length` from its baseline; `distance` tells the test and the sizes.

    However the length is split in two, either chance or wobble must have reached its part, so the sum of both
    probabilities is a bound for every split; the lowest is taken.
    """
    if not wobble.size:
        return distance.chance(length)
    bounds = (
        distance.chance(length * (1 - part)) + tails.student(length * part / wobble.size, wobble.freedom)
        for part in _SPLITS
    )
    return min(1.0, *bounds)


def threshold(distance: Distance, wobble: Wobble, probability: float) -> float:
    """About the length from which on `probability` (the function) is below this one: both parts get half of it."""
    if not wobble.size:
        return _chance_length(distance, probability)
    return _chance_length(distance, probability / 2) + wobble.size * _student_inverse(wobble.freedom, probability / 2)


def _chance_length(distance: Distance, probability: float) -> float:
    if distance.test == "ks":
        return _kolmogorov_inverse(probability) / distance.scale
    return math.sqrt(_chi_square_inverse(distance.freedom, probability) / distance.pairs)


# The same few arguments come again for each field and window.
@lru_cache(maxsize=64)
def _student_inverse(freedom: float, probability: float) -> float:
    return tails.inverse(lambda t: tails.student(t, freedom), probability)


@lru_cache(maxsize=64)
def _chi_square_inverse(freedom: int, probability: float) -> float:
    return tails.inverse(lambda x: tails.chi_square(x, freedom), probability)


@lru_cache(maxsize=64)
def _kolmogorov_inverse(probability: float) -> float:
    return tails.inverse(tails.kolmogorov, probability)
