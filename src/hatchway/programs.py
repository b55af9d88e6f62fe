"""Parts of Hatchway that run as processes of their own beside the engine: the activator and the monitor.

They run on the engine's Python, from the engine's code. A new engine adopts one only if it runs what the new engine
would start.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hatchway import __version__
from hatchway.companion import Companion, end
from hatchway.contract import PROCESS_VARIABLE
from hatchway.ends import wait_gone
from hatchway.errors import HatchwayError, StorageError
from hatchway.processes import Command, Identity, Mark, reap, spawn

log = logging.getLogger(__name__)

START_TIMEOUT_S = 20.0
_POLL_S = 0.01


@dataclass(frozen=True)
class Program:
    """A package with a `__main__`, and how it is run. `folder` is its working directory."""

    module: str
    mark: Mark
    arguments: Sequence[Path]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)  # beside what each program has
    version: str = __version__  # of what it imports from us

    def code_hash(self) -> str:
        """What one that is started now would run."""
        digest = hashlib.sha256(f"{sys.executable}\0{self.version}".encode())
        found = importlib.util.find_spec(self.module)
        for folder in (found.submodule_search_locations or ()) if found else ():
            for file in sorted(Path(folder).glob("*.py")):
                digest.update(file.read_bytes())
        return digest.hexdigest()[:12]

    def command(self, log_file: Path) -> Command:
        # -P: nothing in the working directory may stand for a module.
        argv = [sys.executable, "-P", "-m", self.module, *map(str, self.arguments)]
        environment = {PROCESS_VARIABLE: str(self.mark), "PATH": os.defpath, **self.environment}
        if "PYTHONPATH" in os.environ:  # it may be what leads to our own package
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        return Command(argv, environment, self.folder, log_file)


def adopt(companion: Companion, program: Program) -> bool:
    """Take over the one that a former engine left running, if it is what this engine would start."""
    return companion.adopt(code=program.code_hash()) is not None


async def start(
    companion: Companion, program: Program, is_listening: Callable[[], bool], failure: type[HatchwayError]
) -> None:
    """Start it and return when it listens. Raises `failure` with the end of its log."""
    companion.log.rotate()
    try:
        identity = spawn(program.command(companion.log.live))
    except OSError as exc:
        raise failure(f"cannot run {sys.executable}: {exc.strerror}") from exc
    try:
        companion.record(identity, code=program.code_hash())
    except StorageError as exc:  # it runs all the same; the next engine ends it, and starts its own
        log.warning("%s is not remembered: %s", companion.title, exc.message)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            is_gone = not await _wait_listening(identity, is_listening)
    except TimeoutError:
        await end(identity)
        message = f"{companion.title} did not listen within {START_TIMEOUT_S:.0f} s"
        raise failure(f"{message}\n{companion.log_end()}") from None
    if is_gone:
        raise failure(f"{companion.title} ended at once (exit code {reap(identity)})\n{companion.log_end()}")


async def _wait_listening(identity: Identity, is_listening: Callable[[], bool]) -> bool:
    """False: it has ended."""
    gone = asyncio.ensure_future(wait_gone(identity))
    try:
        while not is_listening():
            await asyncio.wait([gone], timeout=_POLL_S)
            if gone.done():
                return False
    finally:
        gone.cancel()
    return True
