"""The activator's process of a home: found or started, watched, started again when it dies, told to leave.

A new engine adopts it when it runs the code that the new engine would start. One of other code is told to finish what
it has, while its successor already takes what comes.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import os
import signal
import sys
from pathlib import Path

from hatchway.companion import Companion, end
from hatchway.contract import PROCESS_VARIABLE
from hatchway.ends import wait_gone
from hatchway.errors import GatewayError
from hatchway.processes import Command, Identity, Mark, find_marked, reap, signal_process, spawn
from hatchway.settings import Settings

log = logging.getLogger(__name__)

ROLE = "activator"
START_TIMEOUT_S = 20.0
_MODULE = "hatchway.gateway.activator"
_POLL_S = 0.01


class ActivatorProcess:
    """One activator at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        record_file = settings.gateway_dir / "activator.json"
        self._companion = Companion("the activator", settings.logs_dir / "activator.log", record_file)

    @property
    def pid(self) -> int | None:
        return self._companion.pid

    def adopt(self) -> bool:
        """Take over the activator that a former engine left running, if it is what this engine would start."""
        return self._companion.adopt(code=code_hash()) is not None

    async def start(self) -> None:
        """Start one and return when it listens. Raises GatewayError with the end of its log."""
        before = self._socket_inode()
        identity = self._spawn()
        self._companion.record(identity, code=code_hash())
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._wait_listening(identity, before)
        except TimeoutError:
            await end(identity)
            raise GatewayError(
                f"the activator did not listen within {START_TIMEOUT_S:.0f} s\n{self._companion.log_end()}"
            ) from None

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

    # --- starting ----------------------------------------------------------------------------------------
    def _spawn(self) -> Identity:
        settings = self._settings
        self._companion.log.rotate()
        paths = (
            settings.activator_socket,
            settings.activator_reports_socket,
            settings.replica_sockets_dir,
            settings.replicas_dir,
        )
        # -P: nothing in the working directory may stand for a module.
        argv = [sys.executable, "-P", "-m", _MODULE, *map(str, paths)]
        environment = {PROCESS_VARIABLE: str(Mark(settings.home_hash, ROLE, "0")), "PATH": os.defpath}
        if "PYTHONPATH" in os.environ:  # it may be what leads to our own package
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        try:
            return spawn(Command(argv, environment, settings.gateway_dir, self._companion.log.live))
        except OSError as exc:
            raise GatewayError(f"cannot run {sys.executable}: {exc.strerror}") from exc

    async def _wait_listening(self, identity: Identity, before: int | None) -> None:
        """Its socket takes the place of the former one, which may still be listened on, in one step."""
        gone = asyncio.ensure_future(wait_gone(identity))
        try:
            while self._socket_inode() in (None, before):
                await asyncio.wait([gone], timeout=_POLL_S)
                if gone.done():
                    code = reap(identity)
                    raise GatewayError(f"the activator ended at once (exit code {code})\n{self._companion.log_end()}")
        finally:
            gone.cancel()

    def _socket_inode(self) -> int | None:
        try:
            return self._settings.activator_socket.stat().st_ino
        except FileNotFoundError:
            return None


def code_hash() -> str:
    """What an activator that is started now would run."""
    digest = hashlib.sha256(sys.executable.encode())
    found = importlib.util.find_spec(_MODULE)
    for folder in (found.submodule_search_locations or ()) if found else ():
        for file in sorted(Path(folder).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
