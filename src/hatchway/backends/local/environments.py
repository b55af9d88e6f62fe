"""Python environments built by `uv` from `handler.dependencies`, keyed by content and shared between revisions.

An environment is built beside its place and renamed into it, so what exists is whole. A build that was cut off leaves
a folder that the next engine removes; its process carries the mark of a build and is ended then.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import uv

from hatchway.backends import Workload
from hatchway.backends.local.launch import Python
from hatchway.backends.local.logs import ApiLogs, ReplicaLog
from hatchway.backends.local.server_packages import ServerPackages
from hatchway.contract import PROCESS_VARIABLE
from hatchway.errors import EnvironmentFailed
from hatchway.processes import Mark
from hatchway.settings import Settings

SHOWN_ERROR_LINES = 12
_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]+(\S+)")


class Environments:
    """All environments of a home. One build per environment at a time; different ones side by side."""

    def __init__(self, settings: Settings, logs: ApiLogs) -> None:
        self._settings = settings
        self._folder = settings.environments_dir
        self._server = ServerPackages(self._folder)
        self._logs = logs
        self._builds: dict[str, asyncio.Lock] = {}
        for left in self._folder.glob(".building-*"):
            shutil.rmtree(left, ignore_errors=True)

    def is_ready(self, workload: Workload) -> bool:
        place = self._place(workload)
        return place is None or place.is_dir()

    async def prepare(self, workload: Workload) -> Python:
        """What the workload's replicas run on, built if need be. Raises EnvironmentFailed."""
        place = self._place(workload)
        executable = workload.interpreter.executable
        if place is not None:
            async with self._builds.setdefault(place.name, asyncio.Lock()):
                if not place.is_dir():
                    await self._build(workload, place)
            executable = str(place / "bin" / "python")
        elif not os.access(executable, os.X_OK):
            raise EnvironmentFailed(f"the Python it was deployed with, {executable}, is gone; deploy again")
        return Python(
            executable=executable,
            server_packages=await asyncio.to_thread(self._server.compiled_for, workload.interpreter),
            asgi_packages=await asyncio.to_thread(self._server.asgi),
        )

    def prune(self, keep_revisions: frozenset[str], used: Iterable[Workload]) -> int:
        """Remove environments that no workload in use needs. Returns the bytes freed.

        The environment of a kept revision that does not run is built again when it is needed.
        """
        needed = {place.name for workload in used if (place := self._place(workload)) is not None}
        freed = 0
        for place in self._folder.glob("py-*"):
            if place.name not in needed:
                freed += sum(path.lstat().st_blocks * 512 for path in place.rglob("*") if not path.is_symlink())
                shutil.rmtree(place, ignore_errors=True)
        return freed

    def _place(self, workload: Workload) -> Path | None:
        """None: the interpreter's own environment is used."""
        requirements = workload.spec.handler.dependencies.pip
        if requirements is None:
            return None
        digest = hashlib.sha256(f"{workload.interpreter.version} {workload.interpreter.abi}\n".encode())
        for text in _texts(workload.project_dir, requirements):
            digest.update(text.encode())
        return self._folder / f"py-{digest.hexdigest()[:16]}"

    async def _build(self, workload: Workload, place: Path) -> None:
        log = self._logs.open(workload.api, workload.revision, "build")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        building = self._folder / f".building-{place.name}"
        shutil.rmtree(building, ignore_errors=True)
        requirements = str(workload.project_dir / str(workload.spec.handler.dependencies.pip))
        uv_bin = uv.find_uv_bin()
        create = [uv_bin, "venv", "--relocatable", "--python", workload.interpreter.executable, str(building)]
        python = str(building / "bin" / "python")
        install = [uv_bin, "pip", "install", "--python", python, "--requirement", requirements]
        try:
            log.say(
                "INFO", f"building the Python environment from {workload.spec.handler.dependencies.pip}", time.time()
            )
            await self._run(create, workload, log)
            await self._run(install, workload, log)
            building.rename(place)
            log.say("INFO", "the Python environment is ready", time.time())
        finally:
            shutil.rmtree(building, ignore_errors=True)

    async def _run(self, command: list[str], workload: Workload, log: ReplicaLog) -> None:
        mark = Mark(self._settings.home_hash, "build", workload.revision)
        environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=workload.project_dir,
            env=environment | {PROCESS_VARIABLE: str(mark), "NO_COLOR": "1"},
            start_new_session=True,
        )
        lines: list[str] = []
        try:
            assert process.stdout is not None
            async for raw in process.stdout:
                lines.append(raw.decode(errors="replace").rstrip())
                log.say("INFO", lines[-1], time.time())
            code = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if code != 0:
            said = "\n".join(lines[-SHOWN_ERROR_LINES:])
            raise EnvironmentFailed(f"{workload.spec.handler.dependencies.pip} cannot be installed: {said}")


def _texts(folder: Path, name: str, seen: frozenset[str] = frozenset()) -> list[str]:
    """A requirements file and those it includes, as text."""
    try:
        text = (folder / name).read_text(errors="replace")
    except OSError:
        return []
    found = [text]
    for line in text.splitlines():
        included = _INCLUDE.match(line)
        if included and included[1] not in seen:
            found += _texts(folder, included[1], seen | {name, included[1]})
    return found
