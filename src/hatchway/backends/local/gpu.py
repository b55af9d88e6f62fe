"""Whole GPUs, reserved for replicas. Devices are found through NVML behind a seam; a machine without it has none.

Reservations live in the replicas' folders, so they survive the engine; here is only the choice among what is free.
Devices are named by UUID, which stays the same when a driver numbers them anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


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
