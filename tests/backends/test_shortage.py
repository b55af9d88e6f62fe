"""Whether replicas could ever run side by side, on a machine and with GPUs that are made up."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hatchway.backends.local.capacity import PYTHON_BYTES, SPARE_BYTES, Machine, Needs
from hatchway.backends.local.gpu import Device
from hatchway.backends.local.logs import ReplicaLog
from hatchway.backends.local.shortage import Crowd, find_shortage
from hatchway.backends.local.slots import Slot, SlotFolder
from hatchway.backends.local.tenancy import Hardware
from hatchway.processes import identify
from hatchway.spec.api import Compute
from tests.backends.builders import ChangeFeed, a_workload, in_state
from tests.backends.conftest import StartBackend

MIB = 1 << 20
GIB = 1 << 30
FULL = Machine(cores=2, total_bytes=8 * GIB + SPARE_BYTES, available_bytes=0)  # others use all of it at the moment
MakeSlot = Callable[..., Slot]


@dataclass(frozen=True)
class Gpus:
    """So many GPUs: GPU-0, GPU-1, ..."""

    count: int

    def list(self) -> tuple[Device, ...]:
        return tuple(Device(f"GPU-{number}", "H100", 80 * GIB) for number in range(self.count))


def needs(mem_gib: int | None = 1, *, cpu: float = 1, gpus: int = 0) -> Needs:
    return Needs(cpu, None if mem_gib is None else mem_gib * GIB, gpus)


@pytest.fixture
def a_slot(tmp_path: Path) -> MakeSlot:
    made = 0

    def make(api: str = "iris", what: Needs | None = None, devices: Sequence[str] = (), **fields: object) -> Slot:
        nonlocal made
        made += 1
        slot = Slot(
            id=f"{api}-{made}",
            api=api,
            revision="r1",
            needs=what or needs(),
            folder=SlotFolder(tmp_path),
            data_socket="",
            control_socket="",
            log=ReplicaLog(tmp_path, "r1", api),
            state="ready",
            process=identify(os.getpid()),
            devices=tuple(devices),
        )
        for name, value in fields.items():
            setattr(slot, name, value)
        return slot

    return make


def shortage(slots: Sequence[Slot], what: Needs, *, new: int = 1, old: int = 1, gpus: int = 0) -> str | None:
    hardware = Hardware(devices=Gpus(gpus), read=lambda: FULL)
    return find_shortage("iris", Crowd(what, new, old), slots, hardware)


def test_the_only_gpu_cannot_be_had_beside_the_replica_that_has_it(a_slot: MakeSlot) -> None:
    slots = [a_slot(what=needs(gpus=1), devices=["GPU-0"])]
    assert shortage(slots, needs(gpus=1), gpus=1) == "needs 1 GPUs, 0 of 1 are free"
    assert shortage(slots, needs(gpus=1), gpus=2) is None
    assert shortage(slots, needs(gpus=1), gpus=1, old=0) is None
    assert shortage(slots, needs(gpus=0), gpus=1) is None


def test_gpus_of_other_apis_are_not_free_either(a_slot: MakeSlot) -> None:
    slots = [a_slot(what=needs(gpus=1), devices=["GPU-0"]), a_slot("text", needs(gpus=1), ["GPU-1"])]
    assert shortage(slots, needs(gpus=1), gpus=2) == "needs 1 GPUs, 0 of 2 are free"
    assert shortage(slots, needs(gpus=1), gpus=3) is None


@pytest.mark.parametrize(
    ("new_gib", "new", "old", "fits"),
    [(3, 1, 1, True), (4, 1, 1, False), (4, 1, 0, True), (2, 2, 1, False), (1, 3, 1, True), (1, 4, 1, False)],
)
def test_declared_memory_has_to_fit_the_machine_whoever_uses_it_now(
    a_slot: MakeSlot, new_gib: int, new: int, old: int, *, fits: bool
) -> None:
    slots = [a_slot(what=needs(2)), a_slot("text", needs(3))]  # of 8 GiB
    message = shortage(slots, needs(new_gib), new=new, old=old)
    assert (message is None) is fits
    assert fits or f"needs {new_gib * 1024} MiB of memory" in str(message)


def test_memory_that_nobody_declared_is_what_siblings_use(a_slot: MakeSlot) -> None:
    sibling = a_slot(what=needs(None))  # this process: tens of MiB at least
    others = 8 * GIB - PYTHON_BYTES
    beside = a_slot("text", Needs(1, others))
    assert shortage([beside], needs(None), old=0) is None
    assert "about" in str(shortage([beside, sibling], replace(needs(None)), new=20))


def test_cores_are_shared_and_not_endless(a_slot: MakeSlot) -> None:
    slots = [a_slot(what=needs(0, cpu=2)) for _ in range(9)]
    assert shortage(slots, needs(0, cpu=2), old=9) is None
    assert "shared cores" in str(shortage(slots, needs(0, cpu=2), old=9, new=2))


def test_only_what_stays_counts(a_slot: MakeSlot) -> None:
    going = [
        a_slot("text", needs(8), stopping=True),
        a_slot("text", needs(8), state="draining"),
        a_slot("text", needs(8), process=None),
        a_slot(what=needs(8), state="starting"),  # of an update that this one replaces
    ]
    assert shortage(going, needs(8)) is None


def test_what_does_not_fit_an_empty_machine_is_told(a_slot: MakeSlot) -> None:
    assert (
        shortage([], needs(9), old=0) == f"compute.mem is {9 * 1024} MiB, this machine has {8 * 1024 + 64} MiB in all"
    )


async def test_the_backend_asks_its_own_replicas_and_hardware(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend(hardware=Hardware(devices=Gpus(1)))
    await backend.apply(a_workload(project, compute={"gpu": 1}), 1)
    await feed.until(in_state(backend, "ready"))
    one_gpu = Compute(gpu=1)
    assert await backend.shortage("iris", one_gpu, new=1, old=1) == "needs 1 GPUs, 0 of 1 are free"
    assert await backend.shortage("iris", one_gpu, new=1, old=0) is None
