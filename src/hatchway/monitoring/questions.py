"""What the monitor is asked over its socket: one line of JSON a connection, answered by lines of JSON.

{"ask": "report", "api": "iris", "window_s": 3600}   a MonitoringReport, or null for an API that is not watched
{"ask": "verdicts"}                                  {API: ApiVerdict}, at once and after every change
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time

from hatchway.monitoring.monitor import Monitor

log = logging.getLogger("monitor")

LONGEST_QUESTION_BYTES = 64 * 1024
MOST_UNREAD_BYTES = 4 * 1024 * 1024


class Questions:
    """Answers for one monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """There are other verdicts than before."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the engine leaves or the monitor does."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._answer(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            question = json.loads(await reader.readline())
            if question["ask"] == "report":
                report = self._monitor.report(str(question["api"]), float(question["window_s"]), time.time())
                writer.write((b"null" if report is None else report.model_dump_json().encode()) + b"\n")
                await writer.drain()
            elif question["ask"] == "verdicts":
                await self._follow(reader, writer)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            log.warning("a question could not be answered: %s", exc)
        finally:
            writer.close()

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = asyncio.ensure_future(reader.read(1))
        try:
            while not left.done():
                changed = asyncio.ensure_future(self._changed.wait())
                verdicts = {api: one.model_dump() for api, one in self._monitor.verdicts().items()}
                writer.write(json.dumps(verdicts).encode() + b"\n")
                await writer.drain()
                await asyncio.wait([left, changed], return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
        finally:
            left.cancel()
