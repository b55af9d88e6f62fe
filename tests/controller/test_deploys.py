"""What a deploy answers: during another update, after a failed one, and when an update could never finish."""

from __future__ import annotations

import pytest

from hatchway.errors import Conflict, NoCapacity
from hatchway.spec.api import Compute
from tests.controller.world import Lab


async def updating(lab: Lab) -> str:
    """An API in the middle of an update. Returns the revision that is being rolled out."""
    await lab.live("1")
    revision = (await lab.deploy("2")).revision
    await lab.look()
    return revision


async def test_the_same_deploy_again_is_already_updating(lab: Lab) -> None:
    revision = await updating(lab)
    again = await lab.deploy("2")
    assert (again.action, again.message, again.revision) == ("unchanged", "already updating", revision)
    assert len(lab.history()) == 2


async def test_another_deploy_during_an_update_is_told_what_goes_on_and_how_far(lab: Lab) -> None:
    revision = await updating(lab)
    for dry_run in (False, True):
        with pytest.raises(Conflict) as caught:
            await lab.deploy("3", dry_run=dry_run)
        assert f"being updated to revision {revision}, 0 of 1 new replicas are ready" in caught.value.message
        assert "--force" in (caught.value.hint or "")
    assert lab.status().revision == revision


async def test_with_force_it_takes_the_place_of_the_update(lab: Lab) -> None:
    second = await updating(lab)
    third = (await lab.deploy("3", force=True)).revision
    await lab.settle()
    assert [one.revision for one in lab.backend.observe()] == [third]
    assert [entry[1:] for entry in lab.history()][:2] == [(third, "live"), (second, "replaced")]


async def test_settings_change_in_place_while_an_update_goes_on(lab: Lab) -> None:
    revision = await updating(lab)
    result = await lab.deploy("2", networking={"endpoint": "/other"})
    assert (result.action, result.revision) == ("configured", revision)
    await lab.settle()
    assert lab.history()[0] == ("configured", revision, "done")
    assert lab.history()[1] == ("deployed", revision, "live")


async def test_a_first_deploy_that_never_became_live_is_replaced_without_force(lab: Lab) -> None:
    await lab.deploy("1")
    await lab.look()
    await lab.live("2")


@pytest.mark.parametrize("fields", [{"restarts": 1, "reason": "CrashLoop"}, {"reason": "NoCapacity"}])
async def test_an_update_in_trouble_is_replaced_without_force(lab: Lab, fields: dict[str, object]) -> None:
    await updating(lab)
    (new,) = [one.id for one in lab.backend.observe() if one.state == "starting"]
    lab.backend.become(new, "starting", **fields)
    await lab.deploy("3")


async def test_a_failed_update_is_replaced_without_force(lab: Lab) -> None:
    await updating(lab)
    lab.make_fail()
    await lab.look()
    await lab.live("3")


async def test_an_update_that_was_not_ready_in_time_is_replaced_without_force(lab: Lab) -> None:
    await updating(lab)
    lab.now += 301
    await lab.look()
    assert lab.updated().reason == "NotReady"
    await lab.live("3")


async def test_while_nobody_serves_an_update_is_replaced_without_force(lab: Lab) -> None:
    await updating(lab)
    for id in lab.ready():
        lab.backend.become(id, "failed")
    await lab.deploy("3")


# --- updates that could never finish ---------------------------------------------------------------------------
def one_gpu(compute: Compute, new: int, old: int) -> str | None:
    """Of one GPU, all replicas together."""
    needed = (new + old) * compute.gpu
    return f"needs {needed} GPUs, there is 1" if needed > 1 else None


async def test_an_update_without_room_for_one_more_is_refused_with_the_setting_to_change(lab: Lab) -> None:
    lab.backend.lack = one_gpu
    revision = await lab.live("1", compute={"gpu": 1})
    for dry_run in (False, True):
        with pytest.raises(NoCapacity) as caught:
            await lab.deploy("2", compute={"gpu": 1}, dry_run=dry_run)
        assert "needs 2 GPUs, there is 1" in caught.value.message
        assert "update_strategy.max_unavailable: 1" in (caught.value.hint or "")
        assert "nobody answers" in (caught.value.hint or "")
    assert lab.status().revision == revision


@pytest.mark.parametrize("strategy", [{"max_unavailable": 1}, {"max_unavailable": 1, "max_surge": 0}])
async def test_with_that_setting_the_update_goes_through(lab: Lab, strategy: dict[str, int]) -> None:
    lab.backend.lack = one_gpu
    await lab.live("1", compute={"gpu": 1})
    await lab.live("2", compute={"gpu": 1}, update_strategy=strategy)


async def test_a_replica_that_does_not_fit_by_itself_is_told_so(lab: Lab) -> None:
    lab.backend.lack = one_gpu
    await lab.live("1")
    with pytest.raises(NoCapacity, match="a new replica does not fit") as caught:
        await lab.deploy("2", compute={"gpu": 2})
    assert "max_unavailable" not in (caught.value.hint or "")


async def test_only_an_update_is_looked_at(lab: Lab) -> None:
    lab.backend.lack = lambda compute, new, old: "never any room"
    await lab.live("1")
    await lab.deploy("1", networking={"endpoint": "/other"})
    await lab.controller.stop("iris")
    await lab.settle()
    await lab.deploy("2")
