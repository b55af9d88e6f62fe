"""How many replicas an API should have: a pure function of its bounds, what is remembered, one sample and time.

The algorithm is Cortex's, looked at every second instead of every ten, with Knative's panic window beside it:

    average  = of in-flight + queued over all replicas, over `window`
    wanted   = ceil(average / target_in_flight)
    then, in this order, each of which may change it: tolerance, factors, panic, a request within the window (never
    from one to none), bounds, downscale stabilisation, upscale stabilisation

Panic is that of Knative (`pkg/autoscaler/scaling/autoscaler.go` in knative/serving): a second average over a tenth
of the window; once it reaches twice what the replicas are for (`panic average >= 2 * replicas * target`), and until
a whole window after it last did, the larger of the two averages counts and the number does not fall. Different from
Knative: the threshold is compared before rounding up (a little more than one replica's target is no burst), with
the replicas that were asked for (those that still start are on their way), and Cortex's factors and stabilisation
hold in a panic too, because the user has set them.

What the caller may rely on:
- The result is from `min_replicas` to `max_replicas`, always; without a sample it is what it was, within the bounds.
- It moves once a tick, however often it is called; only from zero it moves at any time, since somebody waits.
- It says how many, not which: whoever acts takes replicas away by draining, so a busy one finishes its requests. It
  may name fewer while all are busy; that is no licence to kill.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from hatchway.autoscaler.decision import Decision, Fixed, Limit, Load, Recommendation, Rule, Sample
from hatchway.autoscaler.memory import Memory
from hatchway.autoscaler.window import TICK_MS, TICK_S, Maxima, to_ms
from hatchway.spec.api import Autoscaling

PANIC_SHARE = 0.1  # of the window
PANIC_THRESHOLD = 2.0  # times what the replicas are for
EARLIEST_STEP_MS = TICK_MS // 2  # ticks are not exact: half of one tells the next from a second look in the same one


def decide(
    scaling: Autoscaling,
    memory: Memory,
    sample: Sample | None,
    now: float,
    fixed: Fixed | None = None,
    *,
    is_crowded: bool = False,
) -> tuple[Decision, Memory]:
    """The number of replicas for now, and what to pass in next time.

    `sample` is None when there are no figures, `now` is in seconds on a monotonic clock, and a `fixed` whose time
    is over is no different from none. `is_crowded`: other APIs wait for room, so what is kept only in case more
    requests come is not kept: the downscale period is 0, and a last request counts for the panic window.
    """
    if is_crowded:
        scaling = scaling.model_copy(update={"downscale_stabilization_period": 0.0})
    now_ms = to_ms(now)
    current = initial_replicas(scaling) if memory.replicas is None else memory.replicas
    course = _Course(_bounded(scaling, current))
    load, recommended = None, course.base
    if sample is not None:
        memory = replace(memory, replicas=course.base).observed(sample, to_ms(scaling.window), now_ms)
        memory, load = _measured(scaling, memory, sample, now_ms)
        in_use_s = _panic_window_s(scaling) if is_crowded else scaling.window
        _recommend(course, scaling, memory, load, in_use_s, now_ms)
        recommended = course.replicas
        memory = _stabilise(course, scaling, memory, now_ms)
    would = course.replicas
    fixed_s = None if fixed is None or now >= fixed.until else fixed.until - now
    if fixed is not None and fixed_s is not None:
        course.limit("fixed", fixed.replicas, _bounded(scaling, fixed.replicas))
    decision = Decision(
        replicas=course.replicas,
        current=current,
        base=course.base,
        recommended=recommended,
        would=would,
        target=_target(scaling, memory),
        window_s=scaling.window,
        panic_window_s=_panic_window_s(scaling),
        load=load,
        limits=tuple(course.limits),
        fixed_s=fixed_s,
        is_crowded=is_crowded,
    )
    return decision, replace(memory, replicas=decision.replicas)


@dataclass(frozen=True)
class _Hold:
    """Why a stabilisation period keeps the number: a recommendation, or that it has not been observed in full yet."""

    peak: Recommendation
    is_blind: bool
    wait_s: float


@dataclass
class _Course:
    """A number of replicas on its way through the rules, with a note of each rule that changed it."""

    base: int
    replicas: int = field(init=False)
    limits: list[Limit] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.replicas = self.base

    def limit(self, rule: Rule, setting: float, replicas: int, hold: _Hold | None = None) -> None:
        if replicas == self.replicas:
            return
        wait_s = None if hold is None else hold.wait_s
        held_by = None if hold is None or hold.is_blind else hold.peak
        self.limits.append(Limit(rule, setting, self.replicas, replicas, wait_s, held_by))
        self.replicas = replicas


def _measured(scaling: Autoscaling, memory: Memory, sample: Sample, now_ms: int) -> tuple[Memory, Load]:
    """The two averages, and what they ask for. From zero what is in flight now counts: it is waiting."""
    base, target = memory.replicas or 0, _target(scaling, memory)
    average = memory.averages.over(to_ms(scaling.window), now_ms) or 0.0
    panic_average = memory.averages.over(to_ms(_panic_window_s(scaling)), now_ms) or 0.0
    if base > 0 and panic_average >= PANIC_THRESHOLD * base * target:
        memory = replace(memory, panic_ms=now_ms)
    is_panicking = memory.panic_ms is not None and now_ms - memory.panic_ms <= to_ms(scaling.window)
    demand = max(
        average,
        panic_average if is_panicking else 0.0,
        sample.in_flight if base == 0 else 0.0,
    )
    idle_s = None if memory.request_ms is None else (now_ms - memory.request_ms) / 1000
    load = Load(sample.in_flight, average, panic_average, is_panicking, demand, _ceil(demand / target), idle_s)
    return memory, load


def _recommend(course: _Course, scaling: Autoscaling, memory: Memory, load: Load, in_use_s: float, now_ms: int) -> None:
    """From what is wanted to what is recommended: tolerances, factors, panic, a last request, bounds."""
    base, ratio = course.base, load.demand / _target(scaling, memory)
    course.replicas = load.wanted
    if base * (1 - scaling.downscale_tolerance) < ratio < base:
        course.limit("downscale_tolerance", scaling.downscale_tolerance, base)
    if base < ratio < base * (1 + scaling.upscale_tolerance):
        course.limit("upscale_tolerance", scaling.upscale_tolerance, base)
    lowest = min(base - 1, _ceil(base * scaling.max_downscale_factor))  # one less is always allowed
    highest = max(base + 1, _ceil(max(base, 1) * scaling.max_upscale_factor))  # and one more
    course.limit("max_downscale_factor", scaling.max_downscale_factor, max(course.replicas, lowest))
    course.limit("max_upscale_factor", scaling.max_upscale_factor, min(course.replicas, highest))
    if load.is_panicking:
        course.limit("panic", scaling.window, max(course.replicas, base))
    if course.replicas == 0 and _may_be_in_use(memory, to_ms(in_use_s), now_ms):
        course.limit("window", in_use_s, 1)
    course.limit("min_replicas", scaling.min_replicas, max(course.replicas, scaling.min_replicas))
    course.limit("max_replicas", scaling.max_replicas, min(course.replicas, scaling.max_replicas))


def _may_be_in_use(memory: Memory, window_ms: int, now_ms: int) -> bool:
    """Whether a request came within the window, or, where there are replicas, may have come unseen."""
    if memory.replicas and memory.observed_ms(now_ms) < window_ms:
        return True
    return memory.request_ms is not None and now_ms - memory.request_ms < window_ms


def _stabilise(course: _Course, scaling: Autoscaling, memory: Memory, now_ms: int) -> Memory:
    """Down only to the highest recommendation of one period, up only to the lowest of another.

    Neither moves before figures have come for its whole period, and neither turns a step round: at worst the number
    stays. From zero the first replica waits for nothing.
    """
    down_ms, up_ms = to_ms(scaling.downscale_stabilization_period), to_ms(scaling.upscale_stabilization_period)
    memory = memory.recommended(course.replicas, down_ms, up_ms, now_ms)
    base = course.base
    if base > 0 and memory.stepped_ms is not None and now_ms - memory.stepped_ms < EARLIEST_STEP_MS:
        course.limit("tick", TICK_S, base)
        return memory
    if course.replicas < base:
        hold = _hold(memory, memory.highest, base, down_ms, now_ms)
        held = base if hold.is_blind else min(base, hold.peak.replicas)
        course.limit("downscale_stabilization_period", down_ms / 1000, held, hold)
    elif course.replicas > base:
        hold = _hold(memory, memory.lowest, -base, up_ms, now_ms)
        held = base if hold.is_blind else max(base, hold.peak.replicas)
        course.limit("upscale_stabilization_period", up_ms / 1000, max(held, 1), hold)
    return replace(memory, stepped_ms=now_ms)


def _hold(memory: Memory, history: Maxima, base: int, period_ms: int, now_ms: int) -> _Hold:
    """What a period's history says. It lets go when all of it was observed and nothing in it speaks for staying."""
    peak, stays = history.highest, history.youngest_from(base)
    blind_ms = max(0, period_ms - memory.observed_ms(now_ms))
    held_ms = 0 if stays is None else stays.at_ms + period_ms - now_ms
    return _Hold(
        peak=Recommendation(abs(peak.value), (now_ms - peak.at_ms) / 1000),
        is_blind=blind_ms > 0,
        wait_s=max(blind_ms, held_ms) / 1000,
    )


def initial_replicas(scaling: Autoscaling) -> int:
    """What an API starts with, before anything is known of its requests."""
    return scaling.min_replicas if scaling.init_replicas is None else scaling.init_replicas


def _bounded(scaling: Autoscaling, replicas: int) -> int:
    return max(scaling.min_replicas, min(scaling.max_replicas, replicas))


def _target(scaling: Autoscaling, memory: Memory) -> float:
    """In flight per replica. Until a replica has told its slots, one: that of a sync handler."""
    return scaling.target_in_flight or memory.slots or 1.0


def _panic_window_s(scaling: Autoscaling) -> float:
    return max(TICK_S, scaling.window * PANIC_SHARE)


def _ceil(value: float) -> int:
    """Rounded up, except for what only the arithmetic of floats adds: 100 * 1.1 is 110, not 111."""
    return math.ceil(round(value, 9))
