"""Who goes first while nobody knows what a handler imports, and who waits for them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hatchway.backends import Replica
from hatchway.backends.local.capacity import Machine
from hatchway.backends.local.pioneers import PATIENCE_S, wait_s
from hatchway.backends.local.tenancy import Hardware
from tests.backends.builders import ChangeFeed, a_workload, in_state
from tests.backends.conftest import StartBackend


@pytest.mark.parametrize(
    ("begun", "cores", "expected"),
    [
        ([], 1, 0.0),
        ([99.0], 2, 0.0),
        ([99.0], 1, PATIENCE_S - 1),
        ([99.0, 95.0], 2, PATIENCE_S - 5),
        ([10.0, 99.0], 2, 0.0),
    ],
    ids=["nobody", "a core is free", "one core", "since the first of them", "out of patience: everybody goes"],
)
def test_as_many_go_first_as_there_are_cores(begun: list[float], cores: int, expected: float) -> None:
    assert wait_s(begun, cores, 100.0) == expected


def with_cores(cores: int) -> Hardware:
    machine = Machine(cores=cores, total_bytes=1 << 40, available_bytes=1 << 40)
    return Hardware(read=lambda: machine, find_cgroups=lambda _: None)


@pytest.mark.parametrize("cores", [1, 2])
async def test_the_others_are_forked(start_backend: StartBackend, feed: ChangeFeed, project: Path, cores: int) -> None:
    backend = await start_backend(hardware=with_cores(cores))
    await backend.apply(a_workload(project), 4)
    replicas = await feed.until(in_state(backend, "ready", 4))
    assert sorted(replica.start for replica in replicas) == ["forked"] * (4 - cores) + ["spawned"] * cores


async def test_when_the_first_one_crashes_another_goes(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    first = f"os.close(os.open({str(project / 'been')!r}, os.O_CREAT | os.O_EXCL))"
    code = f"try:\n    {first}\nexcept FileExistsError:\n    pass\nelse:\n    os._exit(3)"
    backend = await start_backend(hardware=with_cores(1))
    await backend.apply(a_workload(project, handler={"config": {"at_start": code}}), 3)
    replicas = await feed.until(in_state(backend, "ready", 3))
    assert [replica.start for replica in replicas].count("spawned") == 1


async def test_when_the_first_one_hangs_and_is_stopped_another_goes(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    gate = project / "gate"
    os.mkfifo(gate)
    backend = await start_backend(hardware=with_cores(1))
    await backend.apply(a_workload(project, handler={"config": {"at_start": f"open({str(gate)!r}).read()"}}), 2)

    def running() -> list[Replica]:
        return [replica for replica in backend.observe() if replica.pid is not None]

    (first,) = await feed.until(running)
    await backend.stop(first.id, kill_after_s=0)
    await feed.until(lambda: len(backend.observe()) == 1)
    (second,) = await feed.until(running)
    assert second.id != first.id
    await asyncio.to_thread(gate.write_text, "")
    await feed.until(in_state(backend, "ready"))
