"""A user's shell with a Hatchway of its own: the real CLI, in a home that nobody else uses, on a free port.

Documentation and examples are tested with it: `commands_of` reads the commands out of a Markdown page, `Shell.run`
runs them as written. Calls of curl are sent with httpx, so that the tests need no curl.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hatchway.settings import DEFAULT_GATEWAY_PORT, home_hash

REPOSITORY = Path(__file__).resolve().parent.parent
COMMAND_LIMIT_S = 120  # the longest single command: building an environment on a busy machine
EXIT_TIMED_OUT = 124  # as of timeout(1)


@dataclass(frozen=True)
class Block:
    """One fenced block of a Markdown page."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """One command per line; lines that end in a backslash go on, comments are dropped."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a Markdown page, in order."""
    return [Block(found[1], found[2]) for found in re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```$", page, re.M | re.S)]


def first_block(page: str, language: str) -> Block | None:
    return next((block for block in blocks_of(page) if block.language == language), None)


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    command: str
    status: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"$ {self.command}\n{self.stdout}{self.stderr}[exit status {self.status}]"

    def json(self) -> Any:
        return json.loads(self.stdout)


class Shell:
    """Runs commands in `folder`, with HATCHWAY_HOME at `home`."""

    def __init__(self, folder: Path, home: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.home = home
        self.environ = dict(environ)

    def run(self, command: str, *, expect: int | None = 0) -> Finished:
        """Run one line of bash, or send one curl. Fails the test when the exit status is not `expect`."""
        finished = self._send(command) if command.lstrip().startswith("curl ") else self._execute(command)
        assert expect is None or finished.status == expect, f"{finished}\n{self.engine_log()}"
        return finished

    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.run('hatchway status -o json').json()['gateway']['port']}"

    def engine_log(self) -> str:
        """The end of the engine's log, for messages of failed tests."""
        logs = sorted((self.home / "logs").glob("*.log")) if self.home.exists() else []
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)

    def processes(self) -> list[str]:
        """Every process of this home that is alive, as 'pid: command line'."""
        marks = (f"HATCHWAY_HOME={self.home}".encode(), f"HATCHWAY_PROCESS={home_hash(self.home)}:".encode())
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environ = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it has ended meanwhile, or belongs to somebody else
            if any(entry.startswith(mark) for entry in environ for mark in marks):
                found.append(f"{folder.name}: {command}")
        return found

    def sockets(self) -> list[Path]:
        """What is left in the folder of this home's sockets."""
        return [path for path in Path(self.environ["XDG_RUNTIME_DIR"]).rglob("*") if not path.is_dir()]

    def _execute(self, command: str) -> Finished:
        started = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            stdout, stderr = started.communicate(timeout=COMMAND_LIMIT_S)
        except subprocess.TimeoutExpired:
            started.kill()
            stdout, stderr = started.communicate()
            return Finished(command, EXIT_TIMED_OUT, stdout, f"{stderr}\nstill running after {COMMAND_LIMIT_S} s\n")
        return Finished(command, started.returncode, stdout, stderr)

    def _send(self, command: str) -> Finished:
        words = iter(shlex.split(command, comments=True)[1:])
        url, method, headers, body = "", None, {}, None
        for word in words:
            match word:
                case "-H":
                    name, _, value = next(words).partition(":")
                    headers[name] = value.strip()
                case "-d" | "--data-binary":
                    text = next(words)
                    body = (self.folder / text[1:]).read_bytes() if text.startswith("@") else text.encode()
                case "-X":
                    method = next(words)
                case _:
                    url = word
        url = re.sub(rf"http://(localhost|127\.0\.0\.1):{DEFAULT_GATEWAY_PORT}", self.gateway_url(), url)
        answer = httpx.request(method or ("POST" if body else "GET"), url, headers=headers, content=body, timeout=30)
        return Finished(command, 0 if answer.is_success else 22, answer.text, f"HTTP {answer.status_code}\n")


@contextmanager
def a_shell(folder: Path) -> Iterator[Shell]:
    """A shell in `folder` whose Hatchway is down and forgotten afterwards, whatever happened in between."""
    root = Path(tempfile.mkdtemp(prefix="hw-", dir="/tmp"))
    home, runtime = root / "home", root / "run"
    runtime.mkdir(mode=0o700)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HATCHWAY_") and name not in ("VIRTUAL_ENV", "CONDA_PREFIX")
    }
    environ = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HATCHWAY_HOME": str(home),
        "HATCHWAY_GATEWAY_PORT": "0",
        "HATCHWAY_DASHBOARD_PORT": "0",
        "XDG_RUNTIME_DIR": str(runtime),
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }
    shell = Shell(folder, home, environ)
    try:
        yield shell
    finally:
        shell.run("hatchway down", expect=None)
        shutil.rmtree(root, ignore_errors=True)
