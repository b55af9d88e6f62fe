"""Whether replicas could ever run side by side on this machine: `capacity.decide`, asked of the machine at rest.

What other programs use now does not count, since it may be free a moment later; replicas of other APIs do, since
nothing stops them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hatchway.backends.local.capacity import PYTHON_BYTES, DoesNotFit, Machine, Needs, Tenant, decide
from hatchway.backends.local.memory import pss_bytes
from hatchway.backends.local.slots import Slot
from hatchway.backends.local.tenancy import Hardware
from hatchway.processes import table, tree


@dataclass(frozen=True)
class Crowd:
    """`new` replicas with these needs, beside `old` of those that are ready."""

    needs: Needs
    new: int
    old: int


def find_shortage(api: str, crowd: Crowd, slots: Sequence[Slot], hardware: Hardware) -> str | None:
    """What the machine lacks for the crowd and the replicas of other APIs; None when all fit."""
    running = [slot for slot in slots if slot.process is not None and not slot.is_going]
    own = [slot for slot in running if slot.api == api and slot.state == "ready"]
    staying = [slot for slot in running if slot.api != api] + own[: crowd.old]
    used = _used_bytes([*staying, *own])
    tenants = [Tenant(slot.needs.cpu, used[slot.id], 0) for slot in staying]
    estimate = max((used[slot.id] for slot in own if slot.needs.memory_bytes is None), default=PYTHON_BYTES)
    machine = _at_rest(hardware, staying, with_gpus=crowd.needs.gpus > 0)
    for _ in range(crowd.new):
        verdict = decide(crowd.needs, estimate, machine, tenants)
        if isinstance(verdict, DoesNotFit):
            return verdict.message
        tenants.append(Tenant(crowd.needs.cpu, crowd.needs.memory_bytes or estimate, 0))
        machine = replace(machine, free_gpus=machine.free_gpus - crowd.needs.gpus)
    return None


def _used_bytes(slots: Sequence[Slot]) -> dict[str, int]:
    """Slot id -> the memory it declares, or else has."""
    undeclared = any(slot.needs.memory_bytes is None for slot in slots)
    processes = table() if undeclared else {}
    return {
        slot.id: pss_bytes(tree(slot.process.pid, processes))
        if slot.needs.memory_bytes is None and slot.process is not None
        else slot.needs.memory_bytes or 0
        for slot in slots
    }


def _at_rest(hardware: Hardware, staying: Sequence[Slot], *, with_gpus: bool) -> Machine:
    machine = hardware.read()
    machine = replace(machine, available_bytes=machine.total_bytes)
    if not with_gpus:
        return machine
    reserved = {uuid for slot in staying for uuid in slot.devices}
    devices = hardware.devices.list()
    return replace(machine, gpus=len(devices), free_gpus=sum(device.uuid not in reserved for device in devices))
