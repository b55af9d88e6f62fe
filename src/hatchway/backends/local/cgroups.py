"""Control groups for replicas: a memory limit that the kernel keeps, a weight for cores, and the count of OOM kills.

Ours live below the group the engine runs in: `hatchway-HASH/REPLICA`. Version 2 needs a delegated group (a systemd
unit with `Delegate=yes`, a container); version 1 one that we may write to. Where there is neither, `memory.py` watches.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
_CONTROL = ".control"  # version 2 allows no processes beside child groups: the engine itself moves into this one
_ENTIRE_CPU_WEIGHT = {1: 1024, 2: 100}  # the weight of one core


@dataclass(frozen=True)
class Cgroup:
    """The group of one replica. `cpu_folder` is apart in version 1, and absent where we may not write."""

    version: int
    folder: Path
    cpu_folder: Path | None = None

    def add(self, pid: int) -> None:
        """Move a process in; what it starts from now on is in it too. Raises OSError."""
        (self.folder / "cgroup.procs").write_text(str(pid))
        if self.cpu_folder is not None:
            with contextlib.suppress(OSError):
                (self.cpu_folder / "cgroup.procs").write_text(str(pid))

    def oom_kills(self) -> int:
        """How many processes of the group the kernel has killed for want of memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return _counts(self.folder / name).get("oom_kill", 0)

    def peak_bytes(self) -> int:
        """The most memory the group ever used; 0 when the kernel does not say."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        return _number(self.folder / name)

    def remove(self) -> None:
        """Delete the group. It stays while a process is in it; `sweep` tries again."""
        for folder in (self.folder, self.cpu_folder):
            if folder is not None:
                with contextlib.suppress(OSError):
                    folder.rmdir()


class Cgroups:
    """Where groups for replicas of one home can be made."""

    def __init__(self, version: int, base: Path, cpu_base: Path | None) -> None:
        self._version = version
        self._base = base
        self._cpu_base = cpu_base

    def create(self, replica_id: str, limit_bytes: int | None, cpu: float) -> Cgroup | None:
        """A group with these limits, or None when it cannot be made."""
        cpu_folder = None if self._cpu_base is None else self._cpu_base / replica_id
        group = Cgroup(self._version, self._base / replica_id, cpu_folder)
        try:
            group.folder.mkdir(exist_ok=True, parents=True)
            _set_memory(group, limit_bytes)
        except OSError:
            group.remove()
            return None
        _set_cpu(group, cpu)
        return group

    def open(self, replica_id: str) -> Cgroup | None:
        """The group a former engine made, if it is there."""
        cpu_folder = None if self._cpu_base is None else self._cpu_base / replica_id
        folder = self._base / replica_id
        return Cgroup(self._version, folder, cpu_folder) if folder.is_dir() else None

    def sweep(self, living: frozenset[str]) -> None:
        """Delete the groups of replicas that are gone, and our own folder with the last of them."""
        for base in (self._base, self._cpu_base):
            if base is None or not base.is_dir():
                continue
            for folder in [path for path in base.iterdir() if path.is_dir() and path.name not in living]:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                base.rmdir()


def find(home_hash: str, *, root: Path = CGROUP_ROOT, membership: str | None = None) -> Cgroups | None:
    """Where this process may make groups. `membership` is the text of /proc/self/cgroup."""
    if membership is None:
        try:
            membership = Path("/proc/self/cgroup").read_text()
        except OSError:
            return None
    own = {line.split(":")[1]: line.split(":", 2)[2].lstrip("/") for line in membership.splitlines()}
    name = f"hatchway-{home_hash}"
    if "" in own and "memory" in _words(root / "cgroup.controllers"):
        return _find_v2(root / own[""], name)
    if "memory" in own:
        return _find_v1(root / "memory" / own["memory"], _cpu_v1(root, own), name)
    return None


def _find_v1(memory: Path, cpu: Path | None, name: str) -> Cgroups | None:
    base = memory / name
    if not _make(base):
        return None
    cpu_base = None if cpu is None else cpu / name
    return Cgroups(1, base, cpu_base if cpu_base is not None and _make(cpu_base) else None)


def _cpu_v1(root: Path, own: dict[str, str]) -> Path | None:
    controllers = next((key for key in own if "cpu" in key.split(",")), None)
    return None if controllers is None else root / controllers / own[controllers]


def _find_v2(own: Path, name: str) -> Cgroups | None:
    delegated = own.parent if own.name == name + _CONTROL else own
    if not os.access(delegated / "cgroup.subtree_control", os.W_OK):
        return None
    try:
        if "memory" not in _words(delegated / "cgroup.subtree_control"):
            _make_room(delegated, name)
        base = delegated / name
        base.mkdir(exist_ok=True)
        _enable(base)
    except OSError:
        return None
    return Cgroups(2, base, None)


def _make_room(delegated: Path, name: str) -> None:
    """Move the engine and the keeper into a group of their own, then hand memory and cpu to the groups below.

    Raises OSError when the group has other processes too: it was not delegated to us.
    """
    ours = {os.getpid(), os.getppid()}
    members = {int(pid) for pid in _words(delegated / "cgroup.procs")}
    if members - ours:
        raise PermissionError(f"{delegated} has processes that are not ours")
    control = delegated / (name + _CONTROL)
    control.mkdir(exist_ok=True)
    for pid in members:
        (control / "cgroup.procs").write_text(str(pid))
    _enable(delegated)


def _enable(folder: Path) -> None:
    """Hand the memory controller to the groups below; raises OSError. That of cores, where possible."""
    (folder / "cgroup.subtree_control").write_text("+memory")
    with contextlib.suppress(OSError):
        (folder / "cgroup.subtree_control").write_text("+cpu")


def _set_memory(group: Cgroup, limit_bytes: int | None) -> None:
    """Raises OSError when the limit cannot be set."""
    if group.version == 2:
        if limit_bytes is not None:
            (group.folder / "memory.max").write_text(str(limit_bytes))
        with contextlib.suppress(OSError):
            (group.folder / "memory.swap.max").write_text("0")
            (group.folder / "memory.oom.group").write_text("1")
        return
    if limit_bytes is None:
        return
    _lower_v1(group.folder, limit_bytes)


def _lower_v1(folder: Path, limit_bytes: int) -> None:
    # Memory plus swap may never be less than memory alone: a limit that exists is raised in one order, lowered in the
    # other, so both are tried.
    swap = folder / "memory.memsw.limit_in_bytes"
    with contextlib.suppress(OSError):
        swap.write_text(str(limit_bytes))
    (folder / "memory.limit_in_bytes").write_text(str(limit_bytes))
    with contextlib.suppress(OSError):  # a kernel without swap accounting
        swap.write_text(str(limit_bytes))


def _set_cpu(group: Cgroup, cpu: float) -> None:
    folder, name = (group.folder, "cpu.weight") if group.version == 2 else (group.cpu_folder, "cpu.shares")
    if folder is None:
        return
    weight = max(2, min(int(_ENTIRE_CPU_WEIGHT[group.version] * cpu), 10_000 if group.version == 2 else 262_144))
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(str(weight))


def _make(folder: Path) -> bool:
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _counts(path: Path) -> dict[str, int]:
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdecimal()}


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
