"""What every backend promises, said once and held by each: processes of this machine, and pods of a cluster."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hatchway.backends import Backend, Replica, control
from hatchway.backends.local import LocalBackend
from hatchway.settings import Settings
from hatchway.spec.logs import LogQuery
from hatchway.spec.status import LogLine
from tests.backends.builders import ChangeFeed, a_workload, in_state, tell
from tests.backends.conftest import abandon
from tests.backends.kubernetes.running import a_stand


@dataclass
class Place:
    """A backend, and how to kill a replica of it from outside."""

    backend: Backend
    crash: Callable[[Replica], None]


@pytest.fixture(params=["local", "kubernetes"])
async def place(
    request: pytest.FixtureRequest, settings: Settings, feed: ChangeFeed, project: Path
) -> AsyncIterator[Place]:
    if request.param == "kubernetes":
        async with a_stand(feed, project) as stand:
            yield Place(stand.backend, lambda replica: stand.crash(replica.id))
        return
    local = LocalBackend(settings, feed)
    await local.adopt()
    task = asyncio.create_task(local.run())
    yield Place(local, lambda replica: os.kill(replica.pid or 0, signal.SIGKILL))
    await abandon(task)
    await local.stop_all(kill_after_s=2)


async def one(feed: ChangeFeed, place: Place, state: str = "ready") -> Replica:
    return (await feed.until(in_state(place.backend, state)))[0]


async def test_replicas_start_and_stay_when_nothing_new_is_wanted(
    place: Place, feed: ChangeFeed, project: Path
) -> None:
    workload = a_workload(project)
    await place.backend.apply(workload, 2)
    replicas = await feed.until(in_state(place.backend, "ready", 2))
    assert {(each.api, each.revision) for each in replicas} == {("iris", "r1")}
    assert len({await tell(each, "answer = os.getpid()") for each in replicas}) == 2
    assert await feed.until(lambda: {each.handler for each in place.backend.observe()} == {"class Handler (sync)"})
    assert {each.slots for each in place.backend.observe()} == {1}
    await place.backend.apply(workload, 2)
    assert {each.id for each in place.backend.observe("iris")} == {each.id for each in replicas}
    assert not place.backend.observe("other")
    await place.backend.apply(a_workload(project, revision="r2"), 1)
    all_of_them = await feed.until(in_state(place.backend, "ready", 3))
    assert sorted(each.revision for each in all_of_them) == ["r1", "r1", "r2"]


async def test_fewer_replicas_stop_those_that_are_not_ready_and_no_other(
    place: Place, feed: ChangeFeed, project: Path
) -> None:
    workload = a_workload(project)
    await place.backend.apply(workload, 1)
    ready = await one(feed, place)
    await place.backend.apply(workload, 3)
    await place.backend.apply(workload, 0)
    await feed.until(lambda: [each.id for each in place.backend.observe()] == [ready.id])
    assert place.backend.observe()[0].state == "ready"


async def test_a_replica_that_drains_serves_on_is_not_counted_and_can_come_back(
    place: Place, feed: ChangeFeed, project: Path
) -> None:
    workload = a_workload(project)
    await place.backend.apply(workload, 1)
    old = await one(feed, place)
    gate = project / "gate"
    os.mkfifo(gate)
    request = asyncio.create_task(tell(old, f"answer = open({str(gate)!r}).read()"))
    await tell_in_flight(old)
    await place.backend.drain(old.id)
    await feed.until(
        lambda: [(each.state, each.in_flight) for each in place.backend.observe()][:1] == [("draining", 1)]
    )
    await asyncio.to_thread(gate.write_text, "done")
    assert await request == "done"
    await feed.until(lambda: all(each.in_flight == 0 for each in place.backend.observe()))
    (seen,) = [each for each in place.backend.observe() if each.id == old.id]
    assert seen.resumable
    assert await place.backend.resume(old.id)
    await place.backend.apply(workload, 1)
    assert (await one(feed, place)).id == old.id
    assert await tell(old, "answer = 7") == 7


async def test_a_replica_that_drains_is_replaced_and_then_stopped(
    place: Place, feed: ChangeFeed, project: Path
) -> None:
    workload = a_workload(project)
    await place.backend.apply(workload, 1)
    old = await one(feed, place)
    await place.backend.drain(old.id, for_good=True)
    await place.backend.apply(workload, 1)
    await feed.until(lambda: {each.state for each in place.backend.observe()} == {"draining", "ready"})
    assert not next(each for each in place.backend.observe() if each.id == old.id).resumable
    assert not await place.backend.resume(old.id)
    await place.backend.stop(old.id, kill_after_s=5)
    assert (await one(feed, place)).id != old.id


async def test_a_killed_replica_is_started_again(place: Place, feed: ChangeFeed, project: Path) -> None:
    await place.backend.apply(a_workload(project), 1)
    before = await one(feed, place)
    place.crash(before)
    after = await feed.until(
        lambda: next((each for each in place.backend.observe() if each.state == "ready" and each.restarts == 1), None)
    )
    assert after.id == before.id
    assert await tell(after, "answer = 1") == 1


async def test_what_cannot_load_fails_for_good_and_says_why(place: Place, feed: ChangeFeed, project: Path) -> None:
    (project / "handler.py").write_text("import nothing_of_this_name\n")
    await place.backend.apply(a_workload(project), 1)
    failed = await feed.until(lambda: next((each for each in place.backend.observe() if each.final), None))
    assert (failed.state, failed.reason) == ("failed", "ImportError")
    assert "nothing_of_this_name" in failed.message
    await place.backend.apply(a_workload(project), 0)
    await feed.until(lambda: not place.backend.observe())


async def test_a_handler_has_its_variables_and_what_it_prints_is_logged(
    place: Place, feed: ChangeFeed, project: Path
) -> None:
    await place.backend.apply(a_workload(project, env={"COLOUR": "blue"}), 1)
    replica = await one(feed, place)
    assert await tell(replica, "answer = [os.environ['COLOUR'], os.environ['OMP_NUM_THREADS']]") == ["blue", "1"]
    await tell(replica, "print('hello')")

    async def look() -> LogLine | None:
        lines = [line async for line in place.backend.logs("iris", LogQuery())]
        return next((line for line in lines if line.message == "hello"), None)

    while (line := await look()) is None:
        pass
    assert (line.replica, line.revision, line.stream) == (replica.id, "r1", "stdout")


async def tell_in_flight(replica: Replica) -> None:
    """Returns when the replica has a request in flight."""
    host, _, port = replica.address.rpartition(":")
    address = replica.address.removesuffix(".data") + ".ctl" if "/" in replica.address else f"{host}:{int(port) + 1}"
    while (await control.read_stats(address)).in_flight == 0:
        pass
