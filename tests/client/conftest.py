"""Both clients against a real server on a real socket, whose plane keeps its APIs in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hatchway import AsyncClient, Client
from tests.control_api.memory_plane import MemoryPlane, RunningPlane, served, served_in_thread

YAML = "- name: iris\n  handler: {path: handler.py}\n- name: text\n  handler: {path: handler.py}\n"
HANDLER = "def predict(payload):\n    return payload\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment is the client's input: it names the home."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HATCHWAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "hatchway.yaml").write_text(YAML)
    (folder / "handler.py").write_text(HANDLER)
    return folder


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningPlane]:
    with served_in_thread(tmp_path) as running:
        yield running


@pytest.fixture
def client(running: RunningPlane) -> Iterator[Client]:
    with Client(socket=running.socket) as client:
        yield client


@pytest.fixture
async def served_plane(tmp_path: Path) -> AsyncIterator[tuple[MemoryPlane, AsyncClient]]:
    plane = MemoryPlane(tmp_path)
    async with served(plane) as socket, AsyncClient(socket=socket) as client:
        yield plane, client
