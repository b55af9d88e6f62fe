"""What goes into a decision and what comes out, as plain data that explains itself and is recorded as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

Rule = Literal[
    "upscale_tolerance",
    "downscale_tolerance",
    "max_upscale_factor",
    "max_downscale_factor",
    "panic",
    "window",
    "min_replicas",
    "max_replicas",
    "upscale_stabilization_period",
    "downscale_stabilization_period",
    "tick",
    "fixed",
]


@dataclass(frozen=True)
class Sample:
    """One look at the requests of an API.

    `in_flight`: in flight and queued, in all of its replicas whatever their revision, and held by the activator.
    `arrived`: how many came in since the last look, because short ones fall between two looks; None if it is not
    known (Envoy or the engine has just started). Unknown ones keep an API awake and never wake one.
    `slots`: `max_concurrency` of a replica, from the spec or as the replicas report it; None if none has yet.
    """

    in_flight: float
    arrived: int | None = None
    slots: int | None = None


@dataclass(frozen=True)
class Fixed:
    """`hatchway scale NAME N --for DURATION`: so many replicas until then, in seconds on the clock of `now`."""

    replicas: int
    until: float


@dataclass(frozen=True)
class Recommendation:
    """One of the past that a stabilisation period still looks at."""

    replicas: int
    age_s: float


@dataclass(frozen=True)
class Limit:
    """A rule that changed the number on its way: from `before` to `after` replicas.

    `rule` is the field of `autoscaling` that did it, or `panic` (nothing is taken away during a burst), `tick` (a
    tick has not passed since the last decision) or `fixed`. `setting` is that field's value. `wait_s`: how long
    until a stabilisation period lets the number move, if things stay as they are. `held_by`: the recommendation it
    takes instead; None while figures have not come for the whole period yet.
    """

    rule: Rule
    setting: float
    before: int
    after: int
    wait_s: float | None = None
    held_by: Recommendation | None = None


@dataclass(frozen=True)
class Load:
    """What the figures said.

    `demand` is the one of the averages that counts (from zero also what is in flight now), and `wanted` is that
    divided by the target, rounded up: replicas before any rule. `idle_s`: since a request was last seen.
    """

    in_flight: float
    average: float
    panic_average: float
    is_panicking: bool
    demand: float
    wanted: int
    idle_s: float | None  # None: there never was one


@dataclass(frozen=True)
class Decision:
    """How many replicas, with all it takes to say why. `explain.explain` says it in words.

    `replicas` should run: at least `min_replicas`, at most `max_replicas`. `current` were asked for until now, and
    `base` is that within the bounds, which may have been edited since. `recommended` is what stabilisation periods
    will look at later; `would` is what requests alone ask for, and differs from `replicas` only during a `Fixed`.
    `load` is None when there were no figures.
    """

    replicas: int
    current: int
    base: int
    recommended: int
    would: int
    target: float
    window_s: float
    panic_window_s: float
    load: Load | None
    limits: tuple[Limit, ...] = ()
    fixed_s: float | None = None  # how much longer a fixed number holds
    is_crowded: bool = False  # other APIs wait for the room of what is kept in case, so nothing is

    @property
    def is_move(self) -> bool:
        return self.replicas != self.current

    @property
    def is_kept_in_case(self) -> bool:
        """Whether only a waiting period keeps the number from falling: nothing that is in flight needs it."""
        rule = self.limits[-1].rule if self.limits else None
        return not self.is_move and rule in ("window", "downscale_stabilization_period")

    def is_news_after(self, previous: Decision | None) -> bool:
        """Whether it should be recorded: the number moved, or it stays for another reason than before."""
        if self.is_move or previous is None:
            return True
        if any(limit.rule == "tick" for limit in self.limits):
            return False
        return self._reason() != previous._reason()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "limits": [asdict(limit) for limit in self.limits]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote. Raises KeyError or TypeError for anything else."""
        load, limits = document["load"], document["limits"]
        return cls(**{**document, "load": load and Load(**load), "limits": tuple(_limit(limit) for limit in limits)})

    def _reason(self) -> tuple[object, ...]:
        rules = tuple(limit.rule for limit in self.limits)
        is_panicking = self.load is not None and self.load.is_panicking
        return (rules, self.load is None, is_panicking, self.fixed_s is None, self.would - self.replicas)


def _limit(document: Mapping[str, Any]) -> Limit:
    held_by = document["held_by"]
    return Limit(**{**document, "held_by": held_by and Recommendation(**held_by)})
