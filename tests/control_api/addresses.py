"""A control API at an address, with a token, as an operator has one: its plane keeps its APIs in memory."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hatchway.control_api.app import make_app
from hatchway.control_api.listener import Listener
from hatchway.control_api.serving import Beside, serve
from hatchway.settings import Settings
from tests.control_api.memory_plane import MemoryPlane, RunningPlane


@dataclass(frozen=True)
class AtAddress:
    running: RunningPlane
    url: str
    token: str

    @property
    def plane(self) -> MemoryPlane:
        return self.running.plane


@contextmanager
def at_address(folder: Path) -> Iterator[AtAddress]:
    """In a thread, for clients that block. Paths of this machine are refused there."""
    ready, found, done = threading.Event(), list[AtAddress](), list[Callable[[], object]]()

    async def main(runtime: str) -> None:
        environ = {"HATCHWAY_HOME": str(folder), "XDG_RUNTIME_DIR": runtime, "HATCHWAY_DASHBOARD_PORT": "0"}
        settings = Settings.from_environment(environ)
        settings.prepare()
        listener, plane = Listener(settings), MemoryPlane(folder)
        listener.open()
        apps = make_app(plane), listener.app(make_app(plane, accepts_paths=False))
        serving = asyncio.create_task(serve(apps[0], settings.engine_socket, Beside(listener.socket, apps[1])))
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        running = RunningPlane(plane, loop, settings.engine_socket)
        found.append(AtAddress(running, listener.url, settings.dashboard_token.read_text().strip()))
        done.append(lambda: loop.call_soon_threadsafe(end.set))
        ready.set()
        await end.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    with tempfile.TemporaryDirectory(dir="/tmp", prefix="hw") as runtime:
        thread = threading.Thread(target=asyncio.run, args=(main(runtime),))
        thread.start()
        ready.wait()
        try:
            yield found[0]
        finally:
            done[0]()
            thread.join()
