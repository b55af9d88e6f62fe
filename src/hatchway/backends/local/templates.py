"""Template processes as the engine sees them: started, asked to fork replicas, adopted, dropped.

A template has imported what a handler imports, so a replica forked from it starts in milliseconds and shares that
memory. There is one for each recipe (Python, environment variables, packages, modules); APIs with the same one share
it. Which modules a handler imports is learned from its first replica, which is spawned, and remembered in the home.
Whenever something is in the way, the answer is the reason, and the replica is spawned.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hatchway.backends.local.exits import wait_exit
from hatchway.backends.local.memory import pss_bytes
from hatchway.backends.local.recipe import Recipe
from hatchway.contract import PROCESS_VARIABLE, ForkRequest, TemplateLaunch
from hatchway.delays import GrowingDelay
from hatchway.files import replace_text
from hatchway.processes import Command, Identity, Mark, find_marked, is_alive, signal_process, spawn
from hatchway.rotation import LogStream
from hatchway.settings import Settings

log = logging.getLogger(__name__)

TEMPLATE_ROLE = "template"
MEMORY_SHARE = 0.2  # of the machine; beyond it the template that was not used for the longest time goes
WARM_TIMEOUT_S = 120.0
FORK_TIMEOUT_S = 10.0
_FIRST_DELAY_S, _LONGEST_DELAY_S, _CALM_AFTER_S = 1.0, 300.0, 60.0
_SOCKET_POLL_S = 0.02  # a socket that appears makes no event


class TemplateLost(Exception):
    """The template did not fork: it ended, or does not answer."""


@dataclass
class Template:
    """One process, started again when it ends. `obstacle` is why it will never fork, known once it is warm; `trouble`
    why it does not fork now, known when it has ended, until it is warm again.

    `recipe` is None for one that was adopted: it is not started again. `waiting` counts the starts that wait for it.
    """

    key: str
    recipe: Recipe | None
    process: Identity | None = None
    obstacle: str = ""
    used_at: float = 0.0
    trouble: str = ""
    waiting: int = 0
    is_warm: asyncio.Event = field(default_factory=asyncio.Event)
    life: asyncio.Task[None] | None = None


class Templates:
    """All of a home. `main_file` is the program of a replica, `total_bytes` the machine's memory."""

    def __init__(
        self,
        settings: Settings,
        main_file: Path,
        now: Callable[[], float],
        total_bytes: int,
        *,
        fork_timeout_s: float = FORK_TIMEOUT_S,
    ) -> None:
        self._settings = settings
        self._main_file = main_file
        self._now = now
        self._fork_timeout_s = fork_timeout_s
        self._limit_bytes = MEMORY_SHARE * total_bytes
        self._log = LogStream(settings.logs_dir / "templates.log")
        self._templates: dict[str, Template] = {}
        self._ending: set[asyncio.Task[None]] = set()

    # --- what an API's handler imports -------------------------------------------------------------------
    def recall(self, api: str) -> tuple[str, ...] | None:
        """The modules that the API's last replica had imported; None when none was ever ready."""
        found = _read_memory(self._memory_file(api))
        return None if found is None else found.modules

    def kin(self, recipe: Recipe) -> tuple[str, ...]:
        """The modules of the warm template, used last, that differs from the recipe in its modules only; () if none.

        For the first replica of a model's file: what it imports is most likely what those before it did.
        """
        found = [
            template
            for template in self._templates.values()
            if template.recipe is not None
            and dataclasses.replace(template.recipe, modules=recipe.modules) == recipe
            and template.is_warm.is_set()
            and not (template.obstacle or template.trouble)
        ]
        latest = max(found, key=lambda template: template.used_at, default=None)
        return () if latest is None or latest.recipe is None else latest.recipe.modules

    def learn(self, api: str, recipe: Recipe) -> None:
        """A ready replica of the API has imported the recipe's modules: have a template of it from now on."""
        key = recipe.key()
        path = self._memory_file(api)
        known = _read_memory(path)
        if known is None or known.key != key:
            if not self._write_memory(path, key, recipe.modules):
                return  # it is learned from the next replica
            self._drop_unneeded()
        self._ensure(recipe)

    def cool_down(self, api: str) -> None:
        """The API is stopped: keep what is known of it, but no process."""
        path = self._memory_file(api)
        known = _read_memory(path)
        if known is not None and known.key:
            self._write_memory(path, "", known.modules)
            self._drop_unneeded()

    def forget(self, api: str) -> None:
        """The API is gone."""
        self._memory_file(api).unlink(missing_ok=True)
        self._drop_unneeded()

    # --- forking -----------------------------------------------------------------------------------------
    async def obstacle(self, recipe: Recipe) -> str:
        """Why no replica can be forked with this recipe, or "".

        Starts the template and waits until it is warm: to import the same in a process of one's own takes as long,
        and is of no use to the next replica. One that ended by itself is not waited for.
        """
        if not recipe.modules:
            return "what it imports is not known before its first start"
        template = self._ensure(recipe)
        if template.trouble:
            return template.trouble
        template.waiting += 1
        try:
            await template.is_warm.wait()
        finally:
            template.waiting -= 1
        return template.obstacle or template.trouble

    async def fork(self, recipe: Recipe, request: ForkRequest) -> Identity:
        """A new process with the request's launch file, output and environment. Raises TemplateLost."""
        template = self._templates.get(recipe.key())
        if template is None:
            raise TemplateLost("its template is gone")
        template.used_at = self._now()
        try:
            answer = await self._ask(template, {"fork": dataclasses.asdict(request)}, self._fork_timeout_s)
        except TemplateLost:
            if template.process is not None:  # it hangs: whoever comes next would wait for it as long
                signal_process(template.process, signal.SIGKILL)
            raise
        pid, start_time = answer.get("pid"), answer.get("start_time")
        if not isinstance(pid, int) or not isinstance(start_time, int):
            raise TemplateLost(str(answer.get("error", "its template answered something else")))
        return Identity(pid, start_time)

    # --- the templates of a home -------------------------------------------------------------------------
    async def adopt(self) -> None:
        """Find those a former engine left; end those that no API needs any more."""
        needed = self._needed()
        for found in find_marked(self._settings.home_hash):
            if found.mark.role == TEMPLATE_ROLE and found.leads:
                template = Template(found.mark.id, None, found.identity, used_at=self._now())
                if template.key in needed and template.key not in self._templates:
                    self._begin(template)
                else:
                    self._end_later(template)

    async def make_room(self) -> bool:
        """End the template that was not used for the longest time, and return when its memory is free.

        False if there is none to end. Those that are ending already are waited for instead.
        """
        running = [template for template in self._templates.values() if template.process is not None]
        if running and not self._ending:
            self._drop(min(running, key=lambda template: template.used_at))
        if not self._ending:
            return False
        await asyncio.wait(self._ending)
        return True

    async def release(self) -> None:
        """Stop watching; the processes run on."""
        lives = [template.life for template in self._templates.values() if template.life is not None]
        for task in (*lives, *self._ending):
            task.cancel()
        await asyncio.gather(*lives, *self._ending, return_exceptions=True)

    async def stop_all(self) -> None:
        """End all and return when they are gone."""
        for template in list(self._templates.values()):
            self._drop(template)
        await asyncio.gather(*self._ending, return_exceptions=True)

    # --- one template ------------------------------------------------------------------------------------
    def _ensure(self, recipe: Recipe) -> Template:
        key = recipe.key()
        if key not in self._templates:
            self._begin(Template(key, recipe))
        template = self._templates[key]
        template.recipe, template.used_at = recipe, self._now()
        return template

    def _begin(self, template: Template) -> None:
        self._templates[template.key] = template
        template.life = asyncio.create_task(self._live(template), name=f"template {template.key}")

    async def _live(self, template: Template) -> None:
        """Keep it warm until it turns out that it cannot fork."""
        delay = GrowingDelay(_FIRST_DELAY_S, _LONGEST_DELAY_S, _CALM_AFTER_S)
        while True:
            began = self._now()
            try:
                template.obstacle = await self._warm_up(template)
            except TemplateLost as exc:
                template.trouble = str(exc)
            else:
                template.trouble = ""
                template.is_warm.set()
                if template.obstacle:
                    log.info("template %s: %s; replicas are spawned", template.key, template.obstacle)
                    await self._end(template)
                    return
                await self._attend(template)
                template.trouble = "its template ended and is not warm again yet"
            await self._end(template)
            if template.recipe is None:
                del self._templates[template.key]
                return
            # Whoever waits for it spawns: it may be long until it is warm.
            template.is_warm.set()
            template.is_warm.clear()
            delay_s = delay.after(self._now() - began)
            log.warning("template %s: %s; starting it again in %g s", template.key, template.trouble, delay_s)
            await asyncio.sleep(delay_s)

    async def _attend(self, template: Template) -> None:
        """Returns when it has ended."""
        self._keep_within_limit(template)
        assert template.process is not None
        code = await wait_exit(template.process, self._settings.exits_file)
        template.process = None
        log.warning("template %s ended (exit code %s)", template.key, code)

    async def _warm_up(self, template: Template) -> str:
        """Start it unless it runs, and wait until everything is imported. Returns why it cannot fork, or "".

        Raises TemplateLost when it ends before that, or cannot be started now.
        """
        try:
            if template.process is None:
                template.process = self._spawn(template)
        except OSError as exc:
            raise TemplateLost(f"its template cannot be started: {exc}") from exc
        answer = await self._ask(template, {"state": {}}, WARM_TIMEOUT_S)
        return str(answer.get("obstacle", ""))

    def _spawn(self, template: Template) -> Identity:
        settings, recipe = self._settings, template.recipe
        assert recipe is not None
        launch = TemplateLaunch(
            socket=str(settings.template_socket(template.key)),
            exits_file=str(settings.exits_file),
            modules=list(recipe.modules),
            server_packages=recipe.server_packages,
            opens_models=recipe.opens_models,
        )
        settings.templates_dir.mkdir(mode=0o700, exist_ok=True)
        launch_file = self._launch_file(template)
        replace_text(launch_file, launch.to_json())
        mark = Mark(settings.home_hash, TEMPLATE_ROLE, template.key)
        environment = {**recipe.variables, PROCESS_VARIABLE: mark.padded()}
        argv = [recipe.python.executable, str(self._main_file), "--template", str(launch_file)]
        self._log.rotate()
        return spawn(Command(argv, environment, Path("/"), self._log.live))

    async def _ask(self, template: Template, question: object, timeout_s: float) -> dict[str, object]:
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await self._connect(template)
                try:
                    writer.write(json.dumps(question).encode() + b"\n")
                    answer = json.loads(await reader.readline())
                    return answer if isinstance(answer, dict) else {}
                finally:
                    writer.close()
        except (OSError, ValueError) as exc:  # TimeoutError is an OSError
            raise TemplateLost(f"its template does not answer: {str(exc) or type(exc).__name__}") from exc

    async def _connect(self, template: Template) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await asyncio.open_unix_connection(self._settings.template_socket(template.key))
            except (FileNotFoundError, ConnectionRefusedError):
                if template.process is None or not is_alive(template.process):
                    raise
                await asyncio.sleep(_SOCKET_POLL_S)

    # --- ending ------------------------------------------------------------------------------------------
    def _drop(self, template: Template) -> None:
        """Whoever waits for it spawns."""
        self._templates.pop(template.key, None)
        template.obstacle = template.obstacle or "its template had to go"
        template.is_warm.set()
        if template.life is not None:
            template.life.cancel()
        self._end_later(template)

    def _end_later(self, template: Template) -> None:
        task = asyncio.create_task(self._end(template), name=f"end template {template.key}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, template: Template) -> None:
        """Only the template itself: what was forked from it serves on, as a child of the keeper.

        There is nothing for it to finish, and an imported module may have taken SIGTERM for itself.
        """
        if template.process is not None:
            signal_process(template.process, signal.SIGKILL)
            await wait_exit(template.process, self._settings.exits_file, keeper_wait_s=0)
            template.process = None
        self._remove_files(template)

    def _drop_unneeded(self) -> None:
        """But for those of a new revision, which is learned of when its first replica is ready."""
        needed = self._needed()
        for template in [found for found in self._templates.values() if found.key not in needed]:
            if not template.waiting:
                self._drop(template)

    def _keep_within_limit(self, newest: Template) -> None:
        while True:
            running = [found for found in self._templates.values() if found.process is not None]
            used = sum(pss_bytes([found.process.pid]) for found in running if found.process is not None)
            others = [found for found in running if found is not newest]
            if used <= self._limit_bytes or not others:
                return
            self._drop(min(others, key=lambda found: found.used_at))

    # --- files -------------------------------------------------------------------------------------------
    def _needed(self) -> set[str]:
        """The keys of what APIs were forked from last."""
        files = self._settings.templates_dir.glob("*.api.json")
        return {found.key for path in files if (found := _read_memory(path)) is not None}

    def _memory_file(self, api: str) -> Path:
        return self._settings.templates_dir / f"{api}.api.json"

    def _write_memory(self, path: Path, key: str, modules: Sequence[str]) -> bool:
        """False when the disk does not take it."""
        try:
            self._settings.templates_dir.mkdir(mode=0o700, exist_ok=True)
            replace_text(path, json.dumps({"key": key, "modules": modules}))
        except OSError as exc:
            log.warning("cannot write %s: %s", path, exc.strerror)
            return False
        return True

    def _launch_file(self, template: Template) -> Path:
        return self._settings.templates_dir / f"{template.key}.launch.json"

    def _remove_files(self, template: Template) -> None:
        self._launch_file(template).unlink(missing_ok=True)
        self._settings.template_socket(template.key).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Memory:
    """What is kept of an API: the key of its last recipe, and the modules in it."""

    key: str
    modules: tuple[str, ...]


def _read_memory(path: Path) -> _Memory | None:
    try:
        found = json.loads(path.read_text())
        return _Memory(str(found["key"]), tuple(found["modules"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
