"""The activator's process of a home: found or started, watched, started again when it dies, told to leave.

A new engine adopts it when it runs the code that the new engine would start. One of other code is told to finish what
it has, while its successor already takes what comes.
"""

from __future__ import annotations

import logging
import signal

from hatchway import programs
from hatchway.companion import Companion, end
from hatchway.errors import GatewayError
from hatchway.processes import Mark, find_marked, signal_process
from hatchway.programs import Program
from hatchway.settings import Settings

log = logging.getLogger(__name__)

ROLE = "activator"


class ActivatorProcess:
    """One activator at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        record_file = settings.gateway_dir / "activator.json"
        self._companion = Companion("the activator", settings.logs_dir / "activator.log", record_file)
        self._program = Program(
            "hatchway.gateway.activator",
            Mark(settings.home_hash, ROLE, "0"),
            (
                settings.activator_socket,
                settings.activator_reports_socket,
                settings.replica_sockets_dir,
                settings.replicas_dir,
            ),
            settings.gateway_dir,
        )

    @property
    def pid(self) -> int | None:
        return self._companion.pid

    def adopt(self) -> bool:
        """Take over the activator that a former engine left running, if it is what this engine would start."""
        return programs.adopt(self._companion, self._program)

    async def start(self) -> None:
        """Start one and return when it listens. Raises GatewayError with the end of its log."""
        before = self._socket_inode()
        # Its socket takes the place of the former one, which may still be listened on, in one step.
        await programs.start(
            self._companion, self._program, lambda: self._socket_inode() not in (None, before), GatewayError
        )

    def retire_others(self) -> None:
        """Every other activator of this home finishes what it holds and leaves."""
        for found in find_marked(self._settings.home_hash):
            if found.mark.role == ROLE and found.identity != self._companion.identity:
                log.warning("replacing the activator (pid %d) of an older engine", found.identity.pid)
                signal_process(found.identity, signal.SIGUSR1)

    async def watch(self) -> None:
        """Start it again whenever it dies, until cancelled. Cancelling leaves it running."""
        await self._companion.watch(self.start)

    def refuse_all(self) -> None:
        """What it holds is answered now, and it leaves when the rest is finished."""
        if self._companion.identity is not None:
            signal_process(self._companion.identity, signal.SIGTERM)

    async def stop(self) -> None:
        """End it, whatever it does."""
        if self._companion.identity is not None:
            await end(self._companion.identity)
        self._companion.forget()
        for path in (self._settings.activator_socket, self._settings.activator_reports_socket):
            path.unlink(missing_ok=True)

    def _socket_inode(self) -> int | None:
        try:
            return self._settings.activator_socket.stat().st_ino
        except FileNotFoundError:
            return None
