"""What the processes beside the engine have in common: watched, started again when they die, ended.

Envoy and the activator lead their own sessions and outlive the engine; a new engine finds them by pid and start time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from hatchway.ends import wait_gone
from hatchway.errors import GatewayError, StorageError
from hatchway.processes import Identity, reap, signal_process
from hatchway.rotation import LogStream

log = logging.getLogger(__name__)

TERM_TIMEOUT_S = 3.0
LOG_CHECK_S = 60.0
MAX_LOG_BYTES = 4 * 1024 * 1024

_FIRST_DELAY_S, _MAX_DELAY_S, _STABLE_AFTER_S = 0.1, 10.0, 60.0


class Companion:
    """One process at a time. `identity` is of the one that was started or adopted."""

    def __init__(self, title: str, log_file: Path) -> None:
        self.title = title  # for people
        self.identity: Identity | None = None
        self.log = LogStream(log_file, max_file_bytes=MAX_LOG_BYTES, kept_archives=1)

    @property
    def pid(self) -> int | None:
        return self.identity.pid if self.identity else None

    async def watch(self, start: Callable[[], Awaitable[None]]) -> None:
        """Start it again whenever it dies, until cancelled. Cancelling leaves it running."""
        delay_s = _FIRST_DELAY_S
        while True:
            started = time.monotonic()
            await self._wait_gone_rotating()
            if time.monotonic() - started > _STABLE_AFTER_S:
                delay_s = _FIRST_DELAY_S
            log.error("%s died (%s); starting it again\n%s", self.title, self._exit_text(), self.log_end())
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _MAX_DELAY_S)
            try:
                await start()
            except GatewayError as exc:
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
    unfinished = path.with_suffix(".unfinished")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror}", hint="free some space, or check its rights") from exc
