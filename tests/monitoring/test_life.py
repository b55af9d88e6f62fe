"""The monitor's process from the inside: what takes long goes on beside the rest."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hatchway.contract import SampleTerms
from hatchway.monitoring.frames import Frame, Table
from hatchway.monitoring.life import Life, Places
from hatchway.monitoring.panes import Key, Known, Pane
from hatchway.monitoring.store import HOUR_S, MINUTE_S, PaneStore
from hatchway.monitoring.terms import Watched, to_json

DEADLINE_S = 60


class SlowReader(PaneStore):
    """What a thread reads by; the first pane waits for a word."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, is_for_thread=True)
        self.is_reading, self.may_go_on = threading.Event(), threading.Event()

    def load(self, key: Key, name: str | None = None) -> Pane | None:
        self.is_reading.set()
        self.may_go_on.wait(DEADLINE_S)
        return super().load(key, name)


@asynccontextmanager
async def living(folder: Path, store: PaneStore, reader: PaneStore) -> AsyncIterator[Path]:
    """The monitor's socket, for as long as the block lasts."""
    for name in ("sockets", "replicas"):
        (folder / name).mkdir()
    places = Places(folder / "monitor.sock", folder, folder / "sockets", folder / "replicas")
    leaving = asyncio.Event()
    async with asyncio.timeout(DEADLINE_S):
        life = asyncio.create_task(Life(places, store, reader).live(leaving))
        try:
            while not places.socket.exists():  # noqa: ASYNC110 (a name in a folder tells nobody)
                await asyncio.sleep(0.01)
            yield places.socket
        finally:
            leaving.set()
            await life


async def ask(socket: Path, **question: Any) -> Any:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(json.dumps(question).encode() + b"\n")
    try:
        return json.loads(await reader.readline())
    finally:
        writer.close()


def save_an_hour(store: PaneStore) -> None:
    """Of the hour before this one."""
    start = int(time.time()) // HOUR_S * HOUR_S - HOUR_S
    pane, known = Pane(), Known()
    pane.add(Frame(3, 3, {"input": Table(3, {"age": [random.random() for _ in range(3)]})}), known)
    pane.settle()
    store.save({Key("iris", "r1", MINUTE_S, start): pane}, {("iris", "r1"): known})


async def test_reports_are_answered_while_a_window_is_looked_at() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / "terms.json").write_text(to_json({"iris": Watched("r1", SampleTerms())}))
        with PaneStore(folder / "m.db") as store, SlowReader(folder / "m.db") as reader:
            save_an_hour(store)
            async with living(folder, store, reader) as socket:
                await asyncio.to_thread(reader.is_reading.wait, DEADLINE_S)
                report = await ask(socket, ask="report", api="iris", window_s=3 * HOUR_S)
                assert (report["seen"], report["fields"][0]["drift"]) == (3, None)
                assert not reader.may_go_on.is_set()
                refused = await ask(socket, ask="accept", api="iris", fields=None, by="ada@lab")
                assert refused["refused"] == "no field of iris drifts, so there is nothing to accept"
                reader.may_go_on.set()
                while report["fields"][0]["drift"] is None:
                    report = await ask(socket, ask="report", api="iris", window_s=3 * HOUR_S)
                assert report["fields"][0]["drift"]["verdict"] == "no_baseline"
