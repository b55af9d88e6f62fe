"""What /proc says at one moment: read as it is asked for, once for everybody who asks at that moment.

When room is made, all who wait for some look at once. Each would read the machine's memory, that of every replica, and
the table of all processes, only to find out, for the most part, what the one before has just found out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from hatchway.backends.local.capacity import Machine
from hatchway.backends.local.memory import pss_bytes, rss_bytes
from hatchway.processes import Stat, table, tree

VALID_S = 0.2  # as long as nothing is known to have changed


class Census:
    """`at`: when it was begun, on the monotonic clock."""

    def __init__(self, read_machine: Callable[[], Machine], at: float) -> None:
        self.at = at
        self._read_machine = read_machine
        self._rss: dict[int, int] = {}
        self._pss: dict[int, int] = {}

    @cached_property
    def machine(self) -> Machine:
        return self._read_machine()

    def rss_bytes(self, pid: int) -> int:
        """Resident memory of one process."""
        if pid not in self._rss:
            self._rss[pid] = rss_bytes([pid])
        return self._rss[pid]

    def pss_bytes(self, pid: int) -> int:
        """Resident memory of a process and all it started, shared pages divided among those that share them."""
        if pid not in self._pss:
            self._pss[pid] = pss_bytes(tree(pid, self._processes))
        return self._pss[pid]

    @cached_property
    def _processes(self) -> Mapping[int, Stat]:
        return table()
