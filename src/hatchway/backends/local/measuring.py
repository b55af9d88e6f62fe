"""What replicas use and count: CPU, memory and GPUs of their processes, and what they say on their control sockets.

For whoever asks each quarter of a minute: reading the memory of two hundred processes exactly takes the kernel a
tenth of a second, in a thread here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hatchway.backends import GpuUse, Measures, control
from hatchway.backends.local.gpu import read_use
from hatchway.backends.local.memory import pss_bytes
from hatchway.backends.local.slots import Slot
from hatchway.contract import MetricSeries
from hatchway.processes import table, tree

_AT_ONCE = 16  # replicas that are asked at the same time
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_UTIME = 11  # in /proc/PID/stat, counted from the first field after the name; then come stime, cutime and cstime


async def measure(slots: Iterable[Slot]) -> Mapping[str, Measures]:
    """Of those that have a process, by id."""
    running = {slot.id: slot for slot in slots if slot.process is not None}
    gate = asyncio.Semaphore(_AT_ONCE)
    used, said = await asyncio.gather(
        asyncio.to_thread(
            _used, {id: (slot.process.pid, slot.devices) for id, slot in running.items() if slot.process is not None}
        ),
        asyncio.gather(*(_ask(slot.control_socket, gate) for slot in running.values())),
    )
    series = dict(zip(running, said, strict=True))
    return {id: Measures(cpu_s, pss, gpus, series[id]) for id, (cpu_s, pss, gpus) in used.items()}


async def _ask(socket: str, gate: asyncio.Semaphore) -> tuple[MetricSeries, ...]:
    async with gate:
        try:
            return await control.read_metrics(socket)
        except control.Unanswered:
            return ()


def _used(
    running: Mapping[str, tuple[int, Sequence[str]]],
) -> Mapping[str, tuple[float, int, tuple[GpuUse, ...]]]:
    processes = table()
    gpus = {use.uuid: use for use in read_use({uuid for _, devices in running.values() for uuid in devices})}
    found = {}
    for id, (pid, devices) in running.items():
        pids = tree(pid, processes)
        own = tuple(gpus[uuid] for uuid in devices if uuid in gpus)
        found[id] = sum(map(_cpu_s, pids)), pss_bytes(pids), own
    return found


def _cpu_s(pid: int) -> float:
    """Of the process and of its children that have ended."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[_UTIME : _UTIME + 4])) / _TICKS_PER_S
    except (OSError, ValueError):
        return 0.0
