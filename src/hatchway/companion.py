"""What the processes beside the engine have in common: watched, started again when they die, ended.

Envoy, the activator and the monitor lead their own sessions and outlive the engine; a new engine finds them by pid
and start time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hatchway.delays import GrowingDelay
from hatchway.ends import wait_gone
from hatchway.errors import HatchwayError, StorageError
from hatchway.files import replace_text
from hatchway.processes import Identity, is_alive, reap, signal_process
from hatchway.rotation import LogStream

log = logging.getLogger(__name__)

TERM_TIMEOUT_S = 3.0
LOG_CHECK_S = 60.0
MAX_LOG_BYTES = 4 * 1024 * 1024


class Companion:
    """One process at a time. `identity` is of the one that was started or adopted; it is kept in `record_file`, with
    what is worth knowing of it.
    """

    def __init__(self, title: str, log_file: Path, record_file: Path) -> None:
        self.title = title  # for people
        self._record_file = record_file
        self.identity: Identity | None = None
        self.log = LogStream(log_file, max_file_bytes=MAX_LOG_BYTES, kept_archives=1)

    @property
    def pid(self) -> int | None:
        return self.identity.pid if self.identity else None

    def adopt(self, **expected: str) -> Mapping[str, Any] | None:
        """Take over the one that a former engine left running, if it was started as this engine would start it.

        `expected` must be on its record, which is returned.
        """
        try:
            record = json.loads(self._record_file.read_text())
            identity = Identity(record["pid"], record["start_time"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not is_alive(identity) or any(record.get(name) != value for name, value in expected.items()):
            return None
        self.identity = identity
        return {name: value for name, value in record.items() if name not in asdict(identity)}

    def record(self, identity: Identity, **facts: str | int) -> None:
        """Remember the one that runs now, for the next engine. Raises StorageError."""
        self.identity = identity
        write_file(self._record_file, json.dumps(asdict(identity) | facts))

    def forget(self) -> None:
        """It has ended."""
        self.identity = None
        self._record_file.unlink(missing_ok=True)

    async def watch(self, start: Callable[[], Awaitable[None]]) -> None:
        """Start it again whenever it dies, until cancelled. Cancelling leaves it running."""
        delay = GrowingDelay(0.1, 10.0, calm_after_s=60.0)
        while True:
            started = time.monotonic()
            await self._wait_gone_rotating()
            log.error("%s died (%s); starting it again\n%s", self.title, self._exit_text(), self.log_end())
            await asyncio.sleep(delay.after(time.monotonic() - started))
            try:
                await start()
            except HatchwayError as exc:
                log.error("%s", exc.message)  # noqa: TRY400  # the message holds the end of the log

    async def _wait_gone_rotating(self) -> None:
        assert self.identity is not None
        while True:
            try:
                async with asyncio.timeout(LOG_CHECK_S):
                    await wait_gone(self.identity)
            except TimeoutError:
                self.log.rotate()
            else:
                return

    def _exit_text(self) -> str:
        code = reap(self.identity) if self.identity else None
        return "unknown exit code" if code is None else f"exit code {code}"

    def log_end(self) -> str:
        end = self.log.end()
        data, _ = self.log.read(max(0, end - 2000), 2000)
        return data.decode(errors="replace").strip()


async def end(identity: Identity) -> None:
    """SIGTERM, then SIGKILL."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        signal_process(identity, signal_number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_TIMEOUT_S):
                await wait_gone(identity)
                break
    reap(identity)


def write_file(path: Path, text: str) -> None:
    """In one step: a reader sees the old text or the new. Raises StorageError."""
    try:
        replace_text(path, text)
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror}", hint="free some space, or check its rights") from exc
