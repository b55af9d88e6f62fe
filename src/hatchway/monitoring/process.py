"""The monitor's process of a home: found or started, watched, started again when it dies, ended.

A new engine adopts it when it runs the code that the new engine would start; one of other code ends first, since there
may be one listener to each replica.
"""

from __future__ import annotations

import logging

from hatchway import programs
from hatchway.companion import Companion, end
from hatchway.errors import MonitoringError
from hatchway.processes import Mark, find_marked
from hatchway.programs import Program
from hatchway.settings import Settings

log = logging.getLogger(__name__)

ROLE = "monitor"
# Sketches gain nothing by threads, and each would take memory.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class MonitorProcess:
    """One monitor at a time, or none yet."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        record_file = settings.monitoring_dir / "monitor.json"
        self._companion = Companion("the monitor", settings.logs_dir / "monitor.log", record_file)
        self._program = Program(
            "hatchway.monitoring",
            Mark(settings.home_hash, ROLE, "0"),
            (
                settings.monitor_socket,
                settings.monitoring_dir,
                settings.replica_sockets_dir,
                settings.replicas_dir,
            ),
            settings.monitoring_dir,
            _ONE_THREAD,
        )

    @property
    def pid(self) -> int | None:
        return self._companion.pid

    async def adopt(self) -> bool:
        """Take over the monitor that a former engine left running, if it is what this engine would start."""
        adopted = programs.adopt(self._companion, self._program)
        for found in find_marked(self._settings.home_hash):
            if found.mark.role == ROLE and found.identity != self._companion.identity:
                log.warning("ending the monitor (pid %d) of an older engine", found.identity.pid)
                await end(found.identity)
        return adopted

    async def start(self) -> None:
        """Start one and return when it listens. Raises MonitoringError with the end of its log."""
        self._settings.monitor_socket.unlink(missing_ok=True)
        await programs.start(self._companion, self._program, self._settings.monitor_socket.exists, MonitoringError)

    async def watch(self) -> None:
        """Start it again whenever it dies, until cancelled. Cancelling leaves it running."""
        await self._companion.watch(self.start)

    async def stop(self) -> None:
        """End it; it saves what it knows first."""
        if self._companion.identity is not None:
            await end(self._companion.identity)
        self._companion.forget()
        self._settings.monitor_socket.unlink(missing_ok=True)
