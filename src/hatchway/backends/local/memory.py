"""How much memory a replica and all it started use, and whether that is more than it may.

The sum of PSS counts a page shared by n processes as 1/n in each, so forked children are not charged twice. It is
slow to read (the kernel walks all pages), RSS is quick and never less: PSS is only read when RSS is over the limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

WATCH_S = 0.5

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory, shared pages counted once per process."""
    return sum(_rss(pid) for pid in pids)


def pss_bytes(pids: Iterable[int]) -> int:
    """Resident memory, shared pages divided among those that share them."""
    return sum(_pss(pid) for pid in pids)


def excess(pids: list[int], limit_bytes: int) -> int | None:
    """The memory in use (PSS) if it is above the limit, else None."""
    if rss_bytes(pids) <= limit_bytes:
        return None
    used = pss_bytes(pids)
    return used if used > limit_bytes else None


def _rss(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _pss(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return _rss(pid)
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
