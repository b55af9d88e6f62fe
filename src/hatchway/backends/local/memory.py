"""`compute.mem` as a limit of the kernel's, where a cgroup can be made: version 2 if delegated, else version 1.

Where neither can be (an ordinary user without delegation), the backend watches the replica's PSS instead.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection
from pathlib import Path

log = logging.getLogger(__name__)


class MemoryLimits:
    """One cgroup per limited replica, in a folder of the home's. A cgroup is named by its path; "" is none."""

    def __init__(self, home_hash: str, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> None:
        self._base = _version_2(root, proc) or _version_1(root)
        self._folder = None if self._base is None else self._base / f"hatchway-{home_hash}"

    def apply(self, replica_id: str, pid: int, limit_bytes: int | None) -> str:
        """Limit a process just started. Returns its cgroup, or "" when there is no limit or no cgroup."""
        if limit_bytes is None or self._folder is None:
            return ""
        cgroup = self._folder / replica_id
        try:
            self._folder.mkdir(exist_ok=True)
            if (self._folder / "cgroup.controllers").exists():
                (self._folder / "cgroup.subtree_control").write_text("+memory")
            cgroup.mkdir(exist_ok=True)
            _write_limit(cgroup, limit_bytes)
            (cgroup / "cgroup.procs").write_text(str(pid))
        except OSError as exc:
            log.info("no cgroup for %s (%s): its memory is watched instead", replica_id, exc)
            self.remove(str(cgroup))
            return ""
        return str(cgroup)

    def was_hit(self, cgroup: str) -> bool:
        """Whether the kernel killed a process of the cgroup for its memory."""
        if not cgroup:
            return False
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError, ValueError):
                counts = dict(line.split() for line in (Path(cgroup) / name).read_text().splitlines())
                return int(counts.get("oom_kill", 0)) > 0
        return False

    def remove(self, cgroup: str) -> None:
        """Remove a cgroup whose processes have ended, and the home's folder with the last one."""
        if cgroup:
            with contextlib.suppress(OSError):
                Path(cgroup).rmdir()
            with contextlib.suppress(OSError):
                Path(cgroup).parent.rmdir()

    def forget_all_but(self, used: Collection[str]) -> None:
        """Remove what a killed engine left."""
        if self._folder is not None and self._folder.is_dir():
            for cgroup in self._folder.iterdir():
                if cgroup.is_dir() and str(cgroup) not in used:
                    self.remove(str(cgroup))


def _write_limit(cgroup: Path, limit_bytes: int) -> None:
    if (cgroup / "memory.max").exists():
        (cgroup / "memory.max").write_text(str(limit_bytes))
        with contextlib.suppress(OSError):  # no swap controller
            (cgroup / "memory.swap.max").write_text("0")
    else:
        (cgroup / "memory.limit_in_bytes").write_text(str(limit_bytes))
        with contextlib.suppress(OSError):
            (cgroup / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes))


def _version_2(root: Path, proc: Path) -> Path | None:
    """Our own cgroup, if the memory controller may be handed on from it."""
    with contextlib.suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            if line.startswith("0::"):
                own = root / line[3:].strip().lstrip("/")
                if "memory" in (own / "cgroup.subtree_control").read_text().split():
                    return own
    return None


def _version_1(root: Path) -> Path | None:
    base = root / "memory"
    return base if (base / "memory.limit_in_bytes").exists() else None
