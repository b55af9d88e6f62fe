"""Workloads that are valid by default, a handler that does what a test tells it, and a feed of changes to wait on."""

from __future__ import annotations

import asyncio
import hashlib
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import httpx

from hatchway.backends import Backend, Replica, Workload
from hatchway.spec.api import RealtimeApi
from hatchway.spec.revision import Interpreter, ProjectFile

PATIENCE_S = 30.0

T = TypeVar("T")

# Runs the code it is sent, so that a test can make a replica misbehave in any way.
PUPPET = """
import os, signal, subprocess, sys, threading, time

class Handler:
    def __init__(self, config):
        exec(config.get("at_start", ""))

    def handle_post(self, payload):
        answer = {}
        exec(payload["code"], globals(), answer)
        return {"answer": answer.get("answer")}
"""


class ChangeFeed:
    """The backend's `on_change`, to wait on."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.apis: list[str] = []

    def __call__(self, api: str) -> None:
        self.apis.append(api)
        self._changed.set()

    async def until(self, look: Callable[[], T | None]) -> T:
        """What `look` finds, tried again after every change and, for what changes silently, every 50 ms."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := look()):
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        return found


def a_workload(
    project: Path,
    *,
    revision: str = "r1",
    api: str = "iris",
    env: dict[str, str] | None = None,
    build_env: dict[str, str] | None = None,
    python: str = sys.executable,
    **spec: object,
) -> Workload:
    """A workload whose handler is the puppet, unless the project or `handler` say otherwise."""
    handler: dict[str, object] = {"path": "handler.py", **(spec.pop("handler", None) or {})}  # type: ignore[dict-item]
    if not (project / "handler.py").exists():
        (project / "handler.py").write_text(PUPPET)
    return Workload(
        api=api,
        revision=revision,
        spec=RealtimeApi.model_validate({"name": api, "handler": handler, **spec}),
        project_dir=project,
        interpreter=this_interpreter().model_copy(update={"executable": python}),
        files=files_of(project),
        env=env or {},
        build_env=build_env or {},
    )


def files_of(project: Path) -> tuple[ProjectFile, ...]:
    """As they would be sent with a deploy."""
    return tuple(
        ProjectFile(
            path=path.relative_to(project).as_posix(),
            mode=path.stat().st_mode & 0o777,
            size=path.stat().st_size,
            sha256=digest_of(path),
        )
        for path in sorted(project.rglob("*"))
        if path.is_file()
    )


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def this_interpreter() -> Interpreter:
    return Interpreter(
        executable=sys.executable,
        version=platform.python_version(),
        abi=f"{sys.implementation.cache_tag}-{platform.machine()}",
    )


def in_state(backend: Backend, state: str, count: int = 1) -> Callable[[], Sequence[Replica]]:
    """For `ChangeFeed.until`: exactly `count` replicas, all in this state."""

    def look() -> Sequence[Replica]:
        replicas = backend.observe()
        return replicas if len(replicas) == count and all(r.state == state for r in replicas) else ()

    return look


async def tell(replica: Replica, code: str) -> object:
    """Have the puppet in a replica run code; `answer` is what it assigns to that name."""
    is_path = replica.address.startswith("/")
    transport = httpx.AsyncHTTPTransport(uds=replica.address) if is_path else None
    async with httpx.AsyncClient(transport=transport, timeout=PATIENCE_S) as client:
        url = "http://replica/" if is_path else f"http://{replica.address}/"
        response = await client.post(url, json={"code": code})
        response.raise_for_status()
        return response.json()["answer"]
