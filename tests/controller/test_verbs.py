"""Restart, scale, stop and start: what is wanted afterwards, what happens, and what the history says."""

from __future__ import annotations

import pytest

from hatchway.errors import Conflict, NoCapacity, NotFound, UsageError
from hatchway.spec.requests import ScaleRequest
from tests.controller.world import ADA, Lab

TWO = {"min_replicas": 2, "max_replicas": 4}
QUICK = {**TWO, "window": "2s", "downscale_stabilization_period": "0s", "max_downscale_factor": 0.1}


# --- restart ---------------------------------------------------------------------------------------------------
async def test_what_a_restart_replaced_does_not_come_back(lab: Lab) -> None:
    await lab.live(autoscaling={"min_replicas": 1, "max_replicas": 4})
    (old,) = lab.ready()
    lab.backend.become(old, "ready", in_flight=1)
    await lab.controller.restart("iris", ADA)
    await lab.settle()
    await lab.controller.scale("iris", ScaleRequest(replicas=2, for_s=60), ADA)
    await lab.look()
    assert old not in lab.ready()
    assert len(lab.backend.observe()) == 3


async def test_a_restart_replaces_every_replica_by_one_of_the_same_revision(lab: Lab) -> None:
    revision = await lab.live(autoscaling=TWO)
    before = lab.ready()
    result = await lab.controller.restart("iris", ADA)
    assert (result.action, result.revision, result.status) == ("restarted", revision, "updating")
    for _ in range(12):
        await lab.look()
        assert len(lab.ready()) >= 2
        assert len([one for one in lab.backend.observe() if one.state != "draining"]) <= 3
        lab.make_ready()
    assert len(lab.ready()) == 2
    assert not set(lab.ready()) & set(before)
    assert (lab.status().status, lab.updated().state) == ("live", "true")
    assert lab.history()[0] == ("restarted", revision, "live")


async def test_while_it_restarts_the_status_says_so(lab: Lab) -> None:
    await lab.live()
    await lab.controller.restart("iris", ADA)
    await lab.look()
    assert (lab.status().status, lab.status().reason) == ("updating", "Restarting")
    assert lab.updated().state == "unknown"


async def test_the_next_engine_goes_on_with_a_restart(lab: Lab) -> None:
    await lab.live(autoscaling=TWO)
    before = lab.ready()
    await lab.controller.restart("iris", ADA)
    for _ in range(2):  # one is replaced, the other not yet
        await lab.look()
        lab.make_ready()
    assert set(before) & set(lab.ready())
    lab.next_engine()
    await lab.settle()
    assert not set(before) & set(lab.ready())
    assert lab.status().status == "live"


async def test_a_restart_is_not_over_before_the_old_replicas_know_that_they_go(lab: Lab) -> None:
    await lab.live()
    (old,) = lab.ready()
    await lab.controller.restart("iris", ADA)
    await lab.look()
    lab.make_ready()
    (new,) = set(lab.ready()) - {old}
    lab.backend.become(old, "ready", in_flight=5)  # who has fewer requests goes first, if both are the same otherwise
    lab.gateway.is_settled = False
    await lab.look()
    assert lab.updated().state == "unknown"
    lab.next_engine()
    lab.gateway.is_settled = True
    lab.backend.become(old, "ready", in_flight=0)
    await lab.settle()
    assert lab.ready() == [new]
    assert lab.updated().state == "true"


async def test_a_restart_after_which_nothing_is_left_to_replace_is_done(lab: Lab) -> None:
    await lab.live()
    await lab.controller.restart("iris", ADA)
    await lab.backend.stop_all(kill_after_s=0)  # as `down` does
    lab.next_engine()
    await lab.settle()
    assert len(lab.ready()) == 1
    assert lab.updated().state == "true"


async def test_a_restart_that_cannot_load_leaves_the_old_replicas_serving_and_says_why(lab: Lab) -> None:
    revision = await lab.live(autoscaling=TWO)
    before = lab.ready()
    await lab.controller.restart("iris", ADA)
    await lab.look()
    lab.make_fail()
    for _ in range(5):
        lab.now += 1000
        await lab.look()
    assert lab.ready() == before
    assert lab.backend.observe() == [one for one in lab.backend.observe() if one.id in before]
    assert (lab.status().status, lab.status().reason) == ("live", "ImportError")
    assert lab.status().message.startswith("restart failed: no module")
    assert (lab.updated().state, lab.updated().message) == ("false", "no module named nope; what ran before is kept")
    assert lab.history()[0] == ("restarted", revision, "failed")


async def test_what_failed_is_known_to_the_next_engine_and_not_tried_again(lab: Lab) -> None:
    await lab.live()
    before = lab.ready()
    await lab.controller.restart("iris", ADA)
    await lab.look()
    lab.make_fail()
    await lab.look()
    lab.next_engine()
    await lab.look()
    assert lab.ready() == before
    assert len(lab.backend.observe()) == 1
    assert lab.updated().state == "false"


@pytest.mark.parametrize("verb", ["restart", "start"])
async def test_a_failed_restart_can_be_tried_again(lab: Lab, verb: str) -> None:
    await lab.live()
    before = lab.ready()
    await lab.controller.restart("iris", ADA)
    await lab.look()
    lab.make_fail()
    await lab.look()
    await getattr(lab.controller, verb)("iris", ADA)
    await lab.settle()
    assert not set(before) & set(lab.ready())
    assert lab.updated().state == "true"


async def test_a_crashed_replica_is_replaced_without_waiting_for_it(lab: Lab) -> None:
    await lab.live(autoscaling=TWO)
    crashed, other = lab.ready()
    lab.backend.become(crashed, "starting", reason="CrashLoop", restarts=3)
    await lab.controller.restart("iris", ADA)
    await lab.look()
    assert crashed not in lab.backend.replicas
    assert other in lab.ready()
    await lab.settle()
    assert len(lab.ready()) == 2
    assert lab.status().status == "live"


async def test_an_update_takes_the_place_of_a_restart(lab: Lab) -> None:
    await lab.live()
    await lab.controller.restart("iris", ADA)
    await lab.look()
    await lab.live("2")
    assert [action for action, _, _ in lab.history()] == ["deployed", "restarted", "deployed"]
    assert lab.history()[1][2] == "replaced"


async def test_new_replicas_are_not_stopped_while_old_ones_wait_for_the_gateway(lab: Lab) -> None:
    await lab.live(autoscaling=TWO, update_strategy={"max_surge": 2})
    await lab.controller.restart("iris", ADA)
    await lab.look()
    first, second = [one.id for one in lab.backend.observe() if one.state == "starting"]
    lab.backend.become(first, "ready")
    lab.gateway.is_settled = False
    await lab.look()
    assert second in lab.backend.replicas
    assert len(lab.backend.replicas) == 4


@pytest.mark.parametrize("wanted", ["stop", "delete"])
async def test_what_does_not_run_is_not_restarted(lab: Lab, wanted: str) -> None:
    await lab.live()
    await (lab.controller.stop("iris", ADA) if wanted == "stop" else lab.controller.delete("iris"))
    with pytest.raises(Conflict, match=r"iris is (stopped|deleted)"):
        await lab.controller.restart("iris", ADA)


async def test_during_an_update_there_is_nothing_to_restart(lab: Lab) -> None:
    await lab.live()
    update = await lab.deploy("2")
    await lab.look()
    with pytest.raises(Conflict, match=update.revision):
        await lab.controller.restart("iris", ADA)
    lab.make_fail()
    await lab.look()
    with pytest.raises(Conflict, match="failed") as caught:
        await lab.controller.restart("iris", ADA)
    assert "hatchway rollback iris" in (caught.value.hint or "")


async def test_a_restart_that_could_never_finish_is_refused_with_the_setting_to_change(lab: Lab) -> None:
    await lab.live(compute={"gpu": 1})
    lab.backend.lack = lambda compute, new, old: "no GPU" if (new + old) * compute.gpu > 1 else None
    with pytest.raises(NoCapacity, match="no GPU") as caught:
        await lab.controller.restart("iris", ADA)
    assert "update_strategy.max_unavailable: 1" in (caught.value.hint or "")
    await lab.deploy(compute={"gpu": 1}, update_strategy={"max_unavailable": 1})
    await lab.controller.restart("iris", ADA)


# --- scale -----------------------------------------------------------------------------------------------------
async def scale(lab: Lab, replicas: int | None, for_s: float = 600) -> None:
    await lab.controller.scale("iris", ScaleRequest(replicas=replicas, for_s=for_s), ADA)
    await lab.settle()


async def test_a_number_of_replicas_holds_for_a_while_and_then_requests_decide(lab: Lab) -> None:
    await lab.live(autoscaling=QUICK)
    await scale(lab, 3)
    assert len(lab.ready()) == 3
    assert (lab.status().scaled.replicas, lab.status().scaled.by) == (3, ADA)
    lab.next_engine()
    await lab.settle()
    assert len(lab.ready()) == 3
    await lab.tick(5)
    assert len(lab.ready()) == 3
    lab.now += 600
    await lab.tick(5)
    assert lab.status().scaled is None
    assert len(lab.ready()) == 2


async def test_the_controller_looks_again_when_it_ends(lab: Lab) -> None:
    await lab.live(autoscaling=TWO)
    await scale(lab, 3, for_s=100)
    lab.now += 80
    left_s = await lab.reconciler.reconcile("iris")
    assert left_s == pytest.approx(100 - 80 - 12)


async def test_it_ends_at_once_when_asked_to(lab: Lab) -> None:
    await lab.live(autoscaling=QUICK)
    await scale(lab, 4)
    await scale(lab, None, for_s=0)
    assert lab.status().scaled is None
    await lab.tick(5)
    assert len(lab.ready()) == 2
    assert [one.changes for one in lab.controller.history("iris")][:2] == [
        ("no longer to a fixed number",),
        ("2 -> 4 replicas for 600 s",),
    ]
    await scale(lab, None, for_s=0)  # and again, with nothing to end
    assert len(lab.history()) == 3


async def test_other_bounds_end_it_and_other_changes_do_not(lab: Lab) -> None:
    await lab.live(autoscaling=TWO)
    await scale(lab, 4)
    await lab.live("2", autoscaling=TWO)
    assert len(lab.ready()) == 4
    await lab.live("2", autoscaling={**TWO, "window": "10s"})
    assert len(lab.ready()) == 4
    assert lab.status().scaled is not None
    await lab.live("2", autoscaling={**TWO, "max_replicas": 5})
    assert lab.status().scaled is None


@pytest.mark.parametrize(
    ("replicas", "field"),
    [(1, "autoscaling.min_replicas of iris (2)"), (5, "autoscaling.max_replicas of iris (4)")],
)
async def test_outside_the_bounds_it_is_refused_with_the_field(lab: Lab, replicas: int, field: str) -> None:
    await lab.live(autoscaling=TWO)
    with pytest.raises(UsageError) as caught:
        await scale(lab, replicas)
    assert field in caught.value.message
    assert lab.status().scaled is None


async def test_none_is_what_stop_is_for(lab: Lab) -> None:
    await lab.live(autoscaling={"min_replicas": 0})
    with pytest.raises(UsageError) as caught:
        await scale(lab, 0)
    assert "hatchway stop iris" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="how many"):
        await scale(lab, None)


async def test_a_stopped_api_is_not_scaled(lab: Lab) -> None:
    await lab.live()
    await lab.controller.stop("iris", ADA)
    with pytest.raises(Conflict, match="stopped"):
        await scale(lab, 1)


# --- the history -----------------------------------------------------------------------------------------------
async def test_the_history_says_who_did_what_and_what_became_of_it(lab: Lab) -> None:
    first = await lab.live()
    second = (await lab.deploy("2")).revision
    await lab.look()
    lab.make_fail()
    await lab.look()
    await lab.controller.stop("iris", "bob@lab")
    await lab.look()
    await lab.controller.start("iris", ADA)
    lab.now += 3
    await lab.look()
    assert lab.history() == [
        ("started", second, "pending"),
        ("stopped", second, "done"),
        ("deployed", second, "failed"),
        ("deployed", first, "live"),
    ]
    started, stopped, failed, live = lab.controller.history("iris")
    assert (stopped.by, live.by) == ("bob@lab", ADA)
    assert (live.git_commit, failed.git_commit) == ("commit of 1", "commit of 2")
    assert failed.changes == ("handler.py changed",)
    assert (failed.reason, failed.message) == ("ImportError", "no module named nope")
    assert live.took_s == 2.0
    assert started.took_s is None


async def test_a_change_in_place_is_done_at_once_and_a_stop_ends_what_is_pending(lab: Lab) -> None:
    revision = (await lab.deploy()).revision
    await lab.deploy(networking={"endpoint": "/other"})
    await lab.controller.stop("iris", ADA)
    assert lab.history() == [
        ("stopped", revision, "done"),
        ("configured", revision, "done"),
        ("deployed", revision, "replaced"),
    ]


async def test_what_changes_nothing_is_not_noted(lab: Lab) -> None:
    await lab.live()
    await lab.deploy()
    await lab.controller.start("iris", ADA)
    assert len(lab.history()) == 1


@pytest.mark.parametrize("verb", ["restart", "stop", "start", "delete"])
async def test_an_unknown_name_is_not_found(lab: Lab, verb: str) -> None:
    with pytest.raises(NotFound):
        await getattr(lab.controller, verb)("nobody")


def test_an_unknown_name_has_no_history(lab: Lab) -> None:
    with pytest.raises(NotFound):
        lab.controller.history("nobody")


async def test_what_was_kept_for_a_fast_start_goes_when_an_api_is_stopped_and_its_replicas_are_gone(lab: Lab) -> None:
    await lab.live()
    await lab.controller.stop("iris")
    assert lab.backend.released == []
    await lab.settle()
    assert set(lab.backend.released) == {"iris"}
