"""Finding again what a former engine left running: folders and processes -> slots.

The folders say what was meant to run, the marks in the processes' environments what does. A process that was started
and not yet written down is known by its mark; a folder without a process that ever ran is cleaned up.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from hatchway.backends import control
from hatchway.backends.local.capacity import Needs
from hatchway.backends.local.launch import REPLICA_ROLE
from hatchway.backends.local.life import become_ready, kill
from hatchway.backends.local.logs import ApiLogs
from hatchway.backends.local.restarts import describe
from hatchway.backends.local.slots import Slot, SlotFolder
from hatchway.backends.local.surroundings import Surroundings
from hatchway.contract import CONTRACT_VERSION, OLDEST_ADOPTED_VERSION, ReplicaStats
from hatchway.processes import Marked, find_marked, is_alive, kill_tree


async def adopt_slots(world: Surroundings, logs: ApiLogs) -> list[Slot]:
    """Every slot a former engine left, asked how it does. Processes that belong to none are ended."""
    marked: dict[str, list[Marked]] = {}
    for found in find_marked(world.settings.home_hash):
        if found.mark.role == REPLICA_ROLE:
            marked.setdefault(found.mark.id, []).append(found)
    folders = sorted(path for path in world.settings.replicas_dir.glob("*") if path.is_dir())
    slots = [slot for path in folders if (slot := _read(path, marked.get(path.name, []), world, logs)) is not None]
    for strays in (marked[id] for id in marked.keys() - {slot.id for slot in slots}):
        for stray in strays:
            kill_tree(stray.identity, stray.mark)
    await asyncio.gather(*(_ask(slot, world) for slot in slots if slot.process is not None))
    return slots


def restore_slot(path: Path, world: Surroundings, logs: ApiLogs) -> Slot | None:
    """The slot a folder describes, or None when the folder is damaged."""
    folder = SlotFolder(path)
    record = folder.read_slot()
    try:
        if record is None:
            return None
        api, revision = str(record["api"]), str(record["revision"])
        slot = Slot(
            id=path.name,
            api=api,
            revision=revision,
            needs=Needs(**record["needs"]),
            folder=folder,
            data_socket=str(world.settings.replica_socket(path.name, "data")),
            control_socket=str(world.settings.replica_socket(path.name, "ctl")),
            log=logs.open(api, revision, path.name),
        )
        slot.restore(record)
        slot.restore_process(folder.read_process() or {})
    except (KeyError, TypeError, ValueError):
        return None
    return slot


def _read(path: Path, marked: list[Marked], world: Surroundings, logs: ApiLogs) -> Slot | None:
    slot = restore_slot(path, world, logs)
    if slot is None:
        SlotFolder(path).remove()
        return None
    if slot.process is None or not is_alive(slot.process):
        unrecorded = next((found for found in marked if found.leads), None)
        if unrecorded is not None:
            slot.process, slot.ready_since = unrecorded.identity, None
            slot.started_at = slot.started_at or world.wall_clock()
            slot.save_process()
    if slot.process is None:
        for found in marked:  # left by a main process that ended
            kill_tree(found.identity, found.mark)
        if not slot.exits and not slot.final:
            slot.folder.remove()
            return None
    return _complete(slot, world)


def _complete(slot: Slot, world: Surroundings) -> Slot:
    slot.cgroup = world.cgroups.open(slot.id) if world.cgroups is not None and slot.process is not None else None
    slot.timeout_s = float((slot.folder.read_launch() or {}).get("timeout_s", slot.timeout_s))
    slot.answered_at = world.monotonic()
    if slot.folder.draining.exists():
        slot.state, slot.may_resume = "draining", not slot.folder.drains_for_good()
    elif slot.process is None and not slot.final:
        slot.state = "failed"
        slot.reason, slot.message = describe(slot.exits[-1].code, None)
    return slot


async def _ask(slot: Slot, world: Surroundings) -> None:
    """Learn the state of an adopted process now, so that the first look of the controller sees it."""
    try:
        stats = await control.read_stats(slot.control_socket)
    except control.Unanswered:
        return  # it starts, hangs or is dead: its life will tell
    if OLDEST_ADOPTED_VERSION <= stats.contract_version <= CONTRACT_VERSION:
        _take(slot, stats, world)
    else:
        kill(slot, "ContractMismatch", f"it speaks version {stats.contract_version} of the replica contract", world)


def _take(slot: Slot, stats: ReplicaStats, world: Surroundings) -> None:
    slot.in_flight, slot.queued, slot.handler = stats.in_flight, stats.queued, stats.handler
    slot.slots = stats.max_concurrency
    if stats.state == "ready":
        become_ready(slot, world)
