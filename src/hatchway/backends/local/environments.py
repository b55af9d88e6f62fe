"""Python environments for handlers: found, or built by `uv` and shared by all revisions that ask for the same.

An environment is named by its content (requirements, Python version, ABI), built under another name and renamed, so
one that is there is complete. The build writes straight into the API's log; a build that was interrupted by the end
of the engine is found by its mark and ended when the next one adopts.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uv

from hatchway.backends import Workload
from hatchway.backends.local.exits import wait_exit
from hatchway.backends.local.interpreters import Interpreters, Python
from hatchway.backends.local.logs import ReplicaLog
from hatchway.backends.local.requirements import digest
from hatchway.backends.local.server_packages import ServerPackages
from hatchway.contract import PROCESS_VARIABLE
from hatchway.errors import EnvironmentFailed
from hatchway.processes import Command, Identity, Mark, find_marked, kill_tree, spawn
from hatchway.settings import Settings

BUILD_ROLE = "build"
_UNFINISHED = ".unfinished"
_USES = ".hatchway-uses"  # in an environment: one empty file per revision that runs on it
_MAX_EXPLANATION_CHARS = 2000


@dataclass(frozen=True)
class Runtime:
    """What a replica is launched with."""

    python: Python
    server_packages: str
    asgi_packages: str  # for ASGI applications and forms, where the user's environment has none of it


class Environments:
    """Finds or builds what a workload runs on."""

    def __init__(self, settings: Settings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._root = settings.environments_dir
        self._now = now
        self._interpreters = Interpreters()
        self._building: dict[str, asyncio.Task[Path]] = {}
        self._server = ServerPackages(self._root)
        self._server_lock = asyncio.Lock()  # two replicas of one API would both fill the same folder

    async def runtime(self, workload: Workload, log: ReplicaLog) -> Runtime:
        """Raises EnvironmentFailed with uv's own explanation. `log` receives the output of a build."""
        base = await self._base(workload, log)
        python = base
        if workload.spec.handler.dependencies.pip is not None:
            folder = await self._environment(workload, workload.spec.handler.dependencies.pip, base, log)
            _note_use(folder, workload.revision)
            python = await self._interpreters.probe(str(folder / "bin" / "python"))
        async with self._server_lock:
            server = await self._server.server(python, partial(self._install_server_packages, log))
            asgi = self._server.asgi()
        return Runtime(python, str(server), str(asgi))

    def clean_up(self) -> None:
        """End builds a former engine left running, and remove what they left behind."""
        for found in find_marked(self._settings.home_hash):
            if found.mark.role == BUILD_ROLE:
                kill_tree(found.identity, found.mark)
        for folder in [*self._root.glob(f"*{_UNFINISHED}"), *self._root.glob(f"server/*{_UNFINISHED}")]:
            shutil.rmtree(folder, ignore_errors=True)

    def unused(self, keep_revisions: frozenset[str], used_paths: frozenset[str]) -> list[Path]:
        """Environments that no kept revision and no launch file in `used_paths` needs."""
        environments = [path for path in self._root.glob("py*") if not path.name.endswith(_UNFINISHED)]
        unused = [path for path in environments if keep_revisions.isdisjoint(_revisions(path))]
        return [*unused, *self._server.prune(used_paths)] if not self._building else []

    async def cancel(self) -> None:
        """End the builds of this engine."""
        tasks = list(self._building.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _base(self, workload: Workload, log: ReplicaLog) -> Python:
        """The interpreter that runs the handler, or that its environment is made from."""
        wanted = workload.spec.handler.python
        if wanted is None:
            return await self._interpreters.probe(workload.interpreter.executable)
        if os.sep in wanted:
            # A relative path is the project's; joining keeps an absolute one as it is.
            return await self._interpreters.probe(str(workload.project_dir / os.path.expanduser(wanted)))  # noqa: ASYNC240 (no I/O)
        return await self._interpreters.probe(await self._find_python(wanted, log))

    async def _find_python(self, wanted: str, log: ReplicaLog) -> str:
        """Ask uv for a version such as "3.12"; it downloads one when the machine has none."""
        mark = Mark(self._settings.home_hash, BUILD_ROLE, f"python-{wanted}")
        found = await self._output(["python", "find", "--no-project", wanted], mark)
        if found is not None:
            return found
        log.say("INFO", f"there is no Python {wanted} here, so it is downloaded", self._now())
        try:
            await self._uv(["python", "install", wanted], Path("/"), mark, log)
        except EnvironmentFailed as exc:
            raise EnvironmentFailed(
                f"handler.python: there is no Python {wanted} here, nor can it be downloaded: "
                f"{exc.message.splitlines()[-1]}",
                hint="install it, or set handler.python to the path of an interpreter",
            ) from exc
        return await self._output(["python", "find", "--no-project", wanted], mark) or wanted

    async def _environment(self, workload: Workload, requirements: str, base: Python, log: ReplicaLog) -> Path:
        content = f"{base.version_text}\n{base.abi}\n{digest(workload.project_dir, requirements)}"
        name = f"py{base.version[0]}{base.version[1]}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        folder = self._root / name
        if folder.is_dir():
            return folder
        if name not in self._building:
            build = self._build(folder, workload.project_dir, requirements, base, log)
            task = asyncio.create_task(build, name=f"build {name}")
            task.add_done_callback(lambda _: self._building.pop(name, None))
            self._building[name] = task
        else:
            log.say("INFO", f"waiting for the Python environment {name}, which is being built", self._now())
        # Others wait for the same build: it goes on when the one that began it is stopped.
        return await asyncio.shield(self._building[name])

    async def _build(self, folder: Path, project: Path, requirements: str, base: Python, log: ReplicaLog) -> Path:
        unfinished = folder.with_name(folder.name + _UNFINISHED)
        shutil.rmtree(unfinished, ignore_errors=True)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = Mark(self._settings.home_hash, BUILD_ROLE, folder.name)
        log.say("INFO", f"building the Python {base.version_text} environment from {requirements}", self._now())
        try:
            # Relocatable: its scripts find their Python wherever the folder is moved to.
            await self._uv(
                ["venv", "-q", "--relocatable", "--no-project", "--python", base.executable, str(unfinished)],
                project,
                mark,
                log,
            )
            python = str(unfinished / "bin" / "python")
            await self._uv(["pip", "install", "--python", python, "-r", requirements], project, mark, log)
            (unfinished / _USES).mkdir()
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        log.say("INFO", "the Python environment is ready", self._now())
        return folder

    async def _install_server_packages(
        self, log: ReplicaLog, python: Python, requirements: Sequence[str], target: Path
    ) -> None:
        mark = Mark(self._settings.home_hash, BUILD_ROLE, target.name)
        log.say("INFO", f"installing the server's packages for Python {python.version_text}", self._now())
        arguments = ["pip", "install", "--python", python.executable, "--target", str(target), *requirements]
        await self._uv(arguments, Path("/"), mark, log)

    async def _uv(self, arguments: Sequence[str], cwd: Path, mark: Mark, log: ReplicaLog) -> None:
        """Run uv with its output in the log. Raises EnvironmentFailed with the end of it."""
        start = log.stream.end()
        identity = spawn(Command([uv.find_uv_bin(), *arguments], _uv_environment(mark), cwd, log.path, umask=0o022))
        code = await self._wait(identity, mark)
        if code == 0:
            return
        output, _ = log.stream.read(start, 1 << 20)
        raise EnvironmentFailed(
            explain(output.decode(errors="replace")) or f"uv ended with exit code {code}",
            hint="correct handler.dependencies.pip and deploy again",
        )

    async def _wait(self, identity: Identity, mark: Mark) -> int | None:
        try:
            return await wait_exit(identity, self._settings.exits_file)
        except asyncio.CancelledError:
            kill_tree(identity, mark, signal.SIGKILL)
            await wait_exit(identity, self._settings.exits_file)
            raise

    async def _output(self, arguments: Sequence[str], mark: Mark) -> str | None:
        done = await asyncio.to_thread(
            subprocess.run,
            [uv.find_uv_bin(), *arguments],
            env=_uv_environment(mark),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return str(done.stdout).strip() if done.returncode == 0 else None


def explain(output: str) -> str:
    """uv's own explanation out of all it printed, without decoration."""
    found = re.search(r"^\s*(?:×|error:)", output, re.MULTILINE)
    text = output[found.start() :] if found else output
    lines = (re.sub(r"^[\s×╰─▶│]+|\s+$", "", line) for line in text.splitlines())
    return "\n".join(line for line in lines if line)[:_MAX_EXPLANATION_CHARS]


def _uv_environment(mark: Mark) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    return {**kept, PROCESS_VARIABLE: str(mark), "NO_COLOR": "1", "UV_NO_PROGRESS": "1"}


def _note_use(environment: Path, revision: str) -> None:
    (environment / _USES).mkdir(exist_ok=True)
    (environment / _USES / revision).touch()


def _revisions(environment: Path) -> list[str]:
    return [path.name for path in (environment / _USES).glob("*")]
