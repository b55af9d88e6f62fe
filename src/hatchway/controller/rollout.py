"""How far an update may go now: the next safe step from the old revisions to the wanted one. Pure.

The arithmetic is that of a Kubernetes Deployment's rolling update: at most `replicas + surge` exist, at least
`replicas - unavailable` are ready. Both limits hold after every single step, so a step that never completes
(a replica that does not become ready) leaves the API as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hatchway.spec.api import UpdateStrategy


@dataclass(frozen=True)
class Limits:
    """`update_strategy` for a given number of replicas, as whole replicas."""

    surge: int
    unavailable: int


@dataclass(frozen=True)
class Counts:
    """Replicas that are not draining: of the wanted revision (`new`) and of all others (`old`)."""

    new: int
    new_ready: int
    old: int
    old_ready: int


@dataclass(frozen=True)
class Step:
    """`new`: replicas of the wanted revision that may exist now. `drain_ready`: how many ready old ones may go.

    Old replicas that are not ready serve nobody and may always go.
    """

    new: int
    drain_ready: int


@dataclass(frozen=True)
class Moment:
    """Replicas that exist at the same time in the course of an update."""

    old: int
    new: int


def limits(strategy: UpdateStrategy, replicas: int) -> Limits:
    """Percentages of `replicas`: surge rounded up, unavailable rounded down; at least one of the two is 1."""
    surge = _whole(strategy.max_surge, replicas, math.ceil)
    unavailable = min(_whole(strategy.max_unavailable, replicas, math.floor), replicas)
    return Limits(1, 0) if surge == 0 and unavailable == 0 else Limits(surge, unavailable)


def next_step(counts: Counts, replicas: int, limits: Limits) -> Step:
    """The step that is safe now. Repeating it changes nothing until a replica's state changes."""
    ready = counts.new_ready + counts.old_ready
    drain_ready = max(0, min(counts.old_ready, ready - (replicas - limits.unavailable)))
    room = replicas + limits.surge - (counts.old_ready - drain_ready)
    return Step(new=max(0, min(replicas, room)), drain_ready=drain_ready)


def fullest(old_ready: int, replicas: int, limits: Limits) -> tuple[Moment, ...]:
    """The moments an update cannot avoid at which most is needed, if it may not begin with stopping somebody.

    It can go one by one, so with one replica more than either side has: at first the new one beside all old ones, at
    the end the last old one beside all new ones. What is needed in between lies in between.
    """
    if limits.unavailable > 0 or old_ready == 0:
        return ()
    return Moment(old_ready, 1), Moment(1, replicas)


def _whole(value: int | str, replicas: int, rounding: Callable[[float], int]) -> int:
    if isinstance(value, int):
        return value
    return rounding(float(value.rstrip("%")) * replicas / 100)
