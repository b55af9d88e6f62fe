"""What one plan decides, and stories of several: an API over its life, told as steps on a fake clock."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from hatchway.controller.plan import Failure, Memory, Plan, Seen, Wish, plan
from hatchway.spec.api import Autoscaling, HandlerSpec, RealtimeApi, UpdateStrategy

OLD, NEW = "old", "new"


def a_spec(replicas: int = 1, **strategy: Any) -> RealtimeApi:
    return RealtimeApi(
        name="iris",
        handler=HandlerSpec(path="handler.py"),
        autoscaling=Autoscaling(min_replicas=replicas),
        update_strategy=UpdateStrategy(**strategy),
    )


def a_wish(replicas: int = 1, *, live: str | None = None, **strategy: Any) -> Wish:
    return Wish(a_spec(replicas, **strategy), "running", NEW, live)


def ready(id: str, revision: str = NEW, **changes: Any) -> Seen:
    return replace(Seen(id, revision, "ready"), **changes)


def starting(id: str, revision: str = NEW, **changes: Any) -> Seen:
    return replace(Seen(id, revision, "starting"), **changes)


def failed(id: str, revision: str = NEW, *, reason: str = "ImportError") -> Seen:
    return Seen(id, revision, "failed", is_final=True, reason=reason, message="no module named nope")


def test_a_first_deploy_starts_min_replicas() -> None:
    decided = plan(a_wish(3), [], Memory(), now=0)
    assert decided.replicas == {NEW: 3}
    assert decided.live_revision is None


def test_min_replicas_of_zero_keeps_one_until_requests_can_wake_an_api() -> None:
    assert plan(a_wish(0), [], Memory(), now=0).replicas == {NEW: 1}


def test_only_ready_replicas_are_reachable() -> None:
    decided = plan(a_wish(2), [ready("a"), starting("b")], Memory(), now=0)
    assert decided.reachable == {"a"}
    assert decided.live_revision is None


def test_a_revision_is_live_when_all_of_it_is_ready() -> None:
    decided = plan(a_wish(2), [ready("a"), ready("b")], Memory(), now=0)
    assert decided.live_revision == NEW
    assert decided.look_again_s == math.inf


def test_an_update_starts_the_new_replica_and_leaves_the_old_one_alone() -> None:
    decided = plan(a_wish(live=OLD), [ready("a", OLD)], Memory(), now=0)
    assert decided.replicas == {OLD: 1, NEW: 1}
    assert decided.reachable == {"a"}
    assert not decided.drain


def test_the_old_replica_leaves_the_gateway_before_it_is_told_to_drain() -> None:
    decided = plan(a_wish(live=OLD), [ready("a", OLD), ready("b")], Memory(), now=0)
    assert decided.reachable == {"b"}
    assert decided.drain == ("a",)
    assert not decided.stop


def test_a_drain_that_could_not_be_told_yet_is_told_again() -> None:
    seen = [ready("a", OLD), ready("b")]
    first = plan(a_wish(live=OLD), seen, Memory(), now=0)
    again = plan(a_wish(live=NEW), seen, first.memory, now=0.1)
    assert again.drain == ("a",)
    assert again.reachable == {"b"}


@pytest.mark.parametrize(
    ("in_flight", "now", "stops"),
    [(1, 1.0, False), (0, 1.0, True), (1, 61.0, True)],
    ids=["busy", "empty", "out of time"],
)
def test_a_draining_replica_stops_when_it_is_empty_or_out_of_time(in_flight: int, now: float, *, stops: bool) -> None:
    draining = Seen("a", OLD, "draining", in_flight=in_flight)
    memory = Memory(revision=NEW, drains={"a": 0.0})
    decided = plan(a_wish(live=NEW), [draining, ready("b")], memory, now)
    assert ("a" in decided.stop) is stops


def test_the_least_busy_old_replica_goes_first() -> None:
    seen = [ready("a", OLD, in_flight=3), ready("b", OLD, in_flight=1), ready("c")]
    assert plan(a_wish(2, live=OLD), seen, Memory(), now=0).drain == ("b",)


def test_a_new_revision_that_cannot_load_never_shrinks_the_old_one() -> None:
    decided = plan(a_wish(live=OLD), [ready("a", OLD), failed("b")], Memory(), now=0)
    assert decided.replicas == {OLD: 1, NEW: 0}
    assert decided.reachable == {"a"}
    assert decided.memory.failure == Failure(NEW, "ImportError", "no module named nope")
    assert decided.live_revision == OLD


def test_an_idle_api_stays_idle_when_its_update_fails_and_wakes_as_it_was() -> None:
    wish = replace(a_wish(0, live=OLD), decided=0)
    first = plan(wish, [], Memory(), now=0)
    assert first.replicas == {NEW: 1}
    given_up = plan(wish, [failed("b")], first.memory, now=1)
    assert given_up.replicas == {OLD: 0, NEW: 0}
    assert plan(replace(wish, decided=1), [], given_up.memory, now=2).replicas == {OLD: 1}


def test_a_failed_update_is_not_tried_again_by_itself() -> None:
    first = plan(a_wish(live=OLD), [ready("a", OLD), failed("b")], Memory(), now=0)
    later = plan(a_wish(live=OLD), [ready("a", OLD)], first.memory, now=3600)
    assert later.replicas == {OLD: 1}
    assert later.memory.failure == first.memory.failure


def test_an_update_that_fails_half_way_brings_the_old_revision_back() -> None:
    seen = [ready("a", OLD), ready("b"), failed("c")]
    decided = plan(a_wish(2, live=OLD), seen, Memory(), now=0)
    assert decided.replicas == {OLD: 2, NEW: 1}
    assert decided.reachable == {"a", "b"}
    recovered = plan(a_wish(2, live=OLD), [ready("a", OLD), ready("d", OLD), ready("b")], decided.memory, now=5)
    assert recovered.drain == ("b",)
    assert recovered.live_revision == OLD


def test_a_first_deploy_that_cannot_load_keeps_its_failed_replica_to_show_why() -> None:
    decided = plan(a_wish(), [failed("a")], Memory(), now=0)
    assert decided.replicas == {NEW: 1}
    assert decided.memory.failure is not None


def test_not_ready_in_time_is_a_failure_that_names_the_setting() -> None:
    wish = a_wish(live=OLD, ready_timeout=30)
    memory = plan(wish, [ready("a", OLD), starting("b")], Memory(), now=0).memory
    assert plan(wish, [ready("a", OLD), starting("b")], memory, now=29).memory.failure is None
    failure = plan(wish, [ready("a", OLD), starting("b")], memory, now=30).memory.failure
    assert failure is not None
    assert failure.reason == "NotReady"
    assert "update_strategy.ready_timeout" in failure.message


def test_what_stands_in_the_way_is_the_reason_when_time_is_up() -> None:
    wish = a_wish(ready_timeout=30)
    waiting = starting("a", reason="NoCapacity", message="needs 64 GiB, 3 GiB are free")
    memory = plan(wish, [waiting], Memory(), now=0).memory
    failure = plan(wish, [waiting], memory, now=31).memory.failure
    assert failure == Failure(NEW, "NoCapacity", "needs 64 GiB, 3 GiB are free")


def test_another_revision_starts_with_a_clean_record() -> None:
    memory = Memory(revision="other", update_since=0, failure=Failure("other", "ImportError", ""))
    decided = plan(a_wish(live=OLD), [ready("a", OLD)], memory, now=1000)
    assert decided.memory.failure is None
    assert decided.memory.update_since == 1000
    assert decided.replicas == {OLD: 1, NEW: 1}


def test_a_failed_first_deploy_that_becomes_ready_after_all_is_live() -> None:
    memory = Memory(revision=NEW, update_since=0, failure=Failure(NEW, "NotReady", ""))
    decided = plan(a_wish(), [ready("a")], memory, now=400)
    assert decided.live_revision == NEW
    assert decided.memory.failure is None


def test_stopping_drains_everything_and_starts_nothing() -> None:
    wish = replace(a_wish(2, live=NEW), wanted="stopped")
    decided = plan(wish, [ready("a"), starting("b")], Memory(), now=0)
    assert decided.replicas == {NEW: 0}
    assert decided.drain == ("a",)
    assert decided.reachable == frozenset()


def test_a_deleted_api_is_gone_when_its_last_replica_is() -> None:
    wish = replace(a_wish(live=NEW), wanted="deleted")
    assert not plan(wish, [Seen("a", NEW, "draining")], Memory(), now=0).is_gone
    assert plan(wish, [], Memory(), now=0).is_gone


def test_fewer_wanted_replicas_drain_the_least_busy() -> None:
    seen = [ready("a", in_flight=2), ready("b"), ready("c", in_flight=1)]
    assert plan(a_wish(1, live=NEW), seen, Memory(), now=0).drain == ("b", "c")


# --- taking a drain back ---------------------------------------------------------------------------------------
def draining(id: str, revision: str = NEW, **changes: Any) -> Seen:
    return replace(Seen(id, revision, "draining", is_resumable=True), **changes)


def test_a_rollback_takes_the_old_replicas_back_in_one_step_and_starts_none() -> None:
    seen = [draining("a", in_flight=1), draining("b"), ready("c", OLD), ready("d", OLD)]
    memory = Memory(revision=OLD, drains={"a": 0.0, "b": 0.0})
    decided = plan(a_wish(2, live=OLD), seen, memory, now=1)
    assert decided.resume == ("a", "b")
    assert decided.reachable == {"a", "b"}
    assert decided.drain == ("c", "d")
    assert decided.replicas == {NEW: 2, OLD: 0}
    assert decided.is_complete
    assert not decided.stop


def test_what_was_not_told_to_drain_yet_comes_back_first_and_needs_not_be_asked() -> None:
    seen = [draining("a"), ready("b"), ready("c")]
    decided = plan(a_wish(2, live=NEW), seen, Memory(revision=NEW, drains={"a": 0.0, "b": 0.0}), now=1)
    assert not decided.resume
    assert decided.reachable == {"b", "c"}
    assert decided.memory.drains == {"a": 0.0}


def test_a_replica_that_comes_back_makes_one_that_still_starts_needless() -> None:
    decided = plan(a_wish(2, live=NEW), [draining("a"), ready("b"), starting("c")], Memory(), now=0)
    assert decided.resume == ("a",)
    assert decided.replicas == {NEW: 2}  # the backend stops what is not ready beyond them


@pytest.mark.parametrize(
    "replica",
    [draining("a", is_resumable=False), draining("a", OLD), Seen("a", NEW, "failed")],
    ids=["refuses", "another revision", "crashed"],
)
def test_what_cannot_come_back_is_replaced(replica: Seen) -> None:
    decided = plan(a_wish(live=NEW), [replica], Memory(revision=NEW, drains={"a": 0.0}), now=0)
    assert not decided.resume
    assert decided.replicas[NEW] == 1
    assert not decided.reachable


def test_a_restart_takes_nothing_back() -> None:
    wish = replace(a_wish(live=NEW), outdated=frozenset({"a"}))
    assert not plan(wish, [draining("a"), starting("b")], Memory(), now=0).resume


def settle(wish: Wish, seen: list[Seen], memory: Memory, now: float) -> tuple[list[Seen], Plan]:
    """One turn of a world in which every replica gets ready at once and drains at once."""
    decided = plan(wish, seen, memory, now)
    after = [replica for replica in seen if replica.id not in decided.stop]
    after = [replace(r, state="draining") if r.id in decided.drain else r for r in after]
    for revision, count in decided.replicas.items():
        here = [r for r in after if r.revision == revision and r.state != "draining" and r.id not in decided.drain]
        after += [ready(f"{revision}-{now}-{n}", revision) for n in range(count - len(here))]
    return after, decided


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_an_update_never_has_fewer_ready_replicas_than_wanted_and_ends(replicas: int) -> None:
    seen = [ready(f"old-{n}", OLD) for n in range(replicas)]
    memory, live = Memory(), OLD
    for turn in range(40):
        seen, decided = settle(a_wish(replicas, live=live), seen, memory, float(turn))
        memory, live = decided.memory, decided.live_revision or live
        assert len(decided.reachable) >= replicas
    assert live == NEW
    assert [replica.revision for replica in seen] == [NEW] * replicas
    assert plan(a_wish(replicas, live=live), seen, memory, 40.0).look_again_s == math.inf
