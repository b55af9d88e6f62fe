from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hatchway import Client
from hatchway.cli.watch import every_list
from tests.control_api.memory_plane import MemoryPlane, an_api, served_at


async def test_the_list_goes_on_with_the_next_engine(tmp_path: Path) -> None:
    plane = MemoryPlane(tmp_path)
    plane.change(an_api("iris"))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        socket = Path(folder) / "engine.sock"
        with Client(socket=socket) as client:
            states = every_list(client)
            async with served_at(socket, plane):
                assert [api.name for api in await asyncio.to_thread(next, states)] == ["iris"]
            following = asyncio.create_task(asyncio.to_thread(next, states))
            plane.change(an_api("text"))
            async with served_at(socket, plane):
                assert [api.name for api in await following] == ["iris", "text"]
