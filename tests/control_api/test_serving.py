"""The engine's socket: private, replaced when stale, and left alone when it is somebody else's."""

from __future__ import annotations

import asyncio
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hatchway.control_api.app import make_app, serve
from hatchway.errors import StorageError

from .memory_plane import MemoryPlane, an_api, served
from .test_app import connected


async def test_only_this_user_can_connect_and_no_signal_handler_is_touched(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with served(MemoryPlane(tmp_path)) as socket, connected(socket) as http:
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert (await http.get("/v1/status")).status_code == 200
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert not socket.exists()


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    async with served(MemoryPlane(tmp_path)) as socket:
        await _serve_another_for_a_moment(tmp_path, socket)


async def test_the_socket_of_the_next_engine_is_left_alone(tmp_path: Path) -> None:
    async with served(MemoryPlane(tmp_path)) as socket:
        next_one = socket.with_name("next")
        task = asyncio.create_task(serve(make_app(MemoryPlane(tmp_path)), next_one))
        async with connected(next_one) as http:
            await http.get("/v1/status")
        next_one.unlink()
        next_one.write_text("of the next engine")
        task.cancel()
        await asyncio.wait([task])
        assert next_one.exists()


async def _serve_another_for_a_moment(folder: Path, socket: Path) -> None:
    task = asyncio.create_task(serve(make_app(MemoryPlane(folder)), socket))
    async with connected(socket) as http:
        assert (await http.get("/v1/apis")).json() == []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_stopping_does_not_wait_for_streams(tmp_path: Path) -> None:
    plane = MemoryPlane(tmp_path)
    plane.change(an_api())
    async with served(plane) as socket, connected(socket) as http:
        response = await http.send(http.build_request("GET", "/v1/apis/iris/watch"), stream=True)
        lines = response.aiter_lines()
        await anext(lines)
    rest = asyncio.create_task(_read_all(lines))  # the server is gone: this ends, in whatever way
    await asyncio.wait([rest])
    rest.exception()


async def _read_all(lines: AsyncIterator[str]) -> None:
    async for _ in lines:
        pass


async def test_a_place_where_no_socket_can_be_is_a_storage_error(tmp_path: Path) -> None:
    app = make_app(MemoryPlane(tmp_path))
    for path in (tmp_path / "nowhere" / "s", tmp_path / ("x" * 120)):
        with pytest.raises(StorageError, match="cannot listen"):
            await serve(app, path)
