"""Operating-system processes of one home: who they are, which are ours, how they start and end.

A process is identified by its pid and its start time, because pids are reused. Every process of a home carries a mark
in its environment ("HOME_HASH:ROLE:ID"), so that a new engine finds what a killed one started, even where that one
had no time to write it down. Standard library only: the keeper imports this and stays small.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hatchway.contract import PROCESS_VARIABLE

MARK_WIDTH = 80

_PROC = Path("/proc")


@dataclass(frozen=True)
class Identity:
    """One process, for all time. `start_time` is in clock ticks since boot (Linux) or milliseconds since the epoch."""

    pid: int
    start_time: int


@dataclass(frozen=True)
class Mark:
    """What a process of a home is: `role` is "engine", "keeper", "gateway", "replica", "build", ..."""

    home_hash: str
    role: str
    id: str

    def __str__(self) -> str:
        return f"{self.home_hash}:{self.role}:{self.id}"

    def padded(self) -> str:
        """As wide as any mark is: a process forked from this one writes its own over it."""
        return str(self).ljust(MARK_WIDTH)

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        parts = text.rstrip().split(":", 2)
        return cls(*parts) if len(parts) == 3 else None


@dataclass(frozen=True)
class Stat:
    """What the kernel says of a process in one line."""

    pid: int
    state: str  # "R", "S", "D", "Z" (zombie), ...
    parent: int
    session: int
    start_time: int


@dataclass(frozen=True)
class Marked:
    """A living process that carries a mark. `leads` says that it leads its session: it is the one we spawned."""

    identity: Identity
    mark: Mark
    leads: bool


@dataclass(frozen=True)
class Command:
    """How to start a process. Its output is appended to `log`; it leads a session of its own."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    log: Path
    umask: int = 0o077


def spawn(command: Command) -> Identity:
    """Start a process and return who it is. Raises OSError when it cannot be started.

    The caller (or the keeper, once the caller is dead) has to reap it: see `reap`.
    """
    descriptor = os.open(command.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            list(command.argv),
            env=dict(command.environment),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            umask=command.umask,
        )
    finally:
        os.close(descriptor)
    if command.environment:
        _wait_marked(child.pid)
    # Until somebody reaps it the child keeps its entry in /proc, so this cannot come too late.
    identity = identify(child.pid) or Identity(child.pid, 0)
    # Popen would reap the child behind our back when it is collected, and its exit status would be lost.
    child.returncode = 0
    return identity


def _wait_marked(pid: int) -> None:
    """Until /proc shows the environment of a new child: exec lets go of our pipe a moment before that.

    Who looked for its mark in that moment would miss it.
    """
    environment = _PROC / str(pid) / "environ"
    with contextlib.suppress(OSError):
        while not environment.read_bytes() and (stat := read_stat(pid)) is not None and stat.state not in "ZX":
            os.sched_yield()


def reap(identity: Identity) -> int | None:
    """The exit code of a dead child of this process (negative: the signal), or None if it is not one."""
    try:
        pid, status = os.waitpid(identity.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid == identity.pid else None


def read_stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The command's name stands in brackets and may itself hold spaces and brackets.
    fields = text[text.rfind(")") + 2 :].split()
    return Stat(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def identify(pid: int) -> Identity | None:
    """Who has this pid now; None when nobody has."""
    if sys.platform == "linux":
        found = read_stat(pid)
        return None if found is None else Identity(pid, found.start_time)
    import psutil  # only where there is no /proc

    try:
        return Identity(pid, int(psutil.Process(pid).create_time() * 1000))
    except psutil.Error:
        return None


def is_alive(identity: Identity) -> bool:
    """Whether the process runs. A zombie does not, though it still answers kill(pid, 0)."""
    if sys.platform == "linux":
        found = read_stat(identity.pid)
        return found is not None and found.start_time == identity.start_time and found.state not in "ZX"
    return identify(identity.pid) == identity


def table() -> dict[int, Stat]:
    """Every process there is, by pid."""
    found = (read_stat(pid) for pid in _pids())
    return {stat.pid: stat for stat in found if stat is not None}


def tree(pid: int, processes: Mapping[int, Stat]) -> list[int]:
    """The process, its descendants, and whoever is in the session it leads."""
    children: dict[int, list[int]] = {}
    for stat in processes.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    found: dict[int, None] = {}
    pending = [pid, *(stat.pid for stat in processes.values() if stat.session == pid)]
    while pending:
        current = pending.pop()
        if current in processes and current not in found:
            found[current] = None
            pending.extend(children.get(current, ()))
    return list(found)


def find_marked(home_hash: str) -> list[Marked]:
    """Every living process of this home, but the one that asks."""
    prefix = f"{PROCESS_VARIABLE}={home_hash}:".encode()
    return [found for pid in _pids() if pid != os.getpid() and (found := _marked(pid, prefix)) is not None]


def kill_tree(identity: Identity, mark: Mark, signal_number: int = signal.SIGKILL) -> None:
    """Signal a process, its session, its descendants, and what carries its mark elsewhere."""
    processes = table()
    doomed = set(tree(identity.pid, processes)) if _is_ours(identity, processes) else set()
    doomed |= {found.identity.pid for found in find_marked(mark.home_hash) if found.mark == mark}
    for pid in doomed - {os.getpid()}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal_number)


def signal_process(identity: Identity, signal_number: int) -> None:
    """Signal one process, unless it is gone."""
    if is_alive(identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, signal_number)


def wait_all_gone(home_hash: str, *, spare: frozenset[str], timeout_s: float) -> list[Marked]:
    """Wait until no process of the home is left but those with a spared role. Returns who is still there."""
    deadline = time.monotonic() + timeout_s
    while True:
        left = [found for found in find_marked(home_hash) if found.mark.role not in spare]
        if not left or time.monotonic() >= deadline:
            return left
        _wait_for_one(left[0].identity, deadline - time.monotonic())


def end_all(home_hash: str, *, spare: frozenset[str] = frozenset(), grace_s: float) -> None:
    """End every process of the home but those with a spared role: SIGTERM, then SIGKILL after `grace_s`."""
    left = wait_all_gone(home_hash, spare=spare, timeout_s=0)
    for found in left:
        signal_process(found.identity, signal.SIGTERM)
    # A process may start another one between our look and the signal, so killing is repeated until nobody is left.
    left = wait_all_gone(home_hash, spare=spare, timeout_s=grace_s) if left else []
    while left:
        for found in left:
            kill_tree(found.identity, found.mark)
        left = wait_all_gone(home_hash, spare=spare, timeout_s=1.0)


def _wait_for_one(identity: Identity, timeout_s: float) -> None:
    if not hasattr(os, "pidfd_open"):
        time.sleep(min(timeout_s, 0.05))
        return
    import select

    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError:
        return
    try:
        if is_alive(identity):
            select.select([descriptor], [], [], timeout_s)
    finally:
        os.close(descriptor)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(_PROC) if name.isdecimal()) if _PROC.is_dir() else iter(())


def _marked(pid: int, prefix: bytes) -> Marked | None:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    at = 0 if environment.startswith(prefix) else environment.find(b"\0" + prefix) + 1
    if not environment.startswith(prefix, at):
        return None
    text = environment[at : environment.find(b"\0", at)].partition(b"=")[2]
    mark, stat = Mark.parse(os.fsdecode(text)), read_stat(pid)
    if mark is None or stat is None or stat.state in "ZX":
        return None
    return Marked(Identity(pid, stat.start_time), mark, stat.session == pid)


def _is_ours(identity: Identity, processes: Mapping[int, Stat]) -> bool:
    """Whether the pid has not been given to somebody else. Gone counts as ours: its session may live on."""
    found = processes.get(identity.pid)
    return found is None or found.start_time == identity.start_time
