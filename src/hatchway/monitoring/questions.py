"""What the monitor is asked over its socket: one line of JSON a connection, answered by lines of JSON.

{"ask": "report", "api": "iris", "window_s": 3600}   a MonitoringReport, or null for an API that is not watched
{"ask": "verdicts"}                                  {API: ApiVerdict}, at once and after every change
{"ask": "accept", "api": "iris", "fields": null, "by": "ada@lab"}  an AcceptedChange; fields: null for all that drift
{"ask": "undo", "api": "iris", "by": "ada@lab"}      the AcceptedChange that was taken back

The last two answer {"refused": why, "hint": what would help} where there is nothing to accept or to take back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Any

from hatchway.monitoring.accepting import NothingToAccept, NothingToUndo, Word
from hatchway.monitoring.monitor import Monitor

log = logging.getLogger("monitor")

LONGEST_QUESTION_BYTES = 64 * 1024
MOST_UNREAD_BYTES = 4 * 1024 * 1024


class Questions:
    """Answers for one monitor. `on_word`: what somebody said may have made windows due again."""

    def __init__(self, monitor: Monitor, on_word: Callable[[], None] = lambda: None) -> None:
        self._monitor = monitor
        self._on_word = on_word
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
            elif question["ask"] in ("accept", "undo"):
                writer.write(json.dumps(self._take_word(question)).encode() + b"\n")
                await writer.drain()
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError) as exc:
            log.warning("a question could not be answered: %s", exc)
        finally:
            writer.close()

    def _take_word(self, question: Mapping[str, Any]) -> dict[str, Any]:
        api, word = str(question["api"]), Word(str(question["by"]), time.time())
        try:
            if question["ask"] == "accept":
                changed = self._monitor.accept(api, question["fields"], word)
            else:
                changed = self._monitor.undo(api, word)
        except NothingToAccept as exc:
            return _refusal(api, exc)
        except NothingToUndo:
            return {"refused": f"nothing was accepted of {api} that could be taken back", "hint": f"hatchway get {api}"}
        self.tell()
        self._on_word()
        return changed.model_dump()

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


def _refusal(api: str, exc: NothingToAccept) -> dict[str, str]:
    if not exc.drifting:
        return {"refused": f"no field of {api} drifts, so there is nothing to accept", "hint": f"hatchway get {api}"}
    return {"refused": f"no drift of {', '.join(exc.strangers)}", "hint": f"what drifts: {', '.join(exc.drifting)}"}
