from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hatchway.backends.local.capacity import (
    CPU_OVERCOMMIT,
    PYTHON_BYTES,
    SPARE_BYTES,
    DoesNotFit,
    Fits,
    Machine,
    Needs,
    Tenant,
    decide,
    read_machine,
)

MIB = 1 << 20
LAPTOP = Machine(cores=2, total_bytes=8192 * MIB, available_bytes=4096 * MIB)
SMALL = Needs(cpu=1, memory_bytes=None)


def a_tenant(promised_mib: int = 0, used_mib: int = 100, cpu: float = 1) -> Tenant:
    return Tenant(cpu, promised_mib * MIB, used_mib * MIB)


@pytest.mark.parametrize(
    ("needs", "machine", "tenants"),
    [
        (SMALL, LAPTOP, []),
        (SMALL, LAPTOP, [a_tenant()] * 4),  # four APIs of cpu 1 and their updates, on two cores
        (SMALL, LAPTOP, [a_tenant()] * (2 * CPU_OVERCOMMIT - 1)),
        (replace(SMALL, memory_bytes=4096 * MIB - SPARE_BYTES), LAPTOP, []),
        (replace(SMALL, memory_bytes=2048 * MIB), LAPTOP, [a_tenant(promised_mib=1900, used_mib=100)]),
        (replace(SMALL, memory_bytes=3000 * MIB), LAPTOP, [a_tenant(promised_mib=2000, used_mib=2500)]),
        (replace(SMALL, gpus=1), replace(LAPTOP, gpus=2, free_gpus=1), []),
        (replace(SMALL, cpu=2), LAPTOP, []),
    ],
)
def test_what_fits_may_start(needs: Needs, machine: Machine, tenants: list[Tenant]) -> None:
    assert decide(needs, PYTHON_BYTES, machine, tenants) == Fits()


@pytest.mark.parametrize(
    ("needs", "machine", "tenants", "part"),
    [
        (replace(SMALL, memory_bytes=4096 * MIB), LAPTOP, [], "needs 4096 MiB of memory, but 4096 MiB is available"),
        (replace(SMALL, memory_bytes=2048 * MIB), LAPTOP, [a_tenant(2200, 100)], "2100 MiB of it promised"),
        (SMALL, replace(LAPTOP, available_bytes=150 * MIB), [], "needs about 128 MiB"),
        (SMALL, LAPTOP, [a_tenant()] * 2 * CPU_OVERCOMMIT, "at most 20 shared cores"),
        (replace(SMALL, gpus=2), replace(LAPTOP, gpus=2, free_gpus=1), [], "needs 2 GPUs, 1 of 2 are free"),
    ],
)
def test_what_would_fit_an_idle_machine_waits_with_the_numbers(
    needs: Needs, machine: Machine, tenants: list[Tenant], part: str
) -> None:
    verdict = decide(needs, PYTHON_BYTES, machine, tenants)
    assert isinstance(verdict, DoesNotFit)
    assert verdict.ever
    assert part in verdict.message
    assert verdict.lacks_memory == ("of memory" in verdict.message)


@pytest.mark.parametrize(
    ("needs", "part"),
    [
        (replace(SMALL, cpu=2.5), "compute.cpu is 2.5, this machine has 2 cores"),
        (replace(SMALL, memory_bytes=8192 * MIB), "compute.mem is 8192 MiB, this machine has 8192 MiB in all"),
        (replace(SMALL, gpus=1), "compute.gpu is 1, this machine has 0 GPUs"),
    ],
)
def test_what_can_never_fit_is_refused(needs: Needs, part: str) -> None:
    verdict = decide(needs, PYTHON_BYTES, LAPTOP, [])
    assert isinstance(verdict, DoesNotFit)
    assert not verdict.ever
    assert part in verdict.message


def test_this_machine_is_read() -> None:
    machine = read_machine()
    assert machine.cores >= 1
    assert 0 < machine.available_bytes <= machine.total_bytes


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_counts(tmp_path: Path, version: int) -> None:
    folder = tmp_path if version == 2 else tmp_path / "memory"
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    folder.mkdir(exist_ok=True)
    (folder / names[0]).write_text(f"{512 * MIB}\n")
    (folder / names[1]).write_text(f"{300 * MIB}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {100 * MIB}\n")
    machine = read_machine(cgroups=tmp_path)
    assert (machine.total_bytes, machine.available_bytes) == (512 * MIB, 312 * MIB)
