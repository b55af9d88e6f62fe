"""Who lives on this machine already, and whether one more replica may move in. Reads; `capacity.py` decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from hatchway.backends.local import gpu
from hatchway.backends.local.capacity import PYTHON_BYTES, DoesNotFit, Fits, Machine, Tenant, decide, read_machine
from hatchway.backends.local.census import Census
from hatchway.backends.local.cgroups import Cgroups, find
from hatchway.backends.local.slots import Slot


@dataclass(frozen=True)
class Hardware:
    """What there is to share: the GPUs, and how much memory and how many cores there are now.

    Where no control groups can be made, memory limits are left to the watch.
    """

    devices: gpu.Devices = field(default_factory=gpu.NvmlDevices)
    read: Callable[[], Machine] = read_machine
    find_cgroups: Callable[[str], Cgroups | None] = find


def admit(slot: Slot, others: Iterable[Slot], hardware: Hardware, census: Census) -> Fits | DoesNotFit:
    """Whether the slot's process may start now; if so, its GPUs are reserved in the slot."""
    running = [other for other in others if other is not slot and other.process is not None]
    machine = census.machine
    chosen: tuple[str, ...] = ()
    if slot.needs.gpus:
        reserved = [uuid for other in running for uuid in other.devices]
        there = hardware.devices.list()
        free = [device for device in there if device.uuid not in reserved]
        machine = replace(machine, gpus=len(there), free_gpus=len(free))
        chosen = gpu.choose(slot.needs.gpus, there, reserved) or ()
    estimate = PYTHON_BYTES if slot.needs.memory_bytes is not None else estimate_bytes(slot, running, census)
    verdict = decide(slot.needs, estimate, machine, [_to_tenant(other, census) for other in running])
    slot.devices = chosen if isinstance(verdict, Fits) else ()
    return verdict


def estimate_bytes(slot: Slot, running: Iterable[Slot], census: Census) -> int:
    """What a replica that declares no memory will use: as much as its largest sibling."""
    siblings = [other for other in running if other.api == slot.api and other.state == "ready"]
    same = [other for other in siblings if other.revision == slot.revision] or siblings
    used = (census.pss_bytes(other.process.pid) for other in same if other.process is not None)
    return max(used, default=PYTHON_BYTES)


def _to_tenant(slot: Slot, census: Census) -> Tenant:
    used = 0 if slot.process is None else max(census.rss_bytes(slot.process.pid), slot.rss_bytes or 0)
    promised = slot.needs.memory_bytes
    if promised is None:
        promised = 0 if slot.ready_since is not None else PYTHON_BYTES
    return Tenant(slot.needs.cpu, promised, used)
