"""Waiting, watching and following logs while engines come and go: a real server ends, and another takes its place."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from hatchway import AsyncClient, Client
from hatchway.client import LogSeen, ProgressEvent, StatusSeen
from hatchway.client.calls import LogFilters
from hatchway.client.events import Deleted
from hatchway.client.following import LogFeed, LogPosition, WatchFeed
from hatchway.errors import DeployFailed, EngineUnavailable, NotFound, TimedOut, UsageError
from hatchway.spec.status import DeployResult, LogLine
from tests.control_api.memory_plane import MemoryPlane, a_line, an_api, served, served_at

RESULT = DeployResult(
    name="iris", kind="RealtimeAPI", status="starting", revision="r1", endpoint="http://x/iris", message="created"
)
STARTING, LIVE = an_api(status="starting", reason="Loading"), an_api()

Wait = Callable[[Path, float | None, Callable[[ProgressEvent], None]], Coroutine[Any, Any, DeployResult]]


async def wait_async(socket: Path, timeout_s: float | None, report: Callable[[ProgressEvent], None]) -> DeployResult:
    async with AsyncClient(socket=socket) as client:
        return await client.wait(RESULT, timeout_s=timeout_s, on_progress=report)


async def wait_in_thread(
    socket: Path, timeout_s: float | None, report: Callable[[ProgressEvent], None]
) -> DeployResult:
    def wait() -> DeployResult:
        with Client(socket=socket) as client:
            return client.wait(RESULT, timeout_s=timeout_s, on_progress=report)

    return await asyncio.to_thread(wait)


@pytest.fixture
def socket() -> Iterator[Path]:
    """A path that servers come to and go from, as engines do in the folder of their home's sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder) / "engine.sock"


@pytest.fixture
def plane(tmp_path: Path) -> MemoryPlane:
    plane = MemoryPlane(tmp_path)
    plane.change(STARTING)
    return plane


class Told:
    """What a waiting client reported; `first` is set when there is something."""

    def __init__(self) -> None:
        self.events: list[ProgressEvent] = []
        self.first = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self, event: ProgressEvent) -> None:
        self.events.append(event)
        self._loop.call_soon_threadsafe(self.first.set)

    @property
    def statuses(self) -> list[str]:
        return [event.status.status for event in self.events if isinstance(event, StatusSeen)]

    @property
    def messages(self) -> list[str]:
        return [event.line.message for event in self.events if isinstance(event, LogSeen)]


# --- waiting for a deploy --------------------------------------------------------------------------------------
@pytest.mark.parametrize("wait", [wait_async, wait_in_thread])
async def test_a_wait_goes_on_with_the_next_engine(wait: Wait, socket: Path, plane: MemoryPlane) -> None:
    told = Told()
    plane.change(line=a_line("loading"))
    async with served_at(socket, plane):
        waiting = asyncio.create_task(wait(socket, None, told))
        await told.first.wait()
        while told.messages != ["loading"]:
            told.first.clear()
            await told.first.wait()
    plane.change(LIVE, line=a_line("loaded"))
    async with served_at(socket, plane):
        assert (await waiting).status == "live"
    assert told.statuses == ["starting", "live"]
    assert told.messages in (["loading"], ["loading", "loaded"])  # a live API is not listened to any longer


@pytest.mark.parametrize("wait", [wait_async, wait_in_thread])
async def test_a_wait_ends_at_its_limit_also_without_an_engine(wait: Wait, socket: Path, plane: MemoryPlane) -> None:
    told = Told()
    async with served_at(socket, plane):
        waiting = asyncio.create_task(wait(socket, 0.5, told))
        await told.first.wait()
    with pytest.raises(TimedOut, match=r"not live within 0.5 s: Loading"):
        await waiting


async def test_a_wait_for_what_was_deleted_meanwhile_fails(socket: Path, plane: MemoryPlane) -> None:
    told = Told()
    async with served_at(socket, plane):
        waiting = asyncio.create_task(wait_async(socket, None, told))
        await told.first.wait()
    plane.change(gone="iris")
    async with served_at(socket, plane):
        with pytest.raises(DeployFailed, match="was deleted"):
            await waiting


async def test_a_wait_ends_when_hatchway_is_taken_down(plane: MemoryPlane) -> None:
    told = Told()
    async with served(plane) as socket:
        waiting = asyncio.create_task(wait_async(socket, None, told))
        await told.first.wait()
    with pytest.raises(EngineUnavailable, match="taken down"):
        await waiting


# --- watching and logs -----------------------------------------------------------------------------------------
async def test_a_watch_goes_on_with_the_next_engine_and_says_nothing_twice(socket: Path, plane: MemoryPlane) -> None:
    async with AsyncClient(socket=socket) as client:
        watching = client.watch("iris")
        async with served_at(socket, plane):
            assert await anext(watching) == STARTING
        async with served_at(socket, plane):
            following = asyncio.ensure_future(anext(watching))
            for _ in range(2):  # both engines have told of what it was
                await asyncio.to_thread(plane.watched.get, timeout=20)
            plane.change(LIVE)
            assert await following == LIVE
            plane.change(gone="iris")
            assert [event async for event in watching] == []


async def test_followed_logs_go_on_with_the_next_engine(socket: Path, plane: MemoryPlane) -> None:
    plane.lines += [a_line("one"), a_line("same"), a_line("same")]
    async with AsyncClient(socket=socket) as client:
        lines = client.logs("iris", follow=True)
        async with served_at(socket, plane):
            assert [(await anext(lines)).message for _ in range(3)] == ["one", "same", "same"]
        plane.lines += [a_line("same"), a_line("two")]
        async with served_at(socket, plane):
            assert [(await anext(lines)).message for _ in range(2)] == ["same", "two"]


async def test_without_an_engine_nothing_is_watched(socket: Path) -> None:
    async with AsyncClient(socket=socket) as client:
        with pytest.raises(EngineUnavailable):
            await anext(client.watch("iris"))
        with pytest.raises(EngineUnavailable):
            await anext(client.logs("iris", follow=True))


async def test_what_was_never_there_is_not_found(plane: MemoryPlane) -> None:
    async with served(plane) as socket, AsyncClient(socket=socket) as client:
        with pytest.raises(NotFound):
            await anext(client.watch("nobody"))


# --- where to go on --------------------------------------------------------------------------------------------
def lines_at(*texts: str) -> list[LogLine]:
    return [a_line(text, time=f"2026-01-01T00:00:{text[:2]}.000Z") for text in texts]


def test_lines_that_come_again_are_not_new() -> None:
    position = LogPosition()
    first, second, third = lines_at("01 a", "02 b", "03 c")
    assert all(position.is_new(line) for line in (first, second))
    position.resume()
    assert [position.is_new(line) for line in (first, second, third)] == [False, False, True]
    assert position.is_new(third)  # the same words in the same moment, twice


def test_reading_goes_on_a_little_before_the_newest_line() -> None:
    position = LogPosition()
    for line in lines_at("10 a", "09 b of another replica"):
        position.is_new(line)
    assert position.since == 1767225610 - 2


def test_a_time_that_is_none_moves_nothing() -> None:
    position = LogPosition()
    assert position.is_new(a_line("what a handler wrote itself", time="yesterday"))
    assert position.since is None


@pytest.mark.parametrize(("since", "again"), [(None, None), ("10s", "15.000s")])
def test_before_the_first_line_logs_are_asked_for_as_before(since: str | None, again: str | None) -> None:
    feed = LogFeed("iris", LogFilters(replica="r", since=since))
    assert feed.stream(100.0).params.get("since") == since
    stream = feed.stream(105.0)
    assert stream.params.get("since") == again
    assert (stream.params["replica"], stream.params["follow"]) == ("r", "1")


def test_what_is_followed_has_no_limit() -> None:
    with pytest.raises(UsageError, match="do not go together"):
        LogFeed("iris", LogFilters(max_bytes=200_000))


def test_a_watch_asks_for_the_lines_of_the_absence() -> None:
    feed = WatchFeed("iris", logs=True, since_s=1)
    assert feed.stream(100.0).params == {"logs": "1", "since": "1.000s"}
    assert feed.stream(105.0).params == {"logs": "1", "since": "6.000s"}


def test_a_stream_that_ends_before_its_api_has_lost_its_engine() -> None:
    feed = WatchFeed("iris", logs=False)
    feed.see(LIVE)
    with pytest.raises(EngineUnavailable):
        feed.close()
    assert feed.see(Deleted()) is None
    feed.close()
