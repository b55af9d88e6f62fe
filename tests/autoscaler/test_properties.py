"""What holds for any bounds and any figures."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from hatchway.autoscaler.decide import decide
from hatchway.autoscaler.decision import Decision, Fixed, Sample
from hatchway.autoscaler.explain import explain
from hatchway.autoscaler.memory import Memory
from hatchway.autoscaler.window import MAX_BUCKETS, MAX_PEAKS
from hatchway.spec.api import Autoscaling
from tests.autoscaler.story import steady


@dataclass(frozen=True)
class Look:
    """One tick: how long after the last one, and what was seen."""

    after_ms: int
    sample: Sample | None


@st.composite
def scalings(draw: st.DrawFn) -> Autoscaling:
    low = draw(st.integers(0, 4))
    high = draw(st.integers(max(1, low), 30))
    return Autoscaling(
        min_replicas=low,
        max_replicas=high,
        init_replicas=draw(st.none() | st.integers(low, high)),
        target_in_flight=draw(st.sampled_from([0.3, 1, 2, 7.5])),
        window=draw(st.sampled_from([1, 7, 30, 400])),
        upscale_stabilization_period=draw(st.sampled_from([0, 5, 60])),
        downscale_stabilization_period=draw(st.sampled_from([0, 5, 60])),
        max_upscale_factor=draw(st.sampled_from([1.1, 1.5, 10])),
        max_downscale_factor=draw(st.sampled_from([0, 0.5, 0.75])),
        upscale_tolerance=draw(st.sampled_from([0, 0.05, 1])),
        downscale_tolerance=draw(st.sampled_from([0, 0.05, 0.5])),
    )


samples = st.builds(Sample, st.integers(0, 60) | st.just(0), st.none() | st.integers(0, 3), st.none() | st.just(4))
looks = st.builds(
    Look,
    st.sampled_from([1000, 1000, 1000, 990, 1020, 2500, 100, 15_000, 70_000]),
    st.none() | samples | samples | samples,
)
traces = st.lists(looks, max_size=60)


def told(
    scaling: Autoscaling, trace: list[Look], now_ms: int = 0, fixed: Fixed | None = None
) -> tuple[list[Decision], Memory, float]:
    memory, decisions = Memory(), []
    for look in trace:
        now_ms += look.after_ms
        decision, memory = decide(scaling, memory, look.sample, now_ms / 1000, fixed)
        decisions.append(decision)
    return decisions, memory, now_ms / 1000


@steady
@given(scalings(), traces, st.none() | st.builds(Fixed, st.integers(0, 40), st.floats(0, 100)))
def test_never_above_max_never_below_min_and_always_with_words(
    scaling: Autoscaling, trace: list[Look], fixed: Fixed | None
) -> None:
    decisions, _, _ = told(scaling, trace, fixed=fixed)
    for decision in decisions:
        for number in (decision.replicas, decision.would, decision.recommended, decision.base):
            assert scaling.min_replicas <= number <= scaling.max_replicas
        assert explain(decision)
        assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


@steady
@given(scalings(), scalings(), traces, samples | st.none())
def test_bounds_that_are_edited_hold_with_the_next_decision(
    before: Autoscaling, after: Autoscaling, trace: list[Look], sample: Sample | None
) -> None:
    _, memory, now = told(before, trace)
    decision, _ = decide(after, memory, sample, now + 1)
    assert after.min_replicas <= decision.replicas <= after.max_replicas


@steady
@given(scalings(), traces, samples | st.none())
def test_deciding_again_at_once_changes_nothing(scaling: Autoscaling, trace: list[Look], sample: Sample | None) -> None:
    _, memory, now = told(scaling, trace)
    first, after = decide(scaling, memory, sample, now + 1)
    assert decide(scaling, memory, sample, now + 1) == (first, after)
    second, _ = decide(scaling, after, sample, now + 1)
    assert second.replicas == first.replicas


@steady
@given(scalings(), traces)
def test_without_figures_nothing_moves(scaling: Autoscaling, trace: list[Look]) -> None:
    _, memory, now = told(scaling, trace)
    decision, after = decide(scaling, memory, None, now + 1)
    assert not decision.is_move
    assert after == replace(memory, replicas=decision.replicas)


@steady
@given(scalings(), traces, samples, samples)
def test_more_requests_never_mean_fewer_replicas(
    scaling: Autoscaling, trace: list[Look], one: Sample, other: Sample
) -> None:
    _, memory, now = told(scaling, trace)
    less, more = sorted((one.in_flight, other.in_flight))
    few, _ = decide(scaling, memory, replace(one, in_flight=less), now + 1)
    many, _ = decide(scaling, memory, replace(one, in_flight=more), now + 1)
    assert few.replicas <= many.replicas


@steady
@given(scalings(), traces)
def test_no_step_is_larger_than_its_factor(scaling: Autoscaling, trace: list[Look]) -> None:
    decisions, _, _ = told(scaling, trace)
    for decision in decisions:
        assert decision.replicas <= max(decision.base + 1, max(1, decision.base) * scaling.max_upscale_factor + 1)
        assert decision.replicas >= min(decision.base - 1, decision.base * scaling.max_downscale_factor)


@steady
@given(scalings(), traces)
def test_zero_needs_the_window_and_the_downscale_period_without_a_request(
    scaling: Autoscaling, trace: list[Look]
) -> None:
    memory, now, last_s = Memory(), 0.0, 0.0
    for look in trace:
        now += look.after_ms / 1000
        before = memory.replicas
        if look.sample and (look.sample.in_flight or look.sample.arrived or (look.sample.arrived is None and before)):
            last_s = now
        decision, memory = decide(scaling, memory, look.sample, now)
        if decision.is_move and decision.replicas == 0:
            needed_s = scaling.window + scaling.downscale_stabilization_period
            assert now - last_s >= needed_s - 1.5  # a tick, and the half tick that a look may be early


@steady
@given(scalings(), traces, st.integers(0, 59), st.integers(-1000, 10**6))
def test_an_engine_that_is_restarted_on_another_clock_decides_the_same(
    scaling: Autoscaling, trace: list[Look], restart_after: int, origin_s: int
) -> None:
    uninterrupted, _, _ = told(scaling, trace)
    memory, now, interrupted = Memory(), 0.0, []
    for number, look in enumerate(trace):
        if number == restart_after:
            left = json.loads(json.dumps(memory.to_dict(now)))
            now += origin_s
            memory = Memory.from_dict(left, now)
        now = round(now + look.after_ms / 1000, 3)
        decision, memory = decide(scaling, memory, look.sample, now)
        interrupted.append(decision)
    assert interrupted == uninterrupted


@steady
@given(scalings(), traces, scalings())
def test_memory_is_bounded(scaling: Autoscaling, trace: list[Look], edited: Autoscaling) -> None:
    _, memory, now = told(scaling, trace * 4)
    for second in range(20):
        _, memory = decide(edited, memory, Sample(second), now + second)
    assert len(memory.averages.buckets) <= MAX_BUCKETS + 1
    most = min(MAX_PEAKS, max(scaling.max_replicas, edited.max_replicas)) + 1
    assert len(memory.highest.peaks) <= most
    assert len(memory.lowest.peaks) <= most
