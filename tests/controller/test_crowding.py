"""A full machine: who makes room for replicas that wait, and how many do."""

from __future__ import annotations

from hatchway.autoscaler.decision import Decision, Limit, Load, Rule
from hatchway.backends import Replica
from hatchway.controller.crowding import find_yielding, lacking
from hatchway.gateway.stats import Requests
from hatchway.spec.status import ReplicaState
from tests.controller.world import Lab

ASLEEP = {"min_replicas": 0, "max_replicas": 2}


def a_replica(state: ReplicaState, reason: str = "") -> Replica:
    return Replica("r", "iris", "1", state, address="", reason=reason)


def a_waiting_replica() -> Replica:
    return Replica("other-1", "other", "1", "starting", address="", reason="NoCapacity")


def a_decision(rule: Rule | None, idle_s: float | None, replicas: int = 1) -> Decision:
    load = Load(0.0, 0.0, 0.0, False, 0.0, 0, idle_s)
    limits = () if rule is None else (Limit(rule, 30.0, 0, replicas),)
    return Decision(replicas, 1, 1, 0, replicas, 1.0, 30.0, 3.0, load, limits)


def test_what_waits_for_room_is_counted_but_for_what_drains_already() -> None:
    waits, drains = a_replica("starting", "NoCapacity"), a_replica("draining")
    others = [a_replica("starting"), a_replica("ready"), a_replica("failed", "NoCapacity")]
    assert lacking(others) == 0
    assert lacking([*others, waits, waits]) == 2
    assert lacking([*others, waits, waits, drains]) == 1
    assert lacking([waits, drains, drains]) == 0


def test_no_more_yield_than_are_needed_and_the_longest_idle_first() -> None:
    decisions = {
        "busy": a_decision(None, 0.0),
        "wanted": a_decision("min_replicas", 999.0),
        "recent": a_decision("window", 5.0),
        "older": a_decision("downscale_stabilization_period", 50.0),
        "never": a_decision("window", None),
        "falling": a_decision("downscale_stabilization_period", 70.0, replicas=0),
    }
    assert find_yielding(decisions, 0) == frozenset()
    assert find_yielding(decisions, 1) == {"never"}
    assert find_yielding(decisions, 2) == {"never", "older"}
    assert find_yielding(decisions, 9) == {"never", "older", "recent"}


async def test_an_idle_replica_makes_room_for_one_that_waits(lab: Lab) -> None:
    await lab.live(autoscaling=ASLEEP)
    await lab.tick(20)
    assert lab.status().status == "live", "it is kept for a while, in case more requests come"
    lab.backend.replicas["other-1"] = a_waiting_replica()
    await lab.tick()
    assert lab.status().status == "idle"
    assert "others wait for room" in lab.controller.scaling("iris")[0].message


async def test_a_replica_in_use_makes_no_room(lab: Lab) -> None:
    await lab.live(autoscaling=ASLEEP)
    lab.backend.replicas["other-1"] = a_waiting_replica()
    for total in range(1, 20):
        lab.gateway.load = {"iris": Requests(in_flight=1, total=total)}
        await lab.tick()
    assert lab.status().status == "live"


async def test_what_has_proved_itself_makes_room_at_once(lab: Lab) -> None:
    await lab.deploy(autoscaling=ASLEEP)
    lab.backend.replicas["other-1"] = a_waiting_replica()
    await lab.look()
    lab.backend.become("iris-1", "ready")
    for _ in range(3):
        await lab.look()
    assert lab.status().status == "idle"
    assert not lab.ready()
