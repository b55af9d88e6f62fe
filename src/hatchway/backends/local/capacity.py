"""Whether a replica may start now: a pure decision over what it needs and what the machine has, and one reading of it.

Memory is never overcommitted: what was declared stays reserved for as long as the replica lives, what was only
estimated until it is ready and its use can be measured. Cores are shared: `compute.cpu` is a weight, and replicas may
ask for CPU_OVERCOMMIT times the cores there are, because most wait for requests most of the time. What could never
fit this machine is refused at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CPU_OVERCOMMIT = 10  # a laptop with 2 cores runs 20 replicas of `cpu: 1`
SPARE_BYTES = 64 * 1024 * 1024  # left to everything else on the machine
PYTHON_BYTES = 128 * 1024 * 1024  # a replica whose use nobody declared or measured yet: Python and NumPy


@dataclass(frozen=True)
class Needs:
    """What one replica asks for."""

    cpu: float
    memory_bytes: int | None  # declared; None: not declared
    gpus: int = 0


@dataclass(frozen=True)
class Tenant:
    """A replica whose process runs. `promised_bytes` is what it may still grow to."""

    cpu: float
    promised_bytes: int
    used_bytes: int


@dataclass(frozen=True)
class Machine:
    cores: int
    total_bytes: int
    available_bytes: int
    gpus: int = 0
    free_gpus: int = 0


@dataclass(frozen=True)
class Fits:
    pass


@dataclass(frozen=True)
class DoesNotFit:
    """`ever` says that it would fit an idle machine: wait. Otherwise waiting is of no use."""

    message: str
    ever: bool
    lacks_memory: bool = False  # nothing but memory that others use now


def decide(needs: Needs, estimate_bytes: int, machine: Machine, tenants: Sequence[Tenant]) -> Fits | DoesNotFit:
    """`estimate_bytes` stands for the memory of a replica that declares none."""
    impossible = _impossible(needs, machine)
    if impossible is not None:
        return DoesNotFit(impossible, ever=False)
    if needs.gpus > machine.free_gpus:
        return DoesNotFit(f"needs {needs.gpus} GPUs, {machine.free_gpus} of {machine.gpus} are free", ever=True)
    taken = sum(tenant.cpu for tenant in tenants)
    limit = machine.cores * CPU_OVERCOMMIT
    if taken + needs.cpu > limit and tenants:
        cores = f"replicas ask for {taken:g} of at most {limit} shared cores ({CPU_OVERCOMMIT} per core)"
        return DoesNotFit(f"needs cpu {needs.cpu:g}, but {cores}", ever=True)
    return _memory_fits(needs, estimate_bytes, machine, tenants)


def read_machine(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Machine:
    """Cores this process may use, and memory, both within the container's limits where there is one."""
    info = _meminfo(proc / "meminfo")
    total, available = info["MemTotal"], info["MemAvailable"]
    limit, used = _container_memory(cgroups)
    if limit is not None and limit < total:
        total, available = limit, max(0, min(available, limit - used))
    return Machine(len(os.sched_getaffinity(0)), total, available)


def mebibytes(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB"


def _impossible(needs: Needs, machine: Machine) -> str | None:
    if needs.cpu > machine.cores:
        return f"compute.cpu is {needs.cpu:g}, this machine has {machine.cores} cores"
    if needs.gpus > machine.gpus:
        return f"compute.gpu is {needs.gpus}, this machine has {machine.gpus} GPUs that NVML can see"
    if (needs.memory_bytes or 0) > machine.total_bytes - SPARE_BYTES:
        wanted, total = mebibytes(needs.memory_bytes or 0), mebibytes(machine.total_bytes)
        return f"compute.mem is {wanted}, this machine has {total} in all"
    return None


def _memory_fits(needs: Needs, estimate: int, machine: Machine, tenants: Sequence[Tenant]) -> Fits | DoesNotFit:
    promised = sum(max(0, tenant.promised_bytes - tenant.used_bytes) for tenant in tenants)
    free = machine.available_bytes - promised - SPARE_BYTES
    wanted = estimate if needs.memory_bytes is None else needs.memory_bytes
    if wanted <= free:
        return Fits()
    origin = "about " if needs.memory_bytes is None else ""
    available = f"{mebibytes(machine.available_bytes)} is available and {mebibytes(promised)} of it promised"
    message = f"needs {origin}{mebibytes(wanted)} of memory, but {available} to other replicas"
    return DoesNotFit(message, ever=True, lacks_memory=True)


def _meminfo(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) >= 2}


def _container_memory(cgroups: Path) -> tuple[int | None, int]:
    """(limit, use without page cache) of the container this runs in; (None, 0) outside of one."""
    for folder, limit, use, stat in (
        (cgroups, "memory.max", "memory.current", "inactive_file"),
        (cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            found, used = (folder / limit).read_text().strip(), int((folder / use).read_text())
            counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if found.isdecimal():
            return int(found), max(0, used - int(counts.get(stat, 0)))
    return None, 0
