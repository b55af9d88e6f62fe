"""The life of a slot: start, attend until the process ends, account for it, start again.

One task per slot runs `live` and is cancelled when the engine ends, which leaves the process running, or when the
slot is to be stopped, which `end` does. How a process comes into a slot is in `starting.py`. Nothing here decides:
`restarts.py`, `capacity.py` and the controller do.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal

from hatchway.backends import control
from hatchway.backends.local import memory, restarts
from hatchway.backends.local.capacity import mebibytes
from hatchway.backends.local.exits import wait_exit
from hatchway.backends.local.slots import Slot
from hatchway.backends.local.starting import start
from hatchway.backends.local.surroundings import Surroundings
from hatchway.contract import CONTRACT_VERSION, OLDEST_ADOPTED_VERSION
from hatchway.ends import wait_gone
from hatchway.processes import kill_tree, signal_process, table, tree

_READY_WAIT_S = 20.0
_SOCKET_POLL_S = 0.03  # a socket that appears makes no event


async def live(slot: Slot, world: Surroundings) -> None:
    """Keep a process running in the slot until it is to go or can never run."""
    while not slot.final:
        if slot.process is None:
            if slot.exits and not slot.is_going:
                await _sit_out(slot, world)
            await start(slot, world)
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
    now = world.monotonic()
    slot.exits = restarts.forget_old(
        [*slot.exits, restarts.Exit(now, code, None if slot.ready_since is None else now - slot.ready_since)]
    )
    slot.process = slot.ready_since = slot.rss_bytes = slot.killed_for = None
    slot.in_flight = slot.queued = slot.refused = 0
    slot.devices = ()
    slot.reason, slot.message = reason, message
    _clean_up_process(slot)
    if not slot.is_going:
        slot.state = "failed"
        slot.log.say("ERROR", f"{reason}: {message}", world.wall_clock())
        slot.save()
        slot.save_process()
    world.made_room()


def _follow_up(slot: Slot, world: Surroundings) -> None:
    loop = restarts.describe_loop(slot.exits)
    if loop:
        # What is known of the cause says more than that it came again and again.
        slot.reason = slot.reason if slot.reason == "OutOfMemory" else "CrashLoop"
        slot.message = f"{loop}; {slot.message}"
    match restarts.decide(slot.exits):
        case restarts.Never():
            world.fail(slot, slot.reason, slot.message)
        case restarts.Restart():
            world.on_change(slot.api)


async def _sit_out(slot: Slot, world: Surroundings) -> None:
    """Wait until the slot may be started again after its last end."""
    decision = restarts.decide(slot.exits)
    if isinstance(decision, restarts.Restart):
        await asyncio.sleep(min(max(0.0, decision.at - world.monotonic()), restarts.LONGEST_DELAY_S))
        slot.restarts += 1
    slot.state = "starting"  # the reason stays until it is ready: it is why the replica is not
    slot.save()
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
    await _learn_modules(slot, world)  # first, or the start of the next replica, which follows from this, is too early
    become_ready(slot, world)


async def _learn_modules(slot: Slot, world: Surroundings) -> None:
    """Have a template that imports what this replica did, for those that come after it."""
    if slot.recipe is None:
        return
    with contextlib.suppress(control.Unanswered):
        modules = await control.read_modules(slot.control_socket)
        world.templates.learn(slot.api, dataclasses.replace(slot.recipe, modules=modules))


async def refresh(slot: Slot, world: Surroundings) -> None:
    """Ask the replica how it does; an unanswered question changes nothing."""
    try:
        stats = await control.read_stats(slot.control_socket)
    except control.Unanswered:
        return
    if not OLDEST_ADOPTED_VERSION <= stats.contract_version <= CONTRACT_VERSION:
        kill(slot, "ContractMismatch", f"it speaks version {stats.contract_version} of the replica contract", world)
    was_busy = slot.in_flight + slot.queued > 0
    slot.answered_at, slot.handler = world.monotonic(), stats.handler
    slot.in_flight, slot.queued, slot.slots = stats.in_flight, stats.queued, stats.max_concurrency
    slot.refused = stats.refused
    if slot.state == "draining" and was_busy and stats.in_flight + stats.queued == 0:
        world.on_change(slot.api)


def become_ready(slot: Slot, world: Surroundings) -> None:
    if slot.state == "draining" or slot.process is None:
        return
    slot.state, slot.reason, slot.message = "ready", "", ""
    if slot.ready_since is None:
        slot.ready_since = world.monotonic()
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


def _clean_up_process(slot: Slot) -> None:
    slot.remove_sockets()
    if slot.cgroup is not None:
        slot.cgroup.remove()
        slot.cgroup = None
