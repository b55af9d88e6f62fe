"""The autoscaler in the controller: figures in, numbers out, memory and records kept on a real disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hatchway.controller.scaling import Scaler, Subject
from hatchway.gateway.stats import Requests
from hatchway.spec.api import Autoscaling
from hatchway.store.sqlite import Scaled, Store
from tests.controller.world import FakeGateway, Lab

QUICK = {
    "min_replicas": 0,
    "max_replicas": 8,
    "target_in_flight": 2,
    "window": "3s",
    "downscale_stabilization_period": "0s",
    "max_downscale_factor": 0.1,
}


class Ticking:
    """A scaler whose clock is moved by hand."""

    def __init__(self, store: Store) -> None:
        self.now, self.wall = 1000.0, 5000.0
        self.store, self.gateway, self.moved = store, FakeGateway(), list[str]()
        self.next_engine()

    def next_engine(self) -> None:
        self.scaler = Scaler(
            self.store, self.gateway, lambda: [], self.moved.append, lambda: self.now, lambda: self.wall
        )

    def follow(self, scaled: Scaled | None = None, **settings: object) -> None:
        self.scaler.follow("iris", Subject(Autoscaling.model_validate({**QUICK, **settings}), 1, scaled))

    async def tick(self, count: int = 1, *, in_flight: int = 0, arrived: int = 0) -> int | None:
        for _ in range(count):
            self.now, self.wall = self.now + 1, self.wall + 1
            before = self.gateway.load.get("iris", Requests()).total
            self.gateway.load["iris"] = Requests(in_flight, before + arrived)
            await self.scaler.tick()
        return self.scaler.replicas("iris")


@pytest.fixture
def ticking(tmp_path: Path) -> Iterator[Ticking]:
    with Store(tmp_path / "engine.db") as store:
        yield Ticking(store)


async def test_the_number_follows_the_requests_and_each_move_is_told(ticking: Ticking) -> None:
    ticking.follow(min_replicas=1)
    assert ticking.scaler.replicas("iris") == 1
    assert await ticking.tick(5, in_flight=8, arrived=5) == 4
    assert set(ticking.moved) == {"iris"}
    assert await ticking.tick(10) == 1


async def test_an_api_without_requests_goes_to_zero_and_one_that_waits_wakes_it_at_once(ticking: Ticking) -> None:
    ticking.follow()
    ticking.scaler.rouse("iris")
    assert await ticking.tick(2) == 1
    assert await ticking.tick(5) == 0
    ticking.gateway.held["iris"] = 1
    ticking.scaler.wake("iris")
    assert ticking.scaler.replicas("iris") == 1


async def test_short_requests_that_no_look_sees_keep_it_awake(ticking: Ticking) -> None:
    ticking.follow()
    ticking.scaler.rouse("iris")
    assert await ticking.tick(10, in_flight=0, arrived=3) == 1


async def test_what_the_activator_holds_counts_once(ticking: Ticking) -> None:
    ticking.follow()
    ticking.gateway.held["iris"] = 6
    assert await ticking.tick(1, in_flight=6, arrived=6) == 3


async def test_without_figures_nothing_moves(ticking: Ticking) -> None:
    ticking.follow(min_replicas=1)
    await ticking.tick(4, in_flight=8, arrived=1)
    ticking.gateway.is_silent = True
    assert await ticking.tick(60) == 4
    assert ticking.scaler.decisions("iris")[0][1].load is None


async def test_a_restarted_envoy_counts_from_zero_and_wakes_nobody(ticking: Ticking) -> None:
    ticking.follow()
    ticking.gateway.load["iris"] = Requests(0, 500)
    await ticking.scaler.tick()
    ticking.gateway.load["iris"] = Requests(0, 0)
    assert await ticking.tick(3) == 0


async def test_an_api_at_rest_is_not_decided_about(ticking: Ticking) -> None:
    ticking.follow()
    await ticking.tick(30)
    assert len(ticking.scaler.decisions("iris")) <= 1


async def test_new_bounds_hold_at_once(ticking: Ticking) -> None:
    ticking.follow(min_replicas=1)
    ticking.follow(min_replicas=3)
    assert ticking.scaler.replicas("iris") == 3
    ticking.follow(min_replicas=1, max_replicas=2)
    assert ticking.scaler.replicas("iris") == 2


async def test_a_number_somebody_asked_for_holds_until_its_time_is_over(ticking: Ticking) -> None:
    ticking.follow(Scaled(5, until=5010.0, by="ada"), min_replicas=1)
    assert await ticking.tick(9) == 5
    assert await ticking.tick(10) == 1


async def test_what_was_seen_survives_the_engine(ticking: Ticking) -> None:
    """Half of the window before the restart and half after it: together they let it fall."""
    ticking.follow(min_replicas=1, downscale_stabilization_period="20s")
    await ticking.tick(5, in_flight=8, arrived=1)
    assert await ticking.tick(12) == 4
    ticking.scaler.save()
    ticking.next_engine()
    ticking.follow(min_replicas=1, downscale_stabilization_period="20s")
    assert ticking.scaler.replicas("iris") == 4
    assert await ticking.tick(5) == 4
    assert await ticking.tick(10) == 1


async def test_an_api_that_nobody_asks_is_not_saved_again_and_again(ticking: Ticking) -> None:
    ticking.follow(min_replicas=1, window="5s", downscale_stabilization_period="0s")
    await ticking.tick(5, in_flight=8, arrived=1)
    assert await ticking.tick(20) == 1
    ticking.scaler.save()
    kept = ticking.store.recall("scaling:iris")
    await ticking.tick(20)
    ticking.scaler.save()
    assert ticking.store.recall("scaling:iris") == kept
    await ticking.tick(1, in_flight=1, arrived=1)
    ticking.scaler.save()
    assert ticking.store.recall("scaling:iris") != kept


async def test_what_another_release_wrote_is_not_read(ticking: Ticking) -> None:
    ticking.store.remember("scaling:iris", '{"memory": {}}')
    ticking.store.add_decision("iris", 1.0, '{"replicas": 1}')
    ticking.follow(min_replicas=2)
    assert ticking.scaler.replicas("iris") == 2
    assert all(decision.replicas == 2 for _, decision in ticking.scaler.decisions("iris"))


async def test_a_stopped_api_starts_anew(ticking: Ticking) -> None:
    ticking.follow(min_replicas=1)
    await ticking.tick(5, in_flight=8, arrived=1)
    ticking.scaler.save()
    ticking.scaler.unfollow("iris")
    assert ticking.scaler.replicas("iris") is None
    ticking.follow(min_replicas=1)
    assert ticking.scaler.replicas("iris") == 1


async def test_a_full_disk_keeps_nobody_from_being_scaled(ticking: Ticking) -> None:
    ticking.follow(min_replicas=1)
    ticking.store.close()
    assert await ticking.tick(4, in_flight=8, arrived=1) == 4
    ticking.scaler.save()


# --- with the whole controller ---------------------------------------------------------------------------------
async def test_a_new_revision_proves_itself_before_its_api_goes_to_sleep(lab: Lab) -> None:
    await lab.live(autoscaling=QUICK)
    assert lab.status().status == "live"
    assert len(lab.ready()) == 1
    await lab.tick(6)
    await lab.settle()
    assert lab.status().status == "idle"
    assert (lab.ready(), lab.status().replicas.desired) == ([], 0)
    ready = next(one for one in lab.status().conditions if one.type == "Ready")
    assert (ready.state, ready.reason) == ("true", "Idle")

    await lab.live("2", autoscaling=QUICK)
    assert len(lab.ready()) == 1
    assert lab.status().status == "live"


async def test_an_update_that_fails_leaves_an_idle_api_idle(lab: Lab) -> None:
    await lab.live(autoscaling=QUICK)
    await lab.tick(6)
    await lab.settle()
    await lab.deploy("2", autoscaling=QUICK)
    await lab.look()
    lab.make_fail()
    await lab.settle()
    status = lab.status()
    assert (status.status, status.replicas.desired, lab.ready()) == ("idle", 0, [])
    assert "failed" in status.message
    assert lab.gateway.table.routes[0].max_held > 0

    lab.controller.wake("iris")
    await lab.settle()
    assert len(lab.ready()) == 1
    assert lab.status().status == "live"


async def test_requests_that_wait_start_a_replica_and_are_counted(lab: Lab) -> None:
    await lab.live(autoscaling=QUICK)
    await lab.tick(6)
    lab.gateway.held["iris"] = 2
    assert lab.status().in_flight == 2
    lab.controller.wake("iris")
    await lab.settle()
    assert len(lab.ready()) == 1


async def test_as_many_are_held_as_the_first_replica_can_take(lab: Lab) -> None:
    await lab.live(autoscaling=QUICK, handler={"max_concurrency": 3, "max_queue_length": 7})
    assert lab.gateway.table.routes[0].max_held == 10
    await lab.controller.stop("iris")
    await lab.settle()
    assert lab.gateway.table.routes[0].max_held == 0


async def test_nothing_is_held_for_what_cannot_load(lab: Lab) -> None:
    await lab.deploy("1", autoscaling=QUICK)
    await lab.look()
    lab.make_fail()
    await lab.look()
    assert lab.status().status == "failed"
    assert lab.gateway.table.routes[0].max_held == 0


async def test_every_decision_can_be_read_in_words(lab: Lab) -> None:
    await lab.live(autoscaling={**QUICK, "min_replicas": 1})
    lab.gateway.load["iris"] = Requests(6, 6)
    await lab.tick(3)
    steps = lab.controller.scaling("iris")
    assert any(step.message.startswith("1 -> ") and "in flight on average" in step.message for step in steps)
    assert steps[0].target == 2
