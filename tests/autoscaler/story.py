"""An API over hours of fake time, in milliseconds of real time: figures in, moves out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings

from hatchway.autoscaler.decide import decide
from hatchway.autoscaler.decision import Decision, Fixed, Sample
from hatchway.autoscaler.memory import Memory
from hatchway.spec.api import Autoscaling

# Generated cases are the same in every run, and none is too slow, however busy the machine is.
steady = settings(derandomize=True, deadline=None)


def a_scaling(**changes: Any) -> Autoscaling:
    """Up to 10 replicas of 1 request each; everything else by default."""
    return Autoscaling(**{"max_replicas": 10, "target_in_flight": 1, **changes})


def cortex_scaling(**changes: Any) -> Autoscaling:
    """What Cortex has by default, where Hatchway has something else."""
    cortex = {"window": 60, "upscale_stabilization_period": 60, "max_upscale_factor": 1.5}
    return a_scaling(**{**cortex, **changes})


def a_sample(in_flight: float, **changes: Any) -> Sample:
    return Sample(in_flight, **{"arrived": 1 if in_flight else 0, **changes})


@dataclass
class Story:
    """`told`: every decision with its time; `now` and `memory` go on from one chapter to the next."""

    scaling: Autoscaling
    now: float = 1000.0
    memory: Memory = field(default_factory=Memory)
    told: list[tuple[float, Decision]] = field(default_factory=list)
    fixed: Fixed | None = None
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.now

    def tick(self, sample: Sample | None, tick_s: float = 1.0) -> Decision:
        decision, self.memory = decide(self.scaling, self.memory, sample, self.now, self.fixed)
        self.told.append((self.now - self.began, decision))
        self.now += tick_s
        return decision

    def run(
        self, seconds: float, load: float | Callable[[float], float] | None, tick_s: float = 1.0, **sample: Any
    ) -> Decision:
        """`load`: in flight, or what it is so many seconds into this chapter; None: no figures."""
        chapter = self.now
        while self.now < chapter + seconds:
            in_flight = load(self.now - chapter) if callable(load) else load
            decision = self.tick(None if in_flight is None else a_sample(in_flight, **sample), tick_s)
        return decision

    def restart(self, *, now: float, away_s: float = 0.0) -> None:
        """The engine ends and another one reads what it left, on a clock that says `now`."""
        left = json.loads(json.dumps(self.memory.to_dict(self.now)))
        self.began += now - self.now - away_s
        self.now, self.memory = now, Memory.from_dict(left, now, away_s)

    @property
    def replicas(self) -> int:
        return self.told[-1][1].replicas

    @property
    def moves(self) -> list[tuple[float, int]]:
        """When the number moved, in seconds since the beginning, and to what."""
        return [(at, decision.replicas) for at, decision in self.told if decision.is_move]

    @property
    def numbers(self) -> list[int]:
        return [self.told[0][1].current, *(replicas for _, replicas in self.moves)]
