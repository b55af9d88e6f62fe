"""A home of one's own, projects written on the spot, and a backend that runs for as long as a test."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from hatchway.backends.local import LocalBackend
from hatchway.processes import end_all
from hatchway.settings import Settings
from tests.backends.builders import ChangeFeed


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A home and a runtime folder with short paths, and no process left afterwards."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="hw"))
    settings = Settings.from_environment({"HATCHWAY_HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder)})
    settings.prepare()
    yield settings
    end_all(settings.home_hash, grace_s=0)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def feed() -> ChangeFeed:
    return ChangeFeed()


StartBackend = Callable[..., Awaitable[LocalBackend]]


@pytest.fixture
async def start_backend(settings: Settings, feed: ChangeFeed) -> AsyncIterator[StartBackend]:
    """Adopts and runs a backend; all are stopped with their replicas when the test ends."""
    running: list[tuple[LocalBackend, asyncio.Task[None]]] = []

    async def start(**options: object) -> LocalBackend:
        backend = LocalBackend(settings, feed, **options)  # type: ignore[arg-type]  # passed on as they are
        await backend.adopt()
        running.append((backend, asyncio.create_task(backend.run())))
        return backend

    yield start
    for backend, task in running:
        await abandon(task)
        await backend.stop_all(kill_after_s=2)


async def abandon(task: asyncio.Task[None]) -> None:
    """What happens to a backend's task when its engine ends."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
