"""What tests say to a shell's Hatchway, and how they wait for what it makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hatchway import Client
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
