"""Bringing a process into a slot: prepare its Python, wait for room, then fork it from a template or spawn it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import os
import sys

from hatchway.backends import Workload
from hatchway.backends.launches import THREAD_VARIABLES, cpu_threads
from hatchway.backends.local import tenancy
from hatchway.backends.local.capacity import Fits
from hatchway.backends.local.environments import Runtime
from hatchway.backends.local.launch import make_environment, make_launch, make_template_environment
from hatchway.backends.local.pioneers import wait_s
from hatchway.backends.local.recipe import Recipe
from hatchway.backends.local.secrets import SecretMissing, with_secrets
from hatchway.backends.local.slots import Slot
from hatchway.backends.local.surroundings import Surroundings
from hatchway.backends.local.templates import TemplateLost
from hatchway.contract import ForkRequest, Launch
from hatchway.errors import EnvironmentFailed, StorageError
from hatchway.processes import Command, Identity, find_marked, kill_tree, spawn

_CAPACITY_LOOK_S = 2.0  # memory is also freed by others, without an event
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_STORAGE_LOOK_S = 2.0  # so are disks
_SECRETS_LOOK_S = 1.0


async def start(slot: Slot, world: Surroundings) -> None:
    """Returns when the slot has a process, or has failed for good."""
    workload = await slot.known_workload()
    try:
        workload = await _take_secrets(slot, workload, world)
        runtime = await _prepare(slot, workload, world)
    except (EnvironmentFailed, StorageError) as exc:
        world.fail(slot, "EnvironmentFailed", f"{exc.message} ({exc.hint})" if exc.hint else exc.message)
        return
    slot.recipe, slot.start_reason = None, _reason_to_spawn(workload)
    if not slot.start_reason:
        await _take_turn(slot, world)
        slot.recipe = _recipe(workload, runtime, world)
        slot.start_reason = await world.templates.obstacle(slot.recipe)
    before = slot.reason, slot.message
    await _lay_out(slot, make_launch(slot, workload, runtime, _traces_socket(world)), world)
    while True:
        async with world.starting:
            verdict = tenancy.admit(slot, world.slots.values(), world.hardware, world.census())
            if isinstance(verdict, Fits):
                world.tell(slot, *before)
                await _start_process(slot, workload, runtime, world)
                world.end_census()
                return
        if not verdict.ever:
            world.fail(slot, "NoCapacity", verdict.message)
            return
        if verdict.lacks_memory and await world.templates.make_room():
            world.end_census()
            continue
        world.tell(slot, "NoCapacity", verdict.message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CAPACITY_LOOK_S):
                await world.room.wait()


async def _take_secrets(slot: Slot, workload: Workload, world: Surroundings) -> Workload:
    """As soon as all of them are there."""
    before = slot.reason, slot.message
    while True:
        try:
            complete = with_secrets(workload, world.settings.secrets_dir)
        except SecretMissing as exc:
            world.tell(slot, "SecretMissing", str(exc))
            await asyncio.sleep(_SECRETS_LOOK_S)
        else:
            slot.reason, slot.message = before
            return complete


async def _prepare(slot: Slot, workload: Workload, world: Surroundings) -> Runtime:
    before = slot.reason, slot.message
    if workload.spec.handler.dependencies.file is not None:
        world.tell(slot, "BuildingEnvironment", f"installing {workload.spec.handler.dependencies.file}")
    try:
        while True:
            try:
                return await world.environments.runtime(workload, slot.log)
            except (OSError, StorageError) as exc:
                if isinstance(exc, OSError) and exc.errno not in _NO_ROOM:
                    raise StorageError(f"cannot prepare the Python environment: {exc}") from exc
                world.tell(slot, "NoStorage", f"cannot prepare the Python environment: {exc}")
                await asyncio.sleep(_STORAGE_LOOK_S)
    finally:
        slot.reason, slot.message = before


async def _take_turn(slot: Slot, world: Surroundings) -> None:
    """Returns when it is known what the slot's handler imports, or when the slot should help to find out."""
    slot.pioneer_since = None
    cores = world.census().machine.cores
    while world.templates.recall(slot.api) is None:
        now = world.monotonic()
        pioneers = [other for other in world.slots.values() if other.api == slot.api and other.is_pioneering]
        longest_s = wait_s([other.pioneer_since or now for other in pioneers], cores, now)
        if longest_s == 0:
            slot.pioneer_since = now
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await world.room.wait()  # also made by whoever is ready, ends or fails


async def _lay_out(slot: Slot, launch: Launch, world: Surroundings) -> None:
    """Write what the process will read, as soon as the disk takes it."""
    while True:
        try:
            slot.folder.create()
            slot.folder.empty_tmp()
            slot.folder.take_last_words()
            slot.folder.write_launch(launch)
        except OSError as exc:
            world.tell(slot, "NoStorage", f"cannot write to {slot.folder.path}: {exc.strerror}")
            await asyncio.sleep(_STORAGE_LOOK_S)
        else:
            return


def _reason_to_spawn(workload: Workload) -> str:
    """Why no replica of the workload is ever forked, or ""."""
    if sys.platform != "linux":
        return "only Linux can fork safely"
    if not workload.spec.handler.fast_start:
        return "handler.fast_start is false"
    if workload.spec.handler.app is not None and cpu_threads(workload) > 1:
        return "an application's threads cannot be given more than one core each after a fork"
    if any(not os.path.isabs(path) for path in workload.env.get("PYTHONPATH", "/").split(os.pathsep)):
        return "handler.env has a PYTHONPATH that is relative to the project"
    fixed = sorted(THREAD_VARIABLES & workload.env.keys())
    if fixed and cpu_threads(workload) > 1:
        return f"handler.env says {fixed[0]}, which a fork with more than one core would change"
    return ""


def _recipe(workload: Workload, runtime: Runtime, world: Surroundings) -> Recipe:
    recipe = Recipe(
        runtime.python,
        runtime.server_packages,
        make_template_environment(world.environ, workload, runtime.python, world.settings.bytecode_dir),
        world.templates.recall(workload.api) or (),
        opens_models=workload.spec.handler.model is not None,
    )
    if recipe.opens_models and not recipe.modules:
        return dataclasses.replace(recipe, modules=world.templates.kin(recipe))
    return recipe


async def _start_process(slot: Slot, workload: Workload, runtime: Runtime, world: Surroundings) -> None:
    slot.remove_sockets()
    mark = world.mark(slot)
    environment = make_environment(world.environ, slot, workload, runtime.python, mark, world.settings.bytecode_dir)
    if world.cgroups is not None:
        slot.cgroup = world.cgroups.create(slot.id, slot.needs.memory_bytes, slot.needs.cpu)
        slot.oom_kills_before = 0 if slot.cgroup is None else slot.cgroup.oom_kills()
    slot.timeout_s = workload.spec.handler.timeout
    slot.started_at, slot.answered_at = world.wall_clock(), world.monotonic()
    if not slot.start_reason:
        await _fork(slot, environment, world)
    if slot.process is None:
        argv = [runtime.python.executable, str(world.main_file), str(slot.folder.launch)]
        try:
            slot.process = spawn(Command(argv, environment, workload.project_dir, slot.log.path))
        except OSError as exc:
            world.fail(slot, "StartFailed", f"cannot start {argv[0]}: {exc}")
            return
        slot.start = "spawned"
        _settle(slot, world)


async def _fork(slot: Slot, environment: dict[str, str], world: Surroundings) -> None:
    """Have the template fork the slot's process; if it does not, say why in the slot."""
    assert slot.recipe is not None
    request = ForkRequest(str(slot.folder.launch), str(slot.log.path), environment)
    forking = asyncio.ensure_future(world.templates.fork(slot.recipe, request))
    try:
        _take_forked(slot, await asyncio.shield(forking), world)
    except asyncio.CancelledError:
        # The request is on its way: what it starts must be known to whoever comes after us.
        with contextlib.suppress(TemplateLost):
            _take_forked(slot, await forking, world)
        raise
    except TemplateLost as exc:
        slot.start_reason = str(exc)
        mark = world.mark(slot)
        for found in find_marked(mark.home_hash):  # its answer may have been lost, and not the fork
            if found.mark == mark:
                kill_tree(found.identity, mark)


def _take_forked(slot: Slot, identity: Identity, world: Surroundings) -> None:
    slot.process, slot.start, slot.start_reason = identity, "forked", ""
    _settle(slot, world)


def _settle(slot: Slot, world: Surroundings) -> None:
    """The process is there: limit it, and write down who it is."""
    assert slot.process is not None
    if slot.cgroup is not None:
        try:
            slot.cgroup.add(slot.process.pid)
        except OSError:  # gone already, or not allowed: the watch takes over
            slot.cgroup.remove()
            slot.cgroup = None
    slot.save_process()
    world.on_change(slot.api)


def _traces_socket(world: Surroundings) -> str | None:
    settings = world.settings
    return None if settings.traces is None else str(settings.traces_socket)
