"""Python environments for handlers: found, or built by `uv` and shared by all revisions that ask for the same.

An environment is named by its content (what is installed, Python version, ABI), built under another name and renamed,
so one that is there is complete. The build writes straight into the API's log; a build that was interrupted by the
end of the engine is found by its mark and ended when the next one adopts.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uv

from hatchway.backends import Workload
from hatchway.backends.local import builds
from hatchway.backends.local.exits import wait_exit
from hatchway.backends.local.interpreters import Interpreters, Python
from hatchway.backends.local.logs import ReplicaLog
from hatchway.backends.local.server_packages import ServerPackages
from hatchway.contract import PROCESS_VARIABLE
from hatchway.errors import EnvironmentFailed, StorageError
from hatchway.installing import installs
from hatchway.installing.indexes import uv_environment
from hatchway.installing.installs import Install
from hatchway.installing.uv_words import explain
from hatchway.processes import Command, Identity, Mark, find_marked, kill_tree, spawn
from hatchway.settings import Settings

BUILD_ROLE = "build"
_USES = ".hatchway-uses"  # in an environment: one empty file per revision that runs on it
_DISK_IS_FULL = "os error 28"


@dataclass(frozen=True)
class Runtime:
    """What a replica is launched with."""

    python: Python
    server_packages: str
    asgi_packages: str  # for ASGI applications and forms, where the user's environment has none of it


@dataclass(frozen=True)
class _Order:
    """For whom something is installed: whose log tells of it, whose variables say where packages come from."""

    workload: Workload
    base: Python
    log: ReplicaLog

    @property
    def project(self) -> Path:
        return self.workload.project_dir

    @property
    def file(self) -> str:
        """What says which packages."""
        return self.workload.spec.handler.dependencies.file or ""


@dataclass(frozen=True)
class _Call:
    """One run of uv; `id` is what it makes."""

    id: str
    arguments: Sequence[str]
    cwd: Path
    variables: Mapping[str, str] = field(default_factory=dict)


class Environments:
    """Finds or builds what a workload runs on.

    `owner` marks the builds, for whoever cleans up after it; None: the home's engine. Another owner has no revisions
    that are kept, so what it runs on stays until `release`.
    """

    def __init__(self, settings: Settings, now: Callable[[], float], owner: str | None = None) -> None:
        self._settings = settings
        self._root = settings.environments_dir
        self._resolutions = self._root / "resolutions"
        self._now = now
        self._owner = owner
        self._kept = ExitStack()
        self._kept_folders: set[Path] = set()
        self._interpreters = Interpreters()
        self._building: dict[str, asyncio.Task[Path]] = {}
        self._server = ServerPackages(self._root)

    async def runtime(self, workload: Workload, log: ReplicaLog) -> Runtime:
        """Raises EnvironmentFailed with uv's own explanation, and StorageError when the disk is full.

        `log` receives the output of a build.
        """
        python = await self._interpreters.probe(workload.interpreter.executable)
        order = _Order(workload, python, log)
        if workload.spec.handler.dependencies.file is not None:
            folder = await self._environment(order)
            self._note_use(folder, order)
            python = await self._interpreters.probe(str(folder / "bin" / "python"))
        async with builds.building(self._server.folder):  # two replicas of one API would both fill the same folder
            server = await self._server.server(python, partial(self._install_server_packages, order))
            asgi = self._server.asgi()
            if self._owner is not None:
                self._keep(server)
                self._keep(asgi)
        return Runtime(python, str(server), str(asgi))

    def clean_up(self) -> None:
        """End builds a former engine left running, and remove what they left behind."""
        for found in find_marked(self._settings.home_hash):
            if found.mark.role == BUILD_ROLE:
                kill_tree(found.identity, found.mark)
        left = [*builds.abandoned(self._root), *builds.abandoned(self._resolutions)]
        if not builds.is_in_use(self._server.folder):
            left += filter(builds.is_draft, self._server.folder.glob("*"))
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)

    def unused(self, keep_revisions: frozenset[str], used_paths: frozenset[str]) -> list[Path]:
        """Environments that no kept revision and no launch file in `used_paths` needs."""
        if self._building:
            return []
        environments = [path for path in self._root.glob("py*") if path.is_dir() and not builds.is_draft(path)]
        unused = [
            path for path in environments if keep_revisions.isdisjoint(_revisions(path)) and not builds.is_in_use(path)
        ]
        resolutions = [path for path in self._resolutions.glob("py*") if not builds.is_draft(path)]
        unused += [path for path in resolutions if keep_revisions.isdisjoint(_revisions(path))]
        locks = [*builds.free_locks(self._root, unused), *builds.free_locks(self._resolutions, unused)]
        return [*unused, *locks, *self._server.prune(used_paths)]

    async def cancel(self) -> None:
        """End the builds of this process."""
        tasks = list(self._building.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def release(self) -> None:
        """Nothing runs any more on what was kept."""
        self._kept.close()

    # --- which one ---------------------------------------------------------------------------------------
    async def _environment(self, order: _Order) -> Path:
        install = await self._install(order)
        name = _name(order.base, install.content)
        folder = self._root / name
        if folder.is_dir():
            return folder
        if name not in self._building:
            task = asyncio.create_task(self._build(folder, install, order), name=f"build {name}")
            task.add_done_callback(lambda _: self._building.pop(name, None))
            self._building[name] = task
        else:
            self._say_waiting(name, order)
        # Others wait for the same build: it goes on when the one that began it is stopped.
        return await asyncio.shield(self._building[name])

    async def _install(self, order: _Order) -> Install:
        if order.workload.spec.handler.dependencies.pip is not None:
            return installs.from_requirements(order.project, order.file)
        lock = installs.find_lock(order.project, order.file)
        if lock is not None:
            return installs.from_lock(order.project, order.file, lock)
        return installs.from_resolution(order.project, await self._resolution(order))

    async def _resolution(self, order: _Order) -> Path:
        """What a pyproject.toml without a lock meant when it was first seen, as a requirements file."""
        declared = installs.declaration(order.project, order.file)
        folder = self._resolutions / _name(order.base, declared)
        async with builds.building(folder, partial(self._say_waiting, folder.name, order)):
            if not folder.is_dir():
                await self._resolve(folder, order)
        self._note_use(folder, order)
        return folder / installs.RESOLVED

    async def _resolve(self, folder: Path, order: _Order) -> None:
        unfinished = builds.draft_of(folder)
        unfinished.mkdir(parents=True)
        self._say(order, f"resolving {order.file}, which has no {installs.LOCK} beside it")
        output = str(unfinished / installs.RESOLVED)
        how = ["-q", "--no-header", "--no-annotate", "--python", order.base.executable, "--output-file", output]
        try:
            await self._uv(_Call(folder.name, ["pip", "compile", *how, order.file], order.project), order)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def _note_use(self, folder: Path, order: _Order) -> None:
        """An engine's revisions keep what they run on; what another owner runs on is locked."""
        if self._owner is not None:
            self._keep(folder)
            return
        (folder / _USES).mkdir(exist_ok=True)
        (folder / _USES / order.workload.revision).touch()

    def _keep(self, folder: Path) -> None:
        if folder not in self._kept_folders:
            self._kept.enter_context(builds.kept(folder))
            self._kept_folders.add(folder)

    # --- building ----------------------------------------------------------------------------------------
    async def _build(self, folder: Path, install: Install, order: _Order) -> Path:
        async with builds.building(folder, partial(self._say_waiting, folder.name, order)):
            if not folder.is_dir():  # noqa: ASYNC240 (a look at the disk, beside a build)
                await self._fill(folder, install, order)
        return folder

    async def _fill(self, folder: Path, install: Install, order: _Order) -> None:
        unfinished = builds.draft_of(folder)
        self._say(order, f"building the Python {order.base.version_text} environment from {order.file}")
        # Relocatable: its scripts find their Python wherever the folder is moved to.
        make = ["venv", "-q", "--relocatable", "--no-project", "--python", order.base.executable, str(unfinished)]
        try:
            await self._uv(_Call(folder.name, make, order.project), order)
            arguments, variables = install.filled(unfinished)
            await self._uv(_Call(folder.name, arguments, install.cwd, variables), order)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        self._say(order, "the Python environment is ready")

    async def _install_server_packages(
        self, order: _Order, python: Python, requirements: Sequence[str], target: Path
    ) -> None:
        self._say(order, f"installing the server's packages for Python {python.version_text}")
        arguments = ["pip", "install", "--python", python.executable, "--target", str(target), *requirements]
        await self._uv(_Call(target.name, arguments, Path("/")), order)

    async def _uv(self, call: _Call, order: _Order) -> None:
        """Run uv with its output in the log. Raises EnvironmentFailed with the end of it, or StorageError."""
        mark = Mark(self._owner or self._settings.home_hash, BUILD_ROLE, call.id)
        environment = {
            **uv_environment(os.environ, order.workload.build_env),
            **call.variables,
            PROCESS_VARIABLE: str(mark),
        }
        start = order.log.stream.end()
        command = Command([uv.find_uv_bin(), *call.arguments], environment, call.cwd, order.log.path, umask=0o022)
        code = await self._wait(spawn(command), mark)
        if code == 0:
            return
        output, _ = order.log.stream.read(start, 1 << 20)
        explanation = explain(output.decode(errors="replace")) or f"uv ended with exit code {code}"
        if _DISK_IS_FULL in explanation:
            raise StorageError(f"the disk is full: {explanation}", hint="make room; then it goes on by itself")
        field_name = order.workload.spec.handler.dependencies.field
        raise EnvironmentFailed(explanation, hint=f"correct {field_name} and deploy again")

    async def _wait(self, identity: Identity, mark: Mark) -> int | None:
        try:
            return await wait_exit(identity, self._settings.exits_file)
        except asyncio.CancelledError:
            kill_tree(identity, mark, signal.SIGKILL)
            await wait_exit(identity, self._settings.exits_file)
            raise

    def _say(self, order: _Order, message: str) -> None:
        order.log.say("INFO", message, self._now())

    def _say_waiting(self, name: str, order: _Order) -> None:
        self._say(order, f"waiting for the Python environment {name}, which is being built")


def _name(base: Python, content: str) -> str:
    digest = hashlib.sha256(f"{base.version_text}\n{base.abi}\n{content}".encode()).hexdigest()
    return f"py{base.version[0]}{base.version[1]}-{digest[:16]}"


def _revisions(environment: Path) -> list[str]:
    return [path.name for path in (environment / _USES).glob("*")]
