"""What tests say to a shell's Hatchway, and how they wait for what it makes of it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hatchway import Client
from hatchway.processes import Marked, find_marked
from hatchway.settings import Settings
from tests.shell import Shell


def deploy(shell: Shell, *, expect: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = shell.run("hatchway deploy -o json", expect=expect).json()[0]
    return found


def get(shell: Shell, name: str = "echo") -> dict[str, Any]:
    found: dict[str, Any] = shell.run(f"hatchway get {name} -o json").json()
    return found


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in status["conditions"] if each["type"] == kind)


def until(shell: Shell, holds: Callable[[dict[str, Any]], bool], name: str = "echo") -> dict[str, Any]:
    """Watch the API until something holds of its status."""
    with Client(socket=engine_socket(shell)) as client:
        for status in client.watch(name):
            found: dict[str, Any] = status.model_dump(mode="json")
            if holds(found):
                return found
    raise AssertionError("the API is gone")


def engine_socket(shell: Shell) -> Path:
    return next(Path(shell.environ["XDG_RUNTIME_DIR"]).rglob("engine.sock"))


def marked(shell: Shell, role: str) -> list[Marked]:
    """Who plays a role in this home; but for keepers and engines, only the one that leads its session."""
    home_hash = Settings.from_environment(shell.environ).home_hash
    return [found for found in find_marked(home_hash) if found.mark.role == role and found.leads]


def kill_engine(shell: Shell) -> None:
    """kill -9, and wait until the next one answers."""
    pid = shell.run("hatchway status -o json").json()["engine"]["pid"]
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([handle], [], [])
    os.close(handle)
    shell.run("hatchway get")
