"""The command line in front of a real control API whose plane keeps its APIs in memory: everything but an engine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hatchway.cli.main import app
from hatchway.settings import Settings
from tests.control_api.memory_plane import RunningPlane, served_in_thread


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass
class CommandLine:
    """Runs commands in this process, with a home of its own. `running` is the engine's part, if one runs."""

    variables: dict[str, str]
    running: RunningPlane | None = None
    runner: CliRunner = field(default_factory=CliRunner)

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.variables)

    @property
    def engine(self) -> RunningPlane:
        assert self.running is not None
        return self.running

    def run(self, *arguments: str, stdin: str | bytes = "") -> Done:
        result = self.runner.invoke(app, arguments, input=stdin, env=self.variables)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[CommandLine]:
    """A home where nothing was ever deployed, and no engine."""
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        yield CommandLine({"HATCHWAY_HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": runtime, "COLUMNS": "200"})


@pytest.fixture
def cli(fresh: CommandLine, tmp_path: Path) -> Iterator[CommandLine]:
    """A home whose engine runs."""
    with served_in_thread(tmp_path / "plane") as running:
        settings = fresh.settings
        settings.prepare()
        settings.database.touch()
        settings.engine_socket.symlink_to(running.socket)
        fresh.running = running
        yield fresh


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two APIs, and the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "handler.py").write_text("class Handler:\n    def handle_post(self, payload): return payload\n")
    (folder / "hatchway.yaml").write_text(
        "- name: iris\n  handler: {path: handler.py}\n"
        "- name: recommendation-engine\n  handler: {path: handler.py}\n"
    )  # fmt: skip
    monkeypatch.chdir(folder)
    return folder
