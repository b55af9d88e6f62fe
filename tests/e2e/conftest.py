"""A project of one small API and a shell beside it; what each test needs besides is written into the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

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
