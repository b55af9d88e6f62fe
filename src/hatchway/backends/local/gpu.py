"""Whole GPUs, reserved for replicas. Devices are found through NVML behind a seam; a machine without it has none.

Reservations live in the replicas' folders, so they survive the engine; here is only the choice among what is free.
Devices are named by UUID, which stays the same when a driver numbers them anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hatchway.backends import GpuUse


@dataclass(frozen=True)
class Device:
    uuid: str  # "GPU-8f2b..."
    name: str  # for people: "NVIDIA H100 80GB HBM3"
    memory_bytes: int


class Devices(Protocol):
    """Where GPUs are listed."""

    def list(self) -> tuple[Device, ...]:
        """Every GPU of the machine, in the driver's order; none where there is no driver."""
        ...


class NvmlDevices:
    """The GPUs that NVML knows, asked once and again only while there are none."""

    def __init__(self) -> None:
        self._found: tuple[Device, ...] = ()

    def list(self) -> tuple[Device, ...]:
        self._found = self._found or _ask_nvml()
        return self._found


def choose(wanted: int, devices: Iterable[Device], reserved: Iterable[str]) -> tuple[str, ...] | None:
    """UUIDs of `wanted` free devices, or None when there are not enough."""
    taken = set(reserved)
    free = [device.uuid for device in devices if device.uuid not in taken]
    return tuple(free[:wanted]) if len(free) >= wanted else None


def variables(uuids: tuple[str, ...]) -> Mapping[str, str]:
    """What a replica's environment says of its devices. None reserved hides all of them."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(uuids)}


def read_use(uuids: Collection[str]) -> tuple[GpuUse, ...]:
    """How busy these are now; nothing of those that the driver does not know or will not tell. Blocks for some ms."""
    if not uuids:
        return ()
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(use for uuid in sorted(uuids) if (use := _use_of(uuid)) is not None)
    finally:
        pynvml.nvmlShutdown()


def _use_of(uuid: str) -> GpuUse | None:
    import pynvml

    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        used = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
        return GpuUse(uuid, used, pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
    except pynvml.NVMLError:
        return None


def _ask_nvml() -> tuple[Device, ...]:
    import pynvml  # imported on first use: only APIs that want a GPU pay for it

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = (pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount()))
        return tuple(
            Device(
                _text(pynvml.nvmlDeviceGetUUID(handle)),
                _text(pynvml.nvmlDeviceGetName(handle)),
                int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
            )
            for handle in handles
        )
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
