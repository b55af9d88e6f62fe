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
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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
JUDGE_S = 60.0


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
    with PaneStore(places.folder / "monitoring.db") as store:
        asyncio.run(_Life(places, store).live())


class _Life:
    def __init__(self, places: Places, store: PaneStore) -> None:
        self._places = places
        self._logs = PredictionLogs(places.folder / "predictions")
        self._monitor = Monitor(store, self._logs)
        self._questions = Questions(self._monitor)
        self._replicas = Replicas(places.replica_sockets, places.replica_folders, self._take)
        self._apis: Mapping[str, Watched] = {}
        self._terms_mtime_ns = -1
        self._has_news = False
        self._due = {self._save: 0.0, self._roll_up: 0.0, self._judge: 0.0}

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        leaving = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, leaving.set)
        self._look()
        listener = _listen(self._places.socket)
        server = await asyncio.start_unix_server(self._questions.answer, sock=listener, limit=LONGEST_QUESTION_BYTES)
        log.info("monitor %d listens on %s", os.getpid(), self._places.socket)
        gc.collect()
        gc.freeze()
        while not leaving.is_set():
            self._do_what_is_due(loop.time())
            await self._read_training_data()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await leaving.wait()
            self._look()
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
                self._terms_mtime_ns, self._has_news = mtime_ns, True
                self._monitor.watch(self._apis, time.time())
                self._questions.tell()
            self._replicas.look(self._apis, has_news=has_news)
        except (OSError, ValueError, TypeError, sqlite3.Error) as exc:
            log.warning("cannot look: %s", exc)

    def _do_what_is_due(self, now: float) -> None:
        for action, every_s in ((self._save, SAVE_S), (self._roll_up, ROLL_UP_S), (self._judge, JUDGE_S)):
            if self._due[action] <= now:
                self._due[action] = now + every_s
                try:
                    action()
                except sqlite3.Error as exc:  # a full disk is no reason to end: it may have room again
                    log.error("%s", exc)  # noqa: TRY400 (the message says it all)

    def _save(self) -> None:
        self._monitor.save(time.time())

    def _judge(self) -> None:
        """One window at a time, with the replicas heard in between: some take a second."""
        if self._monitor.judge(time.time()):
            self._due[self._judge] = 0.0
            self._questions.tell()

    async def _read_training_data(self) -> None:
        for api, watched, path in self._monitor.unread() if self._has_news else ():
            fields, why = None, ""
            try:
                fields = await asyncio.to_thread(training_data.read, path)
            except (OSError, ValueError) as exc:
                why = str(exc)
            self._monitor.take_data(api, watched, fields, why)
            self._questions.tell()
        self._has_news = False

    def _roll_up(self) -> None:
        self._monitor.roll_up(time.time())


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
