"""The monitor's process of a home: found or started, watched, started again when it dies, ended.

A new engine adopts it when it runs the code that the new engine would start; one of other code ends first, since there
may be one listener to each replica.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import os
import sys
from pathlib import Path

from hatchway.companion import Companion, end
from hatchway.contract import PROCESS_VARIABLE
from hatchway.ends import wait_gone
from hatchway.errors import MonitoringError
from hatchway.processes import Command, Identity, Mark, find_marked, reap, spawn
from hatchway.settings import Settings

log = logging.getLogger(__name__)

ROLE = "monitor"
START_TIMEOUT_S = 20.0
_MODULE = "hatchway.monitoring"
_POLL_S = 0.05
# Sketches gain nothing by threads, and each would take memory.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class MonitorProcess:
    """One monitor at a time, or none yet."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        record_file = settings.monitoring_dir / "monitor.json"
        self._companion = Companion("the monitor", settings.logs_dir / "monitor.log", record_file)

    @property
    def pid(self) -> int | None:
        return self._companion.pid

    async def adopt(self) -> bool:
        """Take over the monitor that a former engine left running, if it is what this engine would start."""
        adopted = self._companion.adopt(code=code_hash()) is not None
        for found in find_marked(self._settings.home_hash):
            if found.mark.role == ROLE and found.identity != self._companion.identity:
                log.warning("ending the monitor (pid %d) of an older engine", found.identity.pid)
                await end(found.identity)
        return adopted

    async def start(self) -> None:
        """Start one and return when it listens. Raises MonitoringError with the end of its log."""
        self._settings.monitor_socket.unlink(missing_ok=True)
        identity = self._spawn()
        self._companion.record(identity, code=code_hash())
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._wait_listening(identity)
        except TimeoutError:
            await end(identity)
            raise MonitoringError(
                f"the monitor did not listen within {START_TIMEOUT_S:.0f} s\n{self._companion.log_end()}"
            ) from None

    async def watch(self) -> None:
        """Start it again whenever it dies, until cancelled. Cancelling leaves it running."""
        await self._companion.watch(self.start)

    async def stop(self) -> None:
        """End it; it saves what it knows first."""
        if self._companion.identity is not None:
            await end(self._companion.identity)
        self._companion.forget()
        self._settings.monitor_socket.unlink(missing_ok=True)

    def _spawn(self) -> Identity:
        settings = self._settings
        self._companion.log.rotate()
        paths = (
            settings.monitor_socket,
            settings.monitoring_dir,
            settings.replica_sockets_dir,
            settings.replicas_dir,
        )
        # -P: nothing in the working directory may stand for a module.
        argv = [sys.executable, "-P", "-m", _MODULE, *map(str, paths)]
        environment = {PROCESS_VARIABLE: str(Mark(settings.home_hash, ROLE, "0")), "PATH": os.defpath, **_ONE_THREAD}
        if "PYTHONPATH" in os.environ:  # it may be what leads to our own package
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        try:
            return spawn(Command(argv, environment, settings.monitoring_dir, self._companion.log.live))
        except OSError as exc:
            raise MonitoringError(f"cannot run {sys.executable}: {exc.strerror}") from exc

    async def _wait_listening(self, identity: Identity) -> None:
        gone = asyncio.ensure_future(wait_gone(identity))
        try:
            while not self._settings.monitor_socket.exists():
                await asyncio.wait([gone], timeout=_POLL_S)
                if gone.done():
                    code = reap(identity)
                    raise MonitoringError(f"the monitor ended at once (exit code {code})\n{self._companion.log_end()}")
        finally:
            gone.cancel()


def code_hash() -> str:
    """What a monitor that is started now would run."""
    digest = hashlib.sha256(sys.executable.encode())
    found = importlib.util.find_spec(_MODULE)
    for folder in (found.submodule_search_locations or ()) if found else ():
        for file in sorted(Path(folder).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
