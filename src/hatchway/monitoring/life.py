"""The life of the monitor's process: listen to replicas, save, judge and answer until told to leave."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchway.monitoring import training_data
from hatchway.monitoring.frames import Frame
from hatchway.monitoring.monitor import Monitor
from hatchway.monitoring.prediction_log import PredictionLogs
from hatchway.monitoring.questions import LONGEST_QUESTION_BYTES, Questions
from hatchway.monitoring.replicas import LOOK_S, Replicas
from hatchway.monitoring.store import PaneStore
from hatchway.monitoring.terms import Watched, from_json

log = logging.getLogger("monitor")

SAVE_S = 5.0  # what a kill -9 may lose
ROLL_UP_S = 60.0


@dataclass(frozen=True)
class Places:
    """Where things are. `folder` is the monitor's own: its database, the terms, the prediction logs."""

    socket: Path
    folder: Path
    replica_sockets: Path
    replica_folders: Path


def run(places: Places) -> None:
    """Until told to leave by SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    with PaneStore(places.folder / "monitoring.db") as store, store.reader() as reader:
        asyncio.run(_until_terminated(Life(places, store, reader)))


async def _until_terminated(life: Life) -> None:
    leaving = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leaving.set)
    gc.collect()
    gc.freeze()
    await life.live(leaving)


class Life:
    """`reader` is for the thread that looks at windows: that takes seconds when something is to be learnt."""

    def __init__(self, places: Places, store: PaneStore, reader: PaneStore) -> None:
        self._places = places
        self._reader = reader
        self._stops = threading.Event()  # what threads do
        self._logs = PredictionLogs(places.folder / "predictions")
        self._monitor = Monitor(store, self._logs)
        self._may_judge, self._may_read = asyncio.Event(), asyncio.Event()
        self._questions = Questions(self._monitor, self._may_judge.set)
        self._replicas = Replicas(places.replica_sockets, places.replica_folders, self._take)
        self._apis: Mapping[str, Watched] = {}
        self._terms_mtime_ns = -1
        self._due = {self._save: 0.0, self._roll_up: 0.0}

    async def live(self, leaving: asyncio.Event) -> None:
        """Until `leaving` is set. What takes seconds or minutes goes on beside it, in threads."""
        loop = asyncio.get_running_loop()
        self._look()
        listener = _listen(self._places.socket)
        server = await asyncio.start_unix_server(self._questions.answer, sock=listener, limit=LONGEST_QUESTION_BYTES)
        log.info("monitor %d listens on %s", os.getpid(), self._places.socket)
        beside = [loop.create_task(part, name=name) for name, part in self._beside().items()]
        while not leaving.is_set():
            self._do_what_is_due(loop.time())
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await leaving.wait()
            self._look()
        self._stops.set()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        server.close()
        await self._replicas.stop()
        self._save()
        self._logs.close()
        log.info("monitor %d leaves", os.getpid())

    def _take(self, api: str, revision: str, frame: Frame) -> None:
        try:
            self._monitor.take(api, revision, frame, time.time())
        except sqlite3.Error as exc:
            log.error("%s", exc)  # noqa: TRY400 (the message says it all)

    def _look(self) -> None:
        """At what there is to watch."""
        terms = self._places.folder / "terms.json"
        try:
            mtime_ns = terms.stat().st_mtime_ns
            has_news = mtime_ns != self._terms_mtime_ns
            if has_news:
                self._apis = from_json(terms.read_text())
                self._terms_mtime_ns = mtime_ns
                self._monitor.watch(self._apis, time.time())
                self._may_judge.set()
                self._may_read.set()
                self._questions.tell()
            self._replicas.look(self._apis, has_news=has_news)
        except (OSError, ValueError, TypeError, sqlite3.Error) as exc:
            log.warning("cannot look: %s", exc)

    def _do_what_is_due(self, now: float) -> None:
        for action, every_s in ((self._save, SAVE_S), (self._roll_up, ROLL_UP_S)):
            if self._due[action] <= now:
                self._due[action] = now + every_s
                try:
                    action()
                except sqlite3.Error as exc:  # a full disk is no reason to end: it may have room again
                    log.error("%s", exc)  # noqa: TRY400 (the message says it all)

    def _save(self) -> None:
        self._monitor.save(time.time())

    def _beside(self) -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "judging": self._whenever(self._may_judge, self._judge),
            "training data": self._whenever(self._may_read, self._read),
        }

    async def _whenever(self, told: asyncio.Event, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            await told.wait()
            told.clear()
            try:
                await action()
            except Exception:  # a full disk, say: it is tried again when there is news
                log.exception("what the monitor does beside listening failed")

    async def _judge(self) -> None:
        while (due := self._monitor.due()) is not None:
            found = await asyncio.to_thread(self._monitor.look, due, self._reader)
            self._monitor.keep(due, found)
            self._questions.tell()

    async def _read(self) -> None:
        for api, watched, path in self._monitor.unread():
            fields, why = None, ""
            try:
                fields = await asyncio.to_thread(training_data.read, path, self._stops.is_set)
            except (OSError, ValueError) as exc:
                why = str(exc)
            self._monitor.take_data(api, watched, fields, why)
            self._may_judge.set()
            self._questions.tell()

    def _roll_up(self) -> None:
        self._monitor.roll_up(time.time())
        self._may_judge.set()
        self._questions.tell()  # fields that came since may fit no column


def _listen(path: Path) -> socket.socket:
    """A socket that listens before its name appears, in place of one that may be there."""
    unnamed = path.with_suffix(".new")
    unnamed.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(unnamed))
    unnamed.chmod(0o600)
    sock.listen()
    unnamed.replace(path)
    return sock
