"""The life of a slot: prepare, wait for room, start, attend until the process ends, account for it, start again.

One task per slot runs `live` and is cancelled when the engine ends, which leaves the process running, or when the
slot is to be stopped, which `end` does. Nothing here decides: `restarts.py`, `capacity.py` and the controller do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hatchway.backends import Workload
from hatchway.backends.local import control, memory, restarts, tenancy
from hatchway.backends.local.capacity import DoesNotFit, Fits, mebibytes
from hatchway.backends.local.cgroups import Cgroups
from hatchway.backends.local.environments import Environments, Runtime
from hatchway.backends.local.exits import wait_exit, wait_gone
from hatchway.backends.local.launch import REPLICA_ROLE, make_environment, make_launch
from hatchway.backends.local.slots import Slot
from hatchway.contract import CONTRACT_VERSION, OLDEST_ADOPTED_VERSION, Launch
from hatchway.errors import EnvironmentFailed, StorageError
from hatchway.processes import Command, Mark, kill_tree, signal_process, spawn, table, tree
from hatchway.settings import Settings

_READY_WAIT_S = 20.0
_SOCKET_POLL_S = 0.03  # a socket that appears makes no event
_CAPACITY_LOOK_S = 2.0  # memory is also freed by others, without an event
_STORAGE_LOOK_S = 2.0  # so are disks


@dataclass
class Surroundings:
    """What all slots of a backend share."""

    settings: Settings
    environments: Environments
    hardware: tenancy.Hardware
    cgroups: Cgroups | None
    main_file: Path
    now: Callable[[], float]
    on_change: Callable[[str], None]
    environ: Mapping[str, str]
    slots: dict[str, Slot] = field(default_factory=dict)
    room: asyncio.Event = field(default_factory=asyncio.Event)

    def mark(self, slot: Slot) -> Mark:
        return Mark(self.settings.home_hash, REPLICA_ROLE, slot.id)

    def made_room(self) -> None:
        """Wake everyone who waits for capacity."""
        self.room.set()
        self.room = asyncio.Event()


async def live(slot: Slot, world: Surroundings) -> None:
    """Keep a process running in the slot until it is to go or can never run."""
    while not slot.final:
        if slot.process is None:
            if slot.exits and not slot.is_going:
                await _sit_out(slot, world)
            await _start(slot, world)
            continue
        code = await _attend(slot, world)
        account(slot, code, world)
        if slot.is_going:
            forget(slot, world)
            return
        _follow_up(slot, world)


async def end(slot: Slot, kill_after_s: float, world: Surroundings) -> None:
    """Stop the slot's process, kill it when it does not, and remove every trace but the log."""
    if slot.process is not None:
        signal_process(slot.process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(kill_after_s):
                await wait_gone(slot.process)
        kill_tree(slot.process, world.mark(slot))
        await wait_exit(slot.process, world.settings.exits_file, keeper_wait_s=0)
        slot.process = None
    forget(slot, world)


def forget(slot: Slot, world: Surroundings) -> None:
    """Remove what a slot without a process leaves behind, but its log."""
    _clean_up_process(slot)
    slot.folder.remove()
    if world.slots.pop(slot.id, None) is not None:
        world.made_room()
        world.on_change(slot.api)


def account(slot: Slot, code: int | None, world: Surroundings) -> None:
    """Take note of the end of the slot's process, and end what it left running."""
    assert slot.process is not None
    kill_tree(slot.process, world.mark(slot))
    reason, message = _explain(slot, code)
    now = world.now()
    slot.exits = restarts.forget_old(
        [*slot.exits, restarts.Exit(now, code, None if slot.ready_at is None else now - slot.ready_at)]
    )
    slot.process = slot.ready_at = slot.rss_bytes = slot.killed_for = None
    slot.in_flight = slot.queued = 0
    slot.devices = ()
    slot.reason, slot.message = reason, message
    _clean_up_process(slot)
    if not slot.is_going:
        slot.state = "failed"
        slot.log.say("ERROR", f"{reason}: {message}", now)
        slot.save()
        slot.save_process()
    world.made_room()


def fail(slot: Slot, reason: str, message: str, world: Surroundings) -> None:
    """The slot can never run: say so and stay."""
    slot.state, slot.final, slot.reason, slot.message = "failed", True, reason, message
    slot.log.say("ERROR", f"{reason}: {message}", world.now())
    slot.save()
    world.on_change(slot.api)


def _follow_up(slot: Slot, world: Surroundings) -> None:
    match restarts.decide(slot.exits):
        case restarts.Never(reason, message):
            # What is known of the cause says more than that it came again and again.
            kept = slot.reason if slot.reason == "OutOfMemory" else reason or slot.reason
            fail(slot, kept, "; ".join(filter(None, (message, slot.message))), world)
        case restarts.Restart():
            world.on_change(slot.api)


async def _sit_out(slot: Slot, world: Surroundings) -> None:
    """Wait until the slot may be started again after its last end."""
    decision = restarts.decide(slot.exits)
    if isinstance(decision, restarts.Restart):
        await asyncio.sleep(max(0.0, decision.at - world.now()))
        slot.restarts += 1
    slot.state = "starting"  # the reason stays until it is ready: it is why the replica is not
    slot.save()
    world.on_change(slot.api)


async def _start(slot: Slot, world: Surroundings) -> None:
    """Bring a process into the slot, or fail it for good."""
    workload = await slot.known_workload()
    try:
        runtime = await _prepare(slot, workload, world)
    except (EnvironmentFailed, StorageError) as exc:
        fail(slot, "EnvironmentFailed", f"{exc.message} ({exc.hint})" if exc.hint else exc.message, world)
        return
    before = slot.reason, slot.message
    await _lay_out(slot, make_launch(slot, workload, runtime), world)
    while isinstance(verdict := _admit(slot, world), DoesNotFit):
        if not verdict.ever:
            fail(slot, "NoCapacity", verdict.message, world)
            return
        _tell(slot, "NoCapacity", verdict.message, world)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CAPACITY_LOOK_S):
                await world.room.wait()
    _tell(slot, *before, world)
    # No await between admission and this: nobody else can take the room in between.
    _spawn(slot, workload, runtime, world)


def _admit(slot: Slot, world: Surroundings) -> Fits | DoesNotFit:
    return tenancy.admit(slot, world.slots.values(), world.hardware)


async def _prepare(slot: Slot, workload: Workload, world: Surroundings) -> Runtime:
    before = slot.reason, slot.message
    if workload.spec.handler.dependencies.pip is not None:
        _tell(slot, "BuildingEnvironment", f"installing {workload.spec.handler.dependencies.pip}", world)
    try:
        return await world.environments.runtime(workload, slot.log)
    except OSError as exc:
        raise StorageError(f"cannot prepare the Python environment: {exc}") from exc
    finally:
        slot.reason, slot.message = before


async def _lay_out(slot: Slot, launch: Launch, world: Surroundings) -> None:
    """Write what the process will read, as soon as the disk takes it."""
    while True:
        try:
            slot.folder.create()
            slot.folder.empty_tmp()
            slot.folder.take_last_words()
            slot.folder.write_launch(launch)
        except OSError as exc:
            _tell(slot, "NoStorage", f"cannot write to {slot.folder.path}: {exc.strerror}", world)
            await asyncio.sleep(_STORAGE_LOOK_S)
        else:
            return


def _spawn(slot: Slot, workload: Workload, runtime: Runtime, world: Surroundings) -> None:
    _remove_sockets(slot)
    mark = world.mark(slot)
    argv = [runtime.python.executable, str(world.main_file), str(slot.folder.launch)]
    environment = make_environment(world.environ, slot, workload, runtime.python, mark, world.settings.bytecode_dir)
    if world.cgroups is not None:
        slot.cgroup = world.cgroups.create(slot.id, slot.needs.memory_bytes, slot.needs.cpu)
        slot.oom_kills_before = 0 if slot.cgroup is None else slot.cgroup.oom_kills()
    slot.timeout_s = workload.spec.handler.timeout
    slot.started_at = slot.answered_at = world.now()
    try:
        slot.process = spawn(Command(argv, environment, workload.project_dir, slot.log.path))
    except OSError as exc:
        fail(slot, "StartFailed", f"cannot start {argv[0]}: {exc}", world)
        return
    if slot.cgroup is not None:
        try:
            slot.cgroup.add(slot.process.pid)
        except OSError:  # gone already, or not allowed: the watch takes over
            slot.cgroup.remove()
            slot.cgroup = None
    slot.save_process()
    world.on_change(slot.api)


async def _attend(slot: Slot, world: Surroundings) -> int | None:
    """Watch the slot's process until it ends; its exit code."""
    assert slot.process is not None
    watchers = [asyncio.create_task(_await_ready(slot, world), name=f"ready {slot.id}")]
    if slot.needs.memory_bytes is not None and slot.cgroup is None:
        watchers.append(asyncio.create_task(_watch_memory(slot, world), name=f"memory {slot.id}"))
    try:
        return await wait_exit(slot.process, world.settings.exits_file)
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)


async def _await_ready(slot: Slot, world: Surroundings) -> None:
    while True:
        with contextlib.suppress(control.Unanswered):
            if await control.is_ready(slot.control_socket, wait_s=_READY_WAIT_S):
                break
        if slot.state == "draining":
            return
        await asyncio.sleep(_SOCKET_POLL_S)
    await refresh(slot, world)
    become_ready(slot, world)


async def refresh(slot: Slot, world: Surroundings) -> None:
    """Ask the replica how it does; an unanswered question changes nothing."""
    try:
        stats = await control.read_stats(slot.control_socket)
    except control.Unanswered:
        return
    if not OLDEST_ADOPTED_VERSION <= stats.contract_version <= CONTRACT_VERSION:
        kill(slot, "ContractMismatch", f"it speaks version {stats.contract_version} of the replica contract", world)
    was_busy = slot.in_flight + slot.queued > 0
    slot.answered_at, slot.handler = world.now(), stats.handler
    slot.in_flight, slot.queued = stats.in_flight, stats.queued
    if slot.state == "draining" and was_busy and stats.in_flight + stats.queued == 0:
        world.on_change(slot.api)


def become_ready(slot: Slot, world: Surroundings) -> None:
    if slot.state == "draining" or slot.process is None:
        return
    slot.state, slot.reason, slot.message = "ready", "", ""
    if slot.ready_at is None:
        slot.ready_at = world.now()
        slot.save_process()
    world.made_room()  # what was reserved for its start may be more than it uses
    world.on_change(slot.api)


def kill(slot: Slot, reason: str, message: str, world: Surroundings) -> None:
    """End the slot's process at once, for a reason that its exit will not tell."""
    if slot.process is not None and slot.killed_for is None:
        slot.killed_for = reason, message
        kill_tree(slot.process, world.mark(slot))


async def _watch_memory(slot: Slot, world: Surroundings) -> None:
    limit = slot.needs.memory_bytes
    while slot.process is not None and limit is not None:
        used = memory.excess(tree(slot.process.pid, table()), limit)
        if used is not None:
            kill(slot, "OutOfMemory", f"used {mebibytes(used)}, compute.mem allows {mebibytes(limit)}", world)
            return
        await asyncio.sleep(memory.WATCH_S)


def _explain(slot: Slot, code: int | None) -> tuple[str, str]:
    words = slot.folder.take_last_words()
    if slot.killed_for is not None:
        return slot.killed_for
    if slot.cgroup is not None and code != 0 and slot.cgroup.oom_kills() > slot.oom_kills_before:
        peak, limit = slot.cgroup.peak_bytes(), slot.needs.memory_bytes
        if limit is None:
            return "OutOfMemory", f"the machine ran out of memory; the replica had used {mebibytes(peak)}"
        return "OutOfMemory", f"used {mebibytes(max(peak, limit))}, compute.mem allows {mebibytes(limit)}"
    return restarts.describe(code, words)


def _tell(slot: Slot, reason: str, message: str, world: Surroundings) -> None:
    if (slot.reason, slot.message) != (reason, message):
        if reason != slot.reason and reason == "NoCapacity":
            slot.log.say("WARNING", f"{reason}: {message}", world.now())
        slot.reason, slot.message = reason, message
        world.on_change(slot.api)


def _clean_up_process(slot: Slot) -> None:
    _remove_sockets(slot)
    if slot.cgroup is not None:
        slot.cgroup.remove()
        slot.cgroup = None


def _remove_sockets(slot: Slot) -> None:
    for path in (slot.data_socket, slot.control_socket):
        with contextlib.suppress(OSError):
            os.unlink(path)
