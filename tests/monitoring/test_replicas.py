"""Listening to replicas that the test plays: what they are asked, and what becomes of what they tell."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from hatchway.contract import SampleTerms
from hatchway.monitoring.frames import Frame
from hatchway.monitoring.replicas import Replicas
from hatchway.monitoring.terms import Watched


class Home:
    """A runtime folder with replicas, and who listens to them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hwm"))
        self.sockets, self.folders = self.folder / "r", self.folder / "replicas"
        self.sockets.mkdir()
        self.frames: asyncio.Queue[tuple[str, str, Frame]] = asyncio.Queue()
        self.asked: asyncio.Queue[SampleTerms] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []
        self.clock_ns: int | None = None  # None: that of the machine
        self.replicas = Replicas(
            self.sockets,
            self.folders,
            lambda *told: self.frames.put_nowait(told),
            lambda: self.clock_ns or time.time_ns(),
        )
        self._servers: list[asyncio.Server] = []
        self.status = b"200 OK"

    async def start(self, replica_id: str, api: str = "iris") -> None:
        (self.folders / replica_id).mkdir(parents=True, exist_ok=True)
        (self.folders / replica_id / "launch.json").write_text(json.dumps({"api": api, "revision": "r1"}))
        server = await asyncio.start_unix_server(self._answer, self.sockets / f"{replica_id}.ctl")
        self._servers.append(server)

    def look(self, *, has_news: bool = False, enabled: bool = True, log: bool = False) -> None:
        self.replicas.look({"iris": Watched("r1", SampleTerms(enabled=enabled, log=log))}, has_news=has_news)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        self.writers.append(writer)
        writer.write(b"HTTP/1.1 %b\r\n\r\n" % self.status)
        self.asked.put_nowait(SampleTerms.from_json(parse_qs(urlsplit(target).query)["terms"][0]))

    def tell(self, seen: int, end: bytes = b"\n") -> None:
        self.writers[-1].write(json.dumps({"seen": seen, "sampled": seen, "tables": {}}).encode() + end)

    async def close(self) -> None:
        await self.replicas.stop()
        for server in self._servers:
            server.close()
        for writer in self.writers:
            writer.close()
        shutil.rmtree(self.folder)


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    home = Home()
    yield home
    await home.close()


async def test_what_a_replica_tells_is_passed_on_with_its_api_and_revision(home: Home) -> None:
    await home.start("iris-1")
    home.look(log=True)
    assert (await home.asked.get()).log
    home.tell(3)
    api, revision, frame = await home.frames.get()
    assert (api, revision, frame.seen) == ("iris", "r1", 3)


async def test_a_replica_that_comes_later_is_found_and_others_are_not_asked_again(home: Home) -> None:
    await home.start("iris-1")
    home.look()
    await home.asked.get()
    await home.start("iris-2")
    await home.start("other-1", api="other")
    home.look()
    await home.asked.get()
    home.look()
    home.tell(2)
    assert (await home.frames.get())[2].seen == 2
    assert home.asked.empty()


async def test_a_replica_that_comes_within_the_same_tick_of_the_file_systems_clock_is_found(home: Home) -> None:
    await home.start("iris-1")
    home.clock_ns = tick_ns = time.time_ns()
    os.utime(home.sockets, ns=(tick_ns, tick_ns))
    home.look()
    await home.asked.get()
    await home.start("iris-2")
    os.utime(home.sockets, ns=(tick_ns, tick_ns))
    home.look()
    await home.asked.get()


async def test_new_terms_are_told_on_a_new_connection(home: Home) -> None:
    await home.start("iris-1")
    home.look()
    assert not (await home.asked.get()).log
    home.look(has_news=True, log=True)
    assert (await home.asked.get()).log


async def test_a_replica_that_is_not_monitored_is_told_so_once(home: Home) -> None:
    await home.start("iris-1")
    home.look(enabled=False)
    assert not (await home.asked.get()).enabled
    home.look(has_news=True, enabled=False)
    home.look(has_news=True, enabled=True)
    assert (await home.asked.get()).enabled


async def test_a_replica_that_samples_nothing_is_left_alone(home: Home) -> None:
    home.status = b"404 Not Found"
    await home.start("app-1")
    home.look()
    await home.asked.get()
    home.look(has_news=True)
    await asyncio.sleep(0)
    assert home.asked.empty()


async def test_a_connection_that_broke_is_made_again_and_half_a_line_is_no_frame(home: Home) -> None:
    await home.start("iris-1")
    home.look()
    await home.asked.get()
    home.tell(1, end=b"")
    home.writers[-1].close()
    await home.asked.get()
    home.tell(2)
    assert (await home.frames.get())[2].seen == 2


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[]\n", b'{"seen": "x", "sampled": 1, "tables": {}}\n', b'{"tables": 3}\n']
)
async def test_what_cannot_be_read_is_passed_over(home: Home, line: bytes) -> None:
    await home.start("iris-1")
    home.look()
    await home.asked.get()
    home.writers[-1].write(line)
    home.tell(2)
    assert (await home.frames.get())[2].seen == 2
