"""Replicas as real processes: started, watched, restarted, drained, stopped, and adopted by the next engine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from hatchway.backends import Replica
from hatchway.backends.local import LocalBackend
from hatchway.backends.local.backend import REPLICA_MAIN
from hatchway.backends.local.capacity import Machine
from hatchway.backends.local.gpu import Device
from hatchway.backends.local.launch import REPLICA_ROLE
from hatchway.backends.local.tenancy import Hardware
from hatchway.contract import PROCESS_VARIABLE
from hatchway.processes import Command, Mark, find_marked, identify, is_alive, spawn
from hatchway.settings import Settings
from hatchway.spec.logs import LogQuery
from hatchway.spec.status import LogLine
from tests.backends.builders import ChangeFeed, a_workload, in_state, tell
from tests.backends.conftest import StartBackend, abandon

MIB = 1 << 20


async def one(feed: ChangeFeed, backend: LocalBackend, state: str = "ready") -> Replica:
    return (await feed.until(in_state(backend, state)))[0]


async def restarted(feed: ChangeFeed, backend: LocalBackend, times: int = 1) -> Replica:
    """The only replica, ready again after so many restarts."""

    def look() -> Replica | None:
        return next((r for r in backend.observe() if r.state == "ready" and r.restarts >= times), None)

    return await feed.until(look)


async def failed(feed: ChangeFeed, backend: LocalBackend) -> Replica:
    """The only replica, failed for good."""
    return await feed.until(lambda: next((r for r in backend.observe() if r.final), None))


async def lines(backend: LocalBackend, api: str = "iris") -> list[LogLine]:
    return [line async for line in backend.logs(api, LogQuery())]


def marked_pids(settings: Settings) -> set[int]:
    """Replicas, and what they started."""
    return {found.identity.pid for found in find_marked(settings.home_hash) if found.mark.role == REPLICA_ROLE}


# --- start, drain, stop --------------------------------------------------------------------------------------
async def test_a_draining_replica_answers_and_tells_when_it_is_idle(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project), 1)
    replica = await one(feed, backend)
    gate = project / "gate"
    os.mkfifo(gate)
    request = asyncio.create_task(tell(replica, f"answer = open({str(gate)!r}).read()"))
    await feed.until(lambda: backend.observe()[0].in_flight == 1)
    await backend.drain(replica.id)
    assert (backend.observe()[0].state, backend.observe()[0].in_flight) == ("draining", 1)
    await asyncio.to_thread(gate.write_text, "done")
    assert await request == "done"
    await feed.until(lambda: backend.observe()[0].in_flight == 0)


async def test_a_drain_is_taken_back_and_the_replica_counts_again(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend()
    workload = a_workload(project)
    await backend.apply(workload, 1)
    before = await one(feed, backend)
    await backend.drain(before.id)
    assert backend.observe()[0].resumable
    assert await backend.resume(before.id)
    assert (backend.observe()[0].state, backend.observe()[0].pid) == ("ready", before.pid)
    await backend.apply(workload, 1)
    assert len(backend.observe()) == 1
    os.kill(before.pid or 0, signal.SIGKILL)
    assert (await restarted(feed, backend)).id == before.id


async def test_a_drain_is_not_taken_back_from_who_stops_drains_for_good_or_does_not_answer(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project), 3)
    spent, stopping, silent = await feed.until(in_state(backend, "ready", 3))
    await backend.drain(spent.id, for_good=True)
    await backend.drain(stopping.id)
    await backend.stop(stopping.id, kill_after_s=5)
    await backend.drain(silent.id)
    Path(silent.address).with_suffix(".ctl").unlink()
    assert not any([await backend.resume(replica.id) for replica in (spent, stopping, silent)])
    assert not any(replica.resumable for replica in backend.observe())


async def test_a_crash_loop_is_called_so_before_it_is_given_up(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project, handler={"config": {"at_start": "os._exit(3)"}}), 1)
    looping = await feed.until(lambda: next((r for r in backend.observe() if r.reason == "CrashLoop"), None))
    assert not looping.final
    assert "2 times in a row" in looping.message
    assert "exit code 3" in looping.message


async def test_the_next_engine_knows_which_drains_can_be_taken_back(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    async with Crashed(settings, feed) as former:
        await former.apply(a_workload(project), 3)
        spent, back, stays = await feed.until(in_state(former, "ready", 3))
        await former.drain(spent.id, for_good=True)
        await former.drain(back.id)
        await former.resume(back.id)
        await former.drain(stays.id)
    backend = await start_backend()
    after = {replica.id: (replica.state, replica.resumable) for replica in backend.observe()}
    assert after == {spent.id: ("draining", False), back.id: ("ready", False), stays.id: ("draining", True)}
    assert await backend.resume(stays.id)


async def test_a_stopped_replica_leaves_no_process_no_file_and_no_socket(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project), 1)
    replica = await one(feed, backend)
    await tell(replica, "subprocess.Popen(['sleep', '1000'])")
    await tell(replica, "subprocess.Popen(['sleep', '1001'], start_new_session=True)")
    await backend.stop(replica.id, kill_after_s=5)
    await feed.until(lambda: not backend.observe())
    await feed.until(lambda: not marked_pids(settings))  # a moment after the signal
    assert list(settings.replicas_dir.iterdir()) == []
    assert list((settings.runtime_dir / "r").iterdir()) == []


async def test_a_replica_that_ignores_sigterm_is_killed(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    workload = a_workload(project, handler={"config": {"at_start": "time.sleep(1000)"}})
    await backend.apply(workload, 1)
    replica = await feed.until(lambda: next((r for r in backend.observe() if r.pid), None))
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGSTOP)
    await backend.stop(replica.id, kill_after_s=0.1)
    await feed.until(lambda: not backend.observe())
    await feed.until(lambda: not marked_pids(settings))  # a moment after the signal


async def test_the_logs_outlive_the_replica_until_the_api_is_forgotten(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project), 1)
    replica = await one(feed, backend)
    await tell(replica, "print('hello')")
    await backend.stop(replica.id, kill_after_s=5)
    await feed.until(lambda: not backend.observe())
    assert [(line.replica, line.stream) for line in await lines(backend) if line.message == "hello"] == [
        (replica.id, "stdout")
    ]
    await backend.forget("iris")
    assert await lines(backend) == []


# --- environment variables ------------------------------------------------------------------------------------
async def test_a_replica_gets_its_own_variables_and_none_of_the_engines(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    environ = {**os.environ, "HATCHWAY_HOME": "/somewhere", "PYTHONPATH": "/elsewhere", "KEPT": "1"}
    environ["MALLOC_TRIM_THRESHOLD_"] = "131072"
    backend = await start_backend(environ=environ)
    workload = a_workload(project, compute={"cpu": 2}, env={"SECRET": "s3", "OMP_NUM_THREADS": "7"})
    await backend.apply(workload, 1)
    found = await tell(await one(feed, backend), "answer = dict(os.environ)")
    assert isinstance(found, dict)
    assert (found["SECRET"], found["OMP_NUM_THREADS"], found["MKL_NUM_THREADS"]) == ("s3", "7", "2")
    assert found["KEPT"] == "1"
    assert int(found["MALLOC_MMAP_THRESHOLD_"]) > 10**6
    assert found["MALLOC_TRIM_THRESHOLD_"] == "131072"  # the operator's own wins
    assert found["CUDA_VISIBLE_DEVICES"] == ""
    assert {"HATCHWAY_HOME", "PYTHONPATH"}.isdisjoint(found)
    assert found["PATH"].split(os.pathsep)[0] == os.path.dirname(sys.executable)


# --- ends and restarts ----------------------------------------------------------------------------------------
async def test_a_killed_replica_is_started_again(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project), 1)
    replica = await one(feed, backend)
    await tell(replica, "subprocess.Popen(['sleep', '1000'])")
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGKILL)
    gone = await one(feed, backend, "failed")
    assert (gone.reason, gone.final) == ("Killed", False)
    assert "SIGKILL" in gone.message
    await feed.until(lambda: not marked_pids(settings))  # what it had started goes too, a moment after the signal
    again = await restarted(feed, backend)
    assert (again.id, again.reason) == (replica.id, "")
    assert again.pid != replica.pid


@pytest.mark.parametrize("moved_s", [3600, -3600])
async def test_a_wall_clock_that_is_moved_by_an_hour_changes_nothing(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, moved_s: float
) -> None:
    offset_s = 0.0
    backend = await start_backend(wall_clock=lambda: time.time() + offset_s)
    await backend.apply(a_workload(project), 1)
    replica = await one(feed, backend)
    offset_s = moved_s
    before = await feed.until(lambda: backend.observe()[0].rss_bytes)
    await tell(replica, "globals()['kept'] = b'x' * 50_000_000")
    await feed.until(lambda: (backend.observe()[0].rss_bytes or 0) > before + 40_000_000)  # it was looked at
    assert (backend.observe()[0].pid, backend.observe()[0].restarts) == (replica.pid, 0)
    os.kill(replica.pid or 0, signal.SIGKILL)
    assert (await restarted(feed, backend)).restarts == 1


async def test_a_replica_that_exits_says_with_which_code(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project), 1)
    request = asyncio.create_task(tell(await one(feed, backend), "os._exit(3)"))
    gone = await one(feed, backend, "failed")
    assert (gone.reason, gone.message) == ("Exited", "the replica's process ended with exit code 3")
    await asyncio.gather(request, return_exceptions=True)
    assert any("exit code 3" in line.message for line in await lines(backend))


async def test_a_replica_comes_back_though_nothing_can_be_written_about_it(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project), 1)
    replica = await one(feed, backend)
    folder = settings.replicas_dir / replica.id
    for name in ("slot.json", "process.json"):  # a folder in its place: a file that cannot be written, for root too
        (folder / f"{name}.unfinished").mkdir()
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGKILL)
    again = await restarted(feed, backend)
    assert (again.id, again.state) == (replica.id, "ready")


async def test_a_replica_waits_for_a_disk_that_takes_its_launch_file(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project), 1)
    replica = next(iter(backend.observe()))
    obstacle = settings.replicas_dir / replica.id / "launch.json.unfinished"
    obstacle.mkdir()  # before the slot's task had its first turn
    waits = await feed.until(lambda: next((r for r in backend.observe() if r.reason == "NoStorage"), None))
    assert (waits.state, waits.final) == ("starting", False)
    obstacle.rmdir()
    assert (await one(feed, backend)).id == replica.id


async def test_a_handler_that_cannot_load_is_final_and_says_why(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    (project / "handler.py").write_text("import nosuchmodule\n")
    backend = await start_backend()
    workload = a_workload(project)
    await backend.apply(workload, 1)
    replica = await failed(feed, backend)
    assert (replica.state, replica.reason, replica.restarts) == ("failed", "ImportError", 0)
    assert "nosuchmodule" in replica.message
    await backend.apply(workload, 1)
    assert [r.id for r in backend.observe()] == [replica.id]


async def test_a_program_that_ends_at_once_is_tried_again(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    stub = project / "dies.py"
    stub.write_text("import os; os._exit(9)\n")
    backend = await start_backend(main_file=stub)
    await backend.apply(a_workload(project), 1)
    again = await feed.until(lambda: next((r for r in backend.observe() if r.restarts >= 1), None))
    assert (again.reason, again.final) == ("Exited", False)


@pytest.mark.parametrize("use_cgroups", [True, False])
async def test_a_replica_over_its_memory_is_ended_as_out_of_memory(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, use_cgroups: bool
) -> None:
    backend = await start_backend(hardware=Hardware() if use_cgroups else Hardware(find_cgroups=lambda _: None))
    await backend.apply(a_workload(project, compute={"mem": 90 * MIB}), 1)
    request = asyncio.create_task(
        tell(await one(feed, backend), f"global kept; kept = b'x' * {200 * MIB}; time.sleep(1000)")
    )
    gone = await one(feed, backend, "failed")
    await asyncio.gather(request, return_exceptions=True)
    assert gone.reason == "OutOfMemory"
    assert "compute.mem allows 90 MiB" in gone.message
    assert (await restarted(feed, backend)).state == "ready"


async def test_memory_of_children_counts(start_backend: StartBackend, feed: ChangeFeed, project: Path) -> None:
    backend = await start_backend(hardware=Hardware(find_cgroups=lambda _: None))
    await backend.apply(a_workload(project, compute={"mem": 90 * MIB}), 1)
    child = f"import time; kept = b'x' * {200 * MIB}; time.sleep(1000)"
    await tell(await one(feed, backend), f"subprocess.Popen([sys.executable, '-c', {child!r}])")
    assert (await one(feed, backend, "failed")).reason == "OutOfMemory"


# --- adoption -------------------------------------------------------------------------------------------------
class Crashed:
    """A backend whose engine was killed: its tasks are gone, its replicas run on."""

    def __init__(self, settings: Settings, feed: ChangeFeed, **options: object) -> None:
        self.backend = LocalBackend(settings, feed, **options)  # type: ignore[arg-type]  # passed on as they are
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LocalBackend:
        await self.backend.adopt()
        self._task = asyncio.create_task(self.backend.run())
        return self.backend

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        await abandon(self._task)


async def test_the_next_engine_adopts_what_runs(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    workload = a_workload(project)
    async with Crashed(settings, feed) as former:
        await former.apply(workload, 2)
        before = await feed.until(in_state(former, "ready", 2))
        await former.drain(before[0].id)
    backend = await start_backend()
    after = {replica.id: replica for replica in backend.observe()}
    assert {id: replica.pid for id, replica in after.items()} == {replica.id: replica.pid for replica in before}
    assert [after[replica.id].state for replica in before] == ["draining", "ready"]
    await backend.apply(workload, 1)
    assert len(backend.observe()) == 2


async def test_an_adopted_replica_that_dies_is_started_again_once_its_workload_is_known(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    workload = a_workload(project)
    async with Crashed(settings, feed) as former:
        await former.apply(workload, 1)
        replica = await one(feed, former)
    backend = await start_backend()
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGKILL)
    gone = await one(feed, backend, "failed")
    assert gone.reason == "Killed"
    await backend.apply(workload, 1)
    assert (await restarted(feed, backend)).id == replica.id


async def test_a_replica_that_died_meanwhile_is_accounted_for(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    async with Crashed(settings, feed) as former:
        await former.apply(a_workload(project), 1)
        replica = await one(feed, former)
    assert replica.pid is not None
    found = identify(replica.pid)
    assert found is not None
    os.kill(replica.pid, signal.SIGTERM)
    await asyncio.to_thread(os.waitpid, replica.pid, 0)  # as the keeper does, which then writes it down
    record = f'{{"pid": {found.pid}, "start_time": {found.start_time}, "wait_status": 256}}\n'
    settings.exits_file.write_text(record)
    backend = await start_backend()
    gone = await one(feed, backend, "failed")
    assert gone.message == "the replica's process ended with exit code 1"


async def test_a_process_that_a_killed_engine_did_not_write_down_is_adopted(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    async with Crashed(settings, feed) as former:
        await former.apply(a_workload(project), 1)
        replica = await one(feed, former)
    (settings.replicas_dir / replica.id / "process.json").unlink()
    backend = await start_backend()
    assert [(r.id, r.pid, r.state) for r in backend.observe()] == [(replica.id, replica.pid, "ready")]


async def test_a_process_without_a_folder_is_ended(
    start_backend: StartBackend, settings: Settings, tmp_path: Path
) -> None:
    mark = Mark(settings.home_hash, "replica", "iris-zzzzz")
    environment = {**os.environ, PROCESS_VARIABLE: str(mark)}
    stray = spawn(Command(["sleep", "1000"], environment, tmp_path, tmp_path / "log"))
    await start_backend()
    await asyncio.to_thread(os.waitpid, stray.pid, 0)
    assert not is_alive(stray)


async def test_a_half_made_folder_is_cleaned_up(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    folder = settings.replicas_dir / "iris-zzzzz"
    (folder / "tmp").mkdir(parents=True)
    backend = await start_backend()
    assert not folder.exists()
    assert backend.observe() == []


async def test_a_stop_goes_on_in_the_next_engine(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    async with Crashed(settings, feed) as former:
        await former.apply(a_workload(project), 1)
        replica = await one(feed, former)
        assert replica.pid is not None
        os.kill(replica.pid, signal.SIGSTOP)
        await former.stop(replica.id, kill_after_s=0.2)
    backend = await start_backend()
    await feed.until(lambda: not backend.observe())
    await feed.until(lambda: not marked_pids(settings))  # a moment after the signal


async def test_a_failure_for_good_is_remembered(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    (project / "handler.py").write_text("import nosuchmodule\n")
    async with Crashed(settings, feed) as former:
        await former.apply(a_workload(project), 1)
        await failed(feed, former)
    backend = await start_backend()
    await backend.apply(a_workload(project), 1)
    assert [(r.reason, r.final) for r in backend.observe()] == [("ImportError", True)]


def test_the_program_of_replicas_is_part_of_the_package() -> None:
    assert REPLICA_MAIN.is_file()


# --- capacity -------------------------------------------------------------------------------------------------
@dataclass
class Room:
    """A machine whose free memory a test sets."""

    available_bytes: int = 4096 * MIB

    def read(self) -> Machine:
        return Machine(cores=2, total_bytes=8192 * MIB, available_bytes=self.available_bytes)


class TwoGpus:
    def list(self) -> tuple[Device, ...]:
        return Device("GPU-a", "a", 1), Device("GPU-b", "b", 1)


async def test_a_replica_waits_for_memory_and_starts_when_there_is_some(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    room = Room(available_bytes=100 * MIB)
    backend = await start_backend(hardware=Hardware(read=room.read))
    await backend.apply(a_workload(project), 1)
    waiting = await feed.until(lambda: next((r for r in backend.observe() if r.reason == "NoCapacity"), None))
    assert (waiting.state, waiting.final, waiting.pid) == ("starting", False, None)
    assert "100 MiB is available" in waiting.message
    room.available_bytes = 4096 * MIB
    assert (await one(feed, backend)).reason == ""


async def test_what_this_machine_can_never_hold_fails_for_good(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend(hardware=Hardware(read=Room().read))
    await backend.apply(a_workload(project, compute={"cpu": 3}), 1)
    replica = await failed(feed, backend)
    assert (replica.reason, replica.message) == ("NoCapacity", "compute.cpu is 3, this machine has 2 cores")


async def test_gpus_are_reserved_whole_and_kept_by_the_next_engine(
    start_backend: StartBackend, feed: ChangeFeed, project: Path, settings: Settings
) -> None:
    hardware = Hardware(devices=TwoGpus())
    workload = a_workload(project, compute={"gpu": 1})
    async with Crashed(settings, feed, hardware=hardware) as former:
        await former.apply(workload, 2)
        replicas = await feed.until(in_state(former, "ready", 2))
        look = "answer = os.environ['CUDA_VISIBLE_DEVICES']"
        assert {str(await tell(replica, look)) for replica in replicas} == {"GPU-a", "GPU-b"}
    backend = await start_backend(hardware=hardware)
    await backend.apply(workload, 3)
    waiting = await feed.until(lambda: next((r for r in backend.observe() if r.reason == "NoCapacity"), None))
    assert waiting.message == "needs 1 GPUs, 0 of 2 are free"
    await backend.stop(replicas[0].id, kill_after_s=5)
    await feed.until(in_state(backend, "ready", 2))
