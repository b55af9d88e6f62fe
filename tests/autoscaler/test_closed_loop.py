"""decide() in a loop with what it decides about: clients that wait for answers, replicas with slots and queues."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest

from hatchway.autoscaler.decide import decide
from hatchway.autoscaler.decision import Sample
from hatchway.autoscaler.memory import Memory
from hatchway.spec.api import Autoscaling

SERVICE_S = 0.2


@dataclass
class Replica:
    """So many slots and a queue. What is queued stays in this one's queue, as in Hatchway."""

    slots: int
    running: int = 0
    queue: list[float] = field(default_factory=list)  # when each was sent

    @property
    def in_flight(self) -> int:
        return self.running + len(self.queue)


@dataclass
class World:
    """Clients that send the next request when they have their answer; the gateway takes the least busy replica."""

    scaling: Autoscaling
    slots: int
    start_s: float
    replicas: list[Replica] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)  # (answered at, seconds it took)
    asked: list[tuple[float, int]] = field(default_factory=list)  # (at, replicas)
    events: list[tuple[float, int, str, Replica | None, float]] = field(default_factory=list)
    counted: int = 0
    arrived: int = 0

    def run(self, until: float, *, more_at: float, more: int) -> None:
        memory, wanted = Memory(), 1
        self.replicas.append(Replica(self.slots))
        self.push(0.0, "send")
        for _ in range(more):
            self.push(more_at, "send")
        self.push(0.5, "tick")
        while self.events and self.events[0][0] <= until:
            now, _, kind, replica, sent = heapq.heappop(self.events)
            if kind == "send":
                self.send(now)
            elif kind == "answer":
                assert replica is not None
                self.answer(now, replica, sent)
            elif kind == "ready":
                self.replicas.append(Replica(self.slots))
            else:
                sample = Sample(sum(one.in_flight for one in self.replicas), self.arrived, self.slots)
                self.arrived = 0
                decision, memory = decide(self.scaling, memory, sample, now)
                for _ in range(decision.replicas - wanted):
                    self.push(now + self.start_s, "ready")
                if decision.is_move:
                    self.asked.append((now, decision.replicas))
                wanted = decision.replicas
                self.push(now + 1, "tick")

    def push(self, at: float, kind: str, replica: Replica | None = None, sent: float = 0.0) -> None:
        self.counted += 1
        heapq.heappush(self.events, (at, self.counted, kind, replica, sent))

    def send(self, now: float) -> None:
        self.arrived += 1
        replica = min(self.replicas, key=lambda one: one.in_flight)
        if replica.running < replica.slots:
            replica.running += 1
            self.push(now + SERVICE_S, "answer", replica, now)
        else:
            replica.queue.append(now)

    def answer(self, now: float, replica: Replica, sent: float) -> None:
        self.latencies.append((now, now - sent))
        if replica.queue:
            self.push(now + SERVICE_S, "answer", replica, replica.queue.pop(0))
        else:
            replica.running -= 1
        self.push(now, "send")

    def p95_s(self, since: float, until: float) -> float:
        found = sorted(took for at, took in self.latencies if since <= at < until)
        return found[int(len(found) * 0.95)]


@pytest.mark.parametrize("start_s", [0.3, 3.0])
@pytest.mark.parametrize("target", [None, 1])
def test_a_step_from_1_to_20_concurrent_is_met_in_3_seconds_and_over_in_15(start_s: float, target: int | None) -> None:
    """A handler of 200 ms with 2 slots: 10 replicas are just enough for 20 at a time."""
    step_s = 60.0
    world = World(Autoscaling(max_replicas=10, target_in_flight=target), slots=2, start_s=start_s)
    world.run(120, more_at=step_s, more=19)
    assert [at for at, _ in world.asked if at < step_s] == []
    assert world.asked[0][0] - step_s <= 3
    assert world.asked[-1][1] == 10
    assert world.p95_s(step_s, step_s + 2) > 2 * SERVICE_S
    for second in range(15, 60):
        assert world.p95_s(step_s + second, step_s + second + 1) < 2 * SERVICE_S


def test_with_one_slot_ten_replicas_cannot_answer_20_at_a_time_in_less_than_two_turns() -> None:
    """No number of decisions helps when `max_replicas` is too few: every second request waits for one turn."""
    world = World(Autoscaling(max_replicas=10), slots=1, start_s=0.3)
    world.run(120, more_at=60, more=19)
    assert world.asked[-1][1] == 10
    assert world.p95_s(110, 120) == pytest.approx(2 * SERVICE_S)
    enough = World(Autoscaling(max_replicas=20), slots=1, start_s=0.3)
    enough.run(120, more_at=60, more=19)
    assert enough.p95_s(75, 120) == pytest.approx(SERVICE_S)


@pytest.mark.parametrize(("target", "replicas", "turns"), [(1, 21, 1), (3, 7, 3)])
def test_a_target_above_the_slots_makes_callers_wait_as_documented(target: int, replicas: int, turns: int) -> None:
    world = World(Autoscaling(target_in_flight=target), slots=1, start_s=0.3)
    world.run(120, more_at=60, more=20)
    assert world.asked[-1][1] == replicas
    assert world.p95_s(100, 120) == pytest.approx(turns * SERVICE_S)
