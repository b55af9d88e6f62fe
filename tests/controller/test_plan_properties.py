"""What holds of every plan, whatever the replicas do; and that every update and every restart ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hatchway.controller.plan import Failure, Memory, Plan, Seen, Wish, plan, replicas_wanted
from hatchway.controller.rollout import Limits, limits
from hatchway.spec.api import Autoscaling, HandlerSpec, RealtimeApi, UpdateStrategy

OLD, NEW = "old", "new"

shares = st.integers(0, 4) | st.integers(0, 100).map(lambda percent: f"{percent}%")


@st.composite
def strategies(draw: st.DrawFn) -> UpdateStrategy:
    surge, unavailable = draw(shares), draw(shares)
    if str(surge).rstrip("%") == "0" and str(unavailable).rstrip("%") == "0":
        unavailable = 1
    return UpdateStrategy(max_surge=surge, max_unavailable=unavailable, drain_timeout=60)


@st.composite
def wishes(draw: st.DrawFn, ids: tuple[str, ...] = ()) -> Wish:
    """An update from OLD, a first deploy, a restart, or nothing to do."""
    spec = RealtimeApi(
        name="iris",
        handler=HandlerSpec(path="handler.py"),
        autoscaling=Autoscaling(min_replicas=draw(st.integers(1, 6))),
        update_strategy=draw(strategies()),
    )
    live = draw(st.sampled_from([OLD, NEW, None]))
    outdated = draw(st.sets(st.sampled_from(ids))) if ids and live == NEW else set()
    decided = draw(st.none() | st.integers(0, 6))
    return Wish(spec, "running", NEW, live, frozenset(outdated), decided)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Seen, ...]:
    """Replicas in any state, of three revisions."""
    count = draw(st.integers(0, 9))
    return tuple(
        Seen(
            id=f"r{number}",
            revision=draw(st.sampled_from([OLD, NEW, "older"])),
            state=draw(st.sampled_from(["starting", "ready", "draining", "failed"])),
            in_flight=draw(st.integers(0, 3)),
            is_final=draw(st.booleans()),
            is_resumable=draw(st.booleans()),
            reason="ImportError",
        )
        for number in range(count)
    )


@st.composite
def moments(draw: st.DrawFn) -> tuple[Wish, tuple[Seen, ...], Memory]:
    """Anything a controller may find itself in."""
    seen = draw(fleets())
    seen = tuple(replace(one, is_final=one.is_final and one.state == "failed") for one in seen)
    ids = tuple(one.id for one in seen)
    wish = draw(wishes(ids))
    drains = draw(st.sets(st.sampled_from(ids))) if ids else set()
    failure = draw(st.none() | st.just(Failure(NEW, "ImportError", "")))
    memory = Memory(NEW, wish.outdated, 0.0, failure, dict.fromkeys(drains, 0.0))
    return wish, seen, draw(st.just(memory) | st.just(Memory()))


def allowed(wish: Wish, failure: Failure | None = None) -> Limits:
    return limits(wish.spec.update_strategy, replicas_wanted(wish, failure))


def active(seen: tuple[Seen, ...], memory: Memory) -> list[Seen]:
    return [one for one in seen if one.state != "draining" and one.id not in memory.drains]


@given(moments())
@settings(deadline=None)
def test_our_own_action_never_leaves_fewer_ready_than_allowed(moment: tuple[Wish, tuple[Seen, ...], Memory]) -> None:
    wish, seen, memory = moment
    ready = sum(one.state == "ready" for one in active(seen, memory))
    decided = plan(wish, seen, memory, 1.0)
    failure = decided.memory.failure  # what has failed need not prove itself: then none may be wanted
    assert len(decided.reachable) >= min(ready, replicas_wanted(wish, failure) - allowed(wish, failure).unavailable)


@given(moments())
@settings(deadline=None)
def test_nothing_is_started_beyond_the_surge(moment: tuple[Wish, tuple[Seen, ...], Memory]) -> None:
    wish, seen, memory = moment
    fleet = Fleet(wish, list(seen), memory)
    before = len([one for one in active(seen, memory) if one.id not in plan(wish, seen, memory, 1.0).drain])
    fleet.act(plan(wish, seen, memory, 1.0), is_gateway_settled=True)
    after = len(active(tuple(fleet.seen), Memory()))
    assert after <= max(before, replicas_wanted(wish) + allowed(wish).surge)


@given(moments())
@settings(deadline=None)
def test_a_plan_repeated_is_the_same_plan(moment: tuple[Wish, tuple[Seen, ...], Memory]) -> None:
    wish, seen, memory = moment
    first = plan(wish, seen, memory, 1.0)
    again = plan(wish, seen, first.memory, 1.0)
    assert plain(again) == plain(first)


def plain(decided: Plan) -> Plan:
    """Without order, and without revisions of which nothing should exist: who drains has no part in the counts."""
    counts = {revision: count for revision, count in decided.replicas.items() if count}
    return replace(decided, drain=tuple(sorted(decided.drain)), replicas=counts)


@given(moments())
@settings(deadline=None)
def test_what_came_back_stays(moment: tuple[Wish, tuple[Seen, ...], Memory]) -> None:
    wish, seen, memory = moment
    first = plan(wish, seen, memory, 1.0)
    back = [replace(one, state="ready") if one.id in first.resume else one for one in seen]
    again = plan(wish, back, first.memory, 1.0)
    assert plain(replace(again, resume=first.resume)) == plain(first)


@given(moments())
@settings(deadline=None)
def test_no_more_come_back_than_are_wanted(moment: tuple[Wish, tuple[Seen, ...], Memory]) -> None:
    wish, seen, memory = moment
    decided = plan(wish, seen, memory, 1.0)
    wanted = replicas_wanted(wish, decided.memory.failure)
    ready = [one for one in active(seen, memory) if one.state == "ready" and one.revision == wish.revision]
    assert len(decided.resume) <= max(0, wanted - len([one for one in ready if one.id not in wish.outdated]))


@given(moments())
@settings(deadline=None)
def test_everything_has_exactly_one_fate(moment: tuple[Wish, tuple[Seen, ...], Memory]) -> None:
    wish, seen, memory = moment
    decided = plan(wish, seen, memory, 1.0)
    assert not decided.reachable & set(decided.drain)
    assert not decided.reachable & set(decided.stop)
    assert set(decided.resume) <= decided.reachable - decided.memory.drains.keys()
    assert {one.revision for one in active(seen, memory)} <= decided.replicas.keys()
    assert all(count >= 0 for count in decided.replicas.values())


@given(moments())
@settings(deadline=None)
def test_what_failed_never_shrinks_what_was_live(moment: tuple[Wish, tuple[Seen, ...], Memory]) -> None:
    wish, seen, memory = moment
    decided = plan(wish, seen, memory, 1.0)
    if decided.memory.failure is None or wish.live_revision is None:
        return
    serving = [one for one in active(seen, memory) if one.revision == wish.live_revision and one.state == "ready"]
    leaving = [one for one in serving if one.id not in decided.reachable]
    wanted = replicas_wanted(wish, decided.memory.failure)
    assert len(leaving) == max(0, len(serving) - wanted)
    assert decided.live_revision == wish.live_revision
    assert decided.replicas[wish.live_revision] >= min(len(serving), wanted)


# --- whole updates ---------------------------------------------------------------------------------------------
@dataclass
class Fleet:
    """Replicas that do as a plan says. The backend counts as the real one: what does not drain yet is there."""

    wish: Wish
    seen: list[Seen]
    memory: Memory = field(default_factory=Memory)
    started: int = 0

    def act(self, decided: Plan, *, is_gateway_settled: bool) -> None:
        self.seen = [replace(one, state="ready") if one.id in decided.resume else one for one in self.seen]
        waiting = [one.revision for one in self.seen if one.id in decided.drain and not is_gateway_settled]
        if is_gateway_settled:
            self.seen = [replace(one, state="draining") if one.id in decided.drain else one for one in self.seen]
        self.seen = [one for one in self.seen if one.id not in decided.stop]
        for revision, count in decided.replicas.items():
            self.apply(revision, count + waiting.count(revision))
        self.memory = decided.memory

    def apply(self, revision: str, count: int) -> None:
        here = [one for one in self.seen if one.revision == revision and one.state != "draining"]
        for _ in range(count - len(here)):
            self.started += 1
            self.seen.append(Seen(f"{revision}-{self.started}", revision, "starting"))
        surplus = [one for one in here if one.state != "ready"][: max(0, len(here) - count)]
        self.seen = [one for one in self.seen if one not in surplus]

    def count(self, state: str) -> int:
        return sum(one.state == state for one in self.seen)


@st.composite
def begun(draw: st.DrawFn) -> Fleet:
    """An API that serves with all it should have, or is idle, at the moment an update or a restart is asked for."""
    wish = draw(wishes())
    old = tuple(Seen(f"before-{number}", OLD, "ready") for number in range(replicas_wanted(wish)))
    if draw(st.booleans()):
        outdated = frozenset(one.id for one in old)
        return Fleet(replace(wish, revision=OLD, live_revision=OLD, outdated=outdated), list(old))
    return Fleet(replace(wish, live_revision=OLD), list(old))


@given(begun(), st.data())
@settings(deadline=None)
def test_an_update_or_restart_keeps_its_limits_at_every_step_and_ends(fleet: Fleet, data: st.DataObject) -> None:
    """Some replicas get ready at each turn and others later; the gateway is sometimes late."""
    wish, wanted = fleet.wish, replicas_wanted(fleet.wish)
    former, high = set(fleet.seen), wanted + allowed(wish).surge
    low = min(len(former), wanted - allowed(wish).unavailable)
    for turn in range(200):
        decided = plan(wish, fleet.seen, fleet.memory, float(turn))
        assert len(decided.reachable) >= low
        if decided.is_complete:
            break
        fleet.act(decided, is_gateway_settled=data.draw(st.booleans()) or turn > 100)
        assert fleet.count("ready") + fleet.count("starting") <= high + len(decided.drain)
        luck = data.draw(st.lists(st.booleans(), min_size=len(fleet.seen), max_size=len(fleet.seen)))
        fleet.seen = [
            replace(one, state="ready") if one.state == "starting" and (lucky or turn > 100) else one
            for one, lucky in zip(fleet.seen, luck, strict=True)
        ]
    assert decided.is_complete
    ready = [one for one in fleet.seen if one.id in decided.reachable]
    assert sum(one not in former for one in ready) >= wanted
    assert decided.memory.failure is None


@given(begun(), st.integers(0, 5))
@settings(deadline=None)
def test_an_update_or_restart_that_fails_at_any_point_leaves_what_is_wanted_ready(fleet: Fleet, works: int) -> None:
    """The first `works` new replicas get ready, the rest cannot load; those of another former revision always can."""
    wish, wanted, all_that_work = fleet.wish, replicas_wanted(fleet.wish), works
    begun_with = len(fleet.seen)
    low = min(begun_with, replicas_wanted(wish, Failure(wish.revision, "", "")) - allowed(wish).unavailable)
    for turn in range(60):
        decided = plan(wish, fleet.seen, fleet.memory, float(turn))
        assert len(decided.reachable) >= low
        if decided.is_complete:
            assert all_that_work >= wanted
            return
        fleet.act(decided, is_gateway_settled=True)
        for index, one in enumerate(fleet.seen):
            if one.state != "starting":
                continue
            is_new = one.revision == wish.revision and decided.memory.failure is None
            if is_new and works == 0:
                fleet.seen[index] = replace(one, state="failed", is_final=True, reason="ImportError")
            else:
                fleet.seen[index] = replace(one, state="ready")
                works -= is_new
    assert decided.memory.failure is not None
    assert decided.live_revision == OLD
    # What a restart may have stopped before it failed cannot be had back: it is what cannot load.
    lost = allowed(wish).unavailable if wish.outdated else 0
    wanted = replicas_wanted(wish, decided.memory.failure)
    assert sum(one.state == "ready" and one.revision == OLD for one in fleet.seen) >= wanted - lost
