"""A model of 3 GB: stored once, never read again while it does not change, safe from what happens to its source."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.verbs import deploy, get, until
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

GB = 1000**3
MB = 1000**2
SIZE = 3 * GB
PLACES = (0, SIZE // 2, SIZE - 5)

HANDLER = """
import os

class Handler:
    def __init__(self):
        self.model = open("model.bin", "rb")

    def handle_post(self, payload):
        return [os.pread(self.model.fileno(), 5, place).decode() for place in payload]
"""


@dataclass(frozen=True)
class Reads:
    """What a process has read: through system calls, and from disks."""

    called_bytes: int
    disk_bytes: int

    @classmethod
    def of(cls, pid: int) -> Reads:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return cls(int(fields["rchar"]), int(fields["read_bytes"]))


def run_and_count(shell: Shell, *command: str) -> Reads:
    """What a command read in all: asked of it when it has ended and is not yet reaped."""
    started = subprocess.Popen(command, cwd=shell.folder, env=shell.environ, stdout=subprocess.DEVNULL)
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    reads = Reads.of(started.pid)
    assert started.wait() == 0
    return reads


def mark(file: Path, text: bytes) -> None:
    """Write into a file in place: its size and its inode stay."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
    for place in PLACES:
        os.pwrite(descriptor, text, place)
    os.close(descriptor)


def test_a_model_of_3_gb_is_stored_once_and_read_once(shell: Shell) -> None:
    if shutil.disk_usage(shell.home.parent).free < 3 * SIZE:
        pytest.skip("not enough room on the disk")
    (shell.folder / "handler.py").write_text(HANDLER)
    source = shell.folder / "model.bin"
    mark(source, b"first")  # the rest is a hole, which costs no disk here and reads like any other bytes

    endpoint = deploy(shell)["endpoint"]
    assert httpx.post(endpoint, json=PLACES).json() == ["first"] * 3
    status = shell.run("hatchway status -o json").json()
    assert SIZE <= sum(status["disk_bytes"].values()) < SIZE + 100 * MB

    engine = status["engine"]["pid"]
    before = Reads.of(engine)
    cli = run_and_count(shell, "hatchway", "deploy")
    after = Reads.of(engine)
    assert cli.called_bytes + after.called_bytes - before.called_bytes < 50 * MB
    assert cli.disk_bytes + after.disk_bytes - before.disk_bytes < 50 * MB

    revision = get(shell)["revision"]
    mark(source, b"other")
    assert httpx.post(endpoint, json=PLACES).json() == ["first"] * 3
    source.unlink()
    shell.run("hatchway down")
    shell.run("hatchway up")
    status = until(shell, lambda found: found["status"] == "live")
    assert status["revision"] == revision
    assert httpx.post(endpoint, json=PLACES).json() == ["first"] * 3
