"""A project of one small API and a shell beside it; what each test needs besides is written into the project."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from textwrap import dedent
from typing import Any

import orjson
import pytest

from tests.shell import Shell, a_shell

HANDLER = """
import os

class Handler:
    def __init__(self, config):
        self.version = config.get("version", 1)

    def handle_post(self, payload):
        return {"got": payload, "version": self.version, "pid": os.getpid()}
"""

YAML = """
name: echo
handler: {path: handler.py}
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "hatchway.yaml").write_text(YAML)
    (folder / "handler.py").write_text(HANDLER)
    with a_shell(folder) as shell:
        yield shell
        shell.run("hatchway down")
        assert shell.processes() == []
        assert shell.sockets() == []


@pytest.fixture
def write(shell: Shell) -> Callable[[str, str], None]:
    """write("handler.py", "...") puts a file into the project."""

    def write_file(name: str, text: str) -> None:
        (shell.folder / name).write_text(dedent(text))

    return write_file


@pytest.fixture
def receiver() -> Iterator[tuple[str, Queue[Any]]]:
    """The address of a webhook's receiver, and what it was sent."""
    got: Queue[Any] = Queue()

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.put(orjson.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hooks/hunter2", got
    server.shutdown()
    server.server_close()
