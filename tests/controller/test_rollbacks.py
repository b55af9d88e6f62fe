"""Going back: to what, with which settings and secrets, from which state, and what is kept for it."""

from __future__ import annotations

import pytest

from hatchway.controller.controller import REVISIONS_KEPT, needed_revisions
from hatchway.controller.rollbacks import find_earlier
from hatchway.errors import Conflict, NoCapacity, NotFound
from hatchway.spec.revision import Source
from hatchway.spec.status import DeployResult
from hatchway.store.sqlite import ApiRecord, RevisionRecord
from tests.controller.world import ADA, PYTHON, Lab


async def rollback(lab: Lab, to: str | None = None) -> DeployResult:
    result = await lab.controller.rollback("iris", to, ADA)
    await lab.settle()
    return result


async def test_it_goes_to_what_was_live_before_and_done_again_forward(lab: Lab) -> None:
    first, second = await lab.live("1"), await lab.live("2")
    result = await rollback(lab)
    assert (result.revision, result.action) == (first, "rolled_back")
    assert result.message == f"rolled back to revision {first}"
    assert result.changes == ("handler.py changed",)
    assert {one.revision for one in lab.backend.observe()} == {first}
    assert lab.status().status == "live"
    assert (await rollback(lab)).revision == second
    assert lab.history()[:2] == [("rolled_back", second, "live"), ("rolled_back", first, "live")]


async def test_it_is_kept_when_the_engine_is_replaced(lab: Lab) -> None:
    first, _ = await lab.live("1"), await lab.live("2")
    await lab.controller.rollback("iris", None, ADA)
    lab.next_engine()
    await lab.settle()
    assert lab.status().revision == first
    assert {one.revision for one in lab.backend.observe()} == {first}


async def test_from_a_failed_update_it_makes_what_runs_the_wanted_one(lab: Lab) -> None:
    first = await lab.live("1")
    running = lab.ready()
    await lab.deploy("2")
    await lab.look()
    lab.make_fail()
    await lab.look()
    assert lab.updated().state == "false"
    assert (await rollback(lab)).revision == first
    assert lab.ready() == running
    assert (lab.status().status, lab.status().reason, lab.updated().state) == ("live", "", "true")


async def updated_but_busy(lab: Lab) -> tuple[str, list[str]]:
    """Revision 2 is live, and the two replicas of revision 1 still answer somebody. Revision 1 and their names."""
    two = {"min_replicas": 2}
    first, old = await lab.live("1", autoscaling=two), lab.ready()
    await lab.deploy("2", autoscaling=two)
    for _ in range(8):
        await lab.look()
        lab.make_ready()
        for one in lab.backend.observe():
            if one.state == "draining":
                lab.backend.become(one.id, "draining", in_flight=1)
    assert lab.status().status == "live"
    return first, old


async def test_while_the_old_replicas_are_warm_it_is_one_word_to_the_gateway(lab: Lab) -> None:
    first, old = await updated_but_busy(lab)
    everybody, told = {one.id for one in lab.backend.observe()}, lab.gateway.applied
    await lab.controller.rollback("iris", None, ADA)
    await lab.look()
    assert lab.gateway.applied == told + 1
    assert (lab.status().status, lab.status().revision) == ("live", first)
    assert lab.ready() == old
    assert {one.id for one in lab.backend.observe()} == everybody
    (route,) = lab.gateway.table.routes
    assert {one.address for one in route.endpoints if not one.is_draining} == {f"/run/{id}" for id in old}


async def test_old_replicas_that_do_not_come_back_are_replaced(lab: Lab) -> None:
    first, old = await updated_but_busy(lab)
    lab.backend.refuses_to_resume = True
    assert (await rollback(lab)).revision == first
    assert lab.status().status == "live"
    assert not set(lab.ready()) & set(old)


async def test_in_the_middle_of_an_update_it_takes_the_update_back(lab: Lab) -> None:
    two = {"min_replicas": 2}
    first = await lab.live("1", autoscaling=two)
    second = (await lab.deploy("2", autoscaling=two)).revision
    for _ in range(2):  # one of two is replaced
        await lab.look()
        lab.make_ready()
    result = await lab.controller.rollback("iris", None, ADA)
    assert (result.revision, result.status) == (first, "updating")
    await lab.look()
    assert (lab.status().status, lab.status().reason, lab.updated().state) == ("updating", "RollingOut", "unknown")
    await lab.settle()
    assert [one.revision for one in lab.backend.observe()] == [first, first]
    assert (lab.status().status, lab.updated().state) == ("live", "true")
    assert lab.history()[:2] == [("rolled_back", first, "live"), ("deployed", second, "replaced")]


async def test_what_failed_is_passed_over(lab: Lab) -> None:
    first, _ = await lab.live("1"), await lab.live("2")
    failed = (await lab.deploy("3")).revision
    await lab.look()
    lab.make_fail()
    await lab.look()
    assert (await rollback(lab)).revision != failed
    assert (await rollback(lab)).revision == first


async def test_a_stopped_api_is_started_by_it(lab: Lab) -> None:
    first, _ = await lab.live("1"), await lab.live("2")
    await lab.controller.stop("iris", ADA)
    await lab.settle()
    assert (await rollback(lab)).message == f"rolled back to revision {first} and started"
    assert lab.status().status == "live"


async def test_a_revision_is_named_by_the_beginning_of_its_name(lab: Lab) -> None:
    first, _, _ = await lab.live("1"), await lab.live("2"), await lab.live("3")
    assert (await rollback(lab, first[:8])).revision == first


async def test_the_wanted_revision_is_there_already(lab: Lab) -> None:
    revision = await lab.live()
    result = await rollback(lab, revision)
    assert (result.action, result.message) == ("unchanged", "the wanted one already")
    assert len(lab.history()) == 1


async def test_an_unknown_revision_is_an_error_that_names_those_there_are(lab: Lab) -> None:
    first = await lab.live("1")
    second = (await lab.deploy("2")).revision
    with pytest.raises(NotFound, match="has no revision nope") as caught:
        await rollback(lab, "nope")
    assert f"{second} (never live), {first}" in (caught.value.hint or "")


async def test_without_an_earlier_live_revision_there_is_nothing_to_go_back_to(lab: Lab) -> None:
    revision = await lab.live("1")
    with pytest.raises(Conflict, match="no earlier revision that was live") as caught:
        await rollback(lab)
    assert revision in (caught.value.hint or "")
    with pytest.raises(NotFound):
        await lab.controller.rollback("nobody", None, ADA)


async def test_settings_that_change_in_place_stay_as_they_are_now_and_are_told(lab: Lab) -> None:
    await lab.live("1", autoscaling={"max_replicas": 4})
    await lab.live("2", autoscaling={"max_replicas": 8}, networking={"endpoint": "/new"})
    result = await rollback(lab)
    assert result.kept == ("autoscaling.max_replicas 4 -> 8", "networking.endpoint not set -> /new")
    assert lab.status().spec["autoscaling"]["max_replicas"] == 8
    assert result.endpoint.endswith("/new")


async def test_the_secrets_are_those_of_the_revision_and_those_of_settings_are_of_now(lab: Lab) -> None:
    handler = {"env": {"TOKEN": "${TOKEN}"}}
    networking = {"endpoint": "${PATH_OF_IT}"}
    then, now = {"TOKEN": "old", "PATH_OF_IT": "/old"}, {"TOKEN": "new", "PATH_OF_IT": "/new"}
    first = await lab.live("1", variables=then, handler=handler, networking=networking)
    second = await lab.live("1", variables=now, handler=handler, networking=networking)
    assert first != second
    result = await rollback(lab)
    assert result.revision == first
    assert lab.backend.workloads[first].env == {"TOKEN": "old"}
    assert result.endpoint.endswith("/new")
    again = await lab.deploy("1", variables={**then, "PATH_OF_IT": "/new"}, handler=handler, networking=networking)
    assert again.message == "up to date"


async def test_settings_of_now_that_do_not_fit_the_old_handler_are_refused_with_the_field(lab: Lab) -> None:
    await lab.live("1", handler={"max_concurrency": 1, "max_queue_length": 0})
    await lab.live("2", handler={"max_concurrency": 50}, autoscaling={"target_in_flight": 40})
    with pytest.raises(Conflict, match=r"autoscaling\.target_in_flight"):
        await rollback(lab)


async def test_back_to_what_runs_needs_no_room_and_to_another_does(lab: Lab) -> None:
    await lab.live("1")
    await lab.live("2")
    lab.backend.lack = lambda compute, new, old: "no memory" if new + old > 1 else None
    with pytest.raises(NoCapacity):
        await rollback(lab)
    lab.backend.lack = lambda compute, new, old: None
    await lab.deploy("3")
    await lab.look()
    lab.make_fail()
    await lab.look()
    lab.backend.lack = lambda compute, new, old: "no memory"
    await rollback(lab)
    assert lab.status().status == "live"


# --- what is kept ----------------------------------------------------------------------------------------------
def a_revision(id: str, created_at: float, lived: int, live_at: float | None = None) -> RevisionRecord:
    return RevisionRecord(id, "iris", {}, Source(files=(), interpreter=PYTHON), "", created_at, live_at, lived)


def test_the_last_one_that_was_live_is_the_last_one_though_the_clock_was_set_back() -> None:
    record = ApiRecord("iris", "RealtimeAPI", {}, "third", "running", 1, 0.0, "third")
    lived = [a_revision("first", 1.0, 1, 9000.0), a_revision("second", 2.0, 2, 5000.0), a_revision("third", 3.0, 3)]
    assert find_earlier(record, lived).id == "second"


def test_the_last_live_revisions_are_kept_however_many_failed_since() -> None:
    lived = [a_revision(f"live-{n}", n, 1 + n) for n in range(REVISIONS_KEPT + 2)]
    failed = [a_revision(f"failed-{n}", 50.0 + n, 0) for n in range(10)]
    newest_first = sorted([*lived, *failed], key=lambda one: -one.created_at)
    record = ApiRecord("iris", "RealtimeAPI", {}, "failed-3", "running", 1, 0.0, "live-0")
    assert needed_revisions(record, newest_first) == {"failed-3", "live-0", *(f"live-{n}" for n in range(2, 7))}


def test_of_those_that_never_lived_the_newest_are_kept() -> None:
    failed = [a_revision(f"failed-{n}", -float(n), 0) for n in range(10)]
    record = ApiRecord("iris", "RealtimeAPI", {}, "failed-0", "running", 1, 0.0)
    assert needed_revisions(record, failed) == {f"failed-{n}" for n in range(REVISIONS_KEPT)}


async def test_a_rollback_still_works_after_pruning(lab: Lab) -> None:
    first, _ = await lab.live("1"), await lab.live("2")
    for code in ("3", "4", "5", "6", "7", "8"):
        await lab.deploy(code)
        await lab.look()
        lab.make_fail()
        await lab.look()
    await lab.controller.prune()
    assert len(lab.status().revisions) == REVISIONS_KEPT
    await rollback(lab)
    assert (await rollback(lab)).revision == first
