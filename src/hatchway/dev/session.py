"""A session of `hatchway dev`: load, answer, load again on every save, end on Ctrl-C.

The replicas of a load take over when they are ready; until then the ones before answer. What fails is said and waits
for the next save: only Ctrl-C ends a session that has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import termios
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from hatchway.backends import Workload
from hatchway.backends.local.bytecode import forget
from hatchway.backends.local.environments import Environments
from hatchway.backends.local.logs import ReplicaLog, Tail
from hatchway.client.model_checks import MayTrust
from hatchway.client.progress import ProgressEvent
from hatchway.dev.apis import Reader
from hatchway.dev.changes import deliberate, saves, saves_of_model
from hatchway.dev.front import Answered, Front, Unavailable
from hatchway.dev.places import owner, places
from hatchway.dev.process import DevReplica, NotLoaded, start
from hatchway.errors import HatchwayError
from hatchway.settings import Settings

BUILD_LOOK_S = 0.2  # files that grow make no event
END_GRACE_S = 2.0  # for requests and shutdown hooks at Ctrl-C; one may be waiting in a debugger for ever


class Show(Protocol):
    """Where a session tells what goes on."""

    def loading(self, workload: Workload, changed: Collection[str]) -> None:
        """At the start, or because of what `changed`."""
        ...

    def read(self, event: ProgressEvent) -> None:
        """What was found while the project was read: a model, a Python that is not here. May be called in a thread."""
        ...

    def building(self, line: str) -> None:
        """A line of what is said while a Python environment is built."""
        ...

    def ready(self, replica: DevReplica, port: int, took_s: float, *, is_first: bool) -> None: ...

    def failed(self, name: str, error: Exception, *, still_answers: bool) -> None:
        """It could not be loaded; with no name, the project cannot be read."""
        ...

    def ended(self, name: str, reason: str) -> None:
        """A replica that answered has ended by itself."""
        ...

    def passed_over(self, changed: Collection[str]) -> None:
        """Files that changed while the project was loading, and are not loaded for again."""
        ...

    def answered(self, answered: Answered) -> None:
        """A request is over."""
        ...

    def stopping(self) -> None:
        """Ctrl-C: what runs has a moment to end."""
        ...


@dataclass(eq=False)
class Place:
    """One endpoint: the replica that answers there, or why there is none."""

    replica: DevReplica | None = None
    failure: str = ""  # empty: it is loading
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def settle(self, replica: DevReplica | None, failure: str) -> None:
        self.replica, self.failure = replica, failure
        self.changed.set()


class Session:
    """One project, from the first load to Ctrl-C."""

    def __init__(self, reader: Reader, settings: Settings, show: Show, may_trust: MayTrust) -> None:
        """`may_trust` decides on models that are saved while it goes on: nobody can be asked then."""
        self._reader = reader
        self._may_trust = may_trust
        self._settings = settings
        self._environ = reader.environ
        self._show = show
        self._places: dict[str, Place] = {}  # by endpoint
        self._replicas: set[DevReplica] = set()  # all whose processes may live
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._environments = Environments(settings, time.time, owner())
        self._port = 0

    async def run(self, sock: socket.socket, first: list[Workload]) -> None:
        """Serve `first`, and what is saved, on the listening socket until SIGINT, SIGTERM or SIGHUP."""
        self._port = sock.getsockname()[1]
        with places(self._settings) as self._files, _until_signal() as ending:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(Front(self, self._show.answered).run(sock), name="front"),
                        group.create_task(self._follow(first), name="follow"),
                    ]
                    await ending.wait()
                    self._show.stopping()
                    for task in tasks:
                        task.cancel()
            finally:
                await self._end()

    # --- the front's desk --------------------------------------------------------------------------------
    def endpoints(self) -> Collection[str]:
        return self._places.keys()

    async def address(self, endpoint: str) -> str:
        while True:
            place = self._places.get(endpoint)
            if place is None:
                raise Unavailable("this API is not in the YAML any more")
            if place.replica is not None:
                return place.replica.address
            if place.failure:
                raise Unavailable(place.failure)
            place.changed.clear()
            await place.changed.wait()

    # --- loading -----------------------------------------------------------------------------------------
    async def _follow(self, first: list[Workload]) -> None:
        """Load, and load again after each save."""
        target = self._reader.target
        model = target.model
        async with asyncio.TaskGroup() as group:
            loading = group.create_task(self._load(first, frozenset()), name="load")
            async for saved in saves(target.folder) if model is None else saves_of_model(model):
                # What serves a model alone never writes to it.
                changed = deliberate(saved, is_loading=model is None and not loading.done())
                if saved - changed:
                    self._show.passed_over(saved - changed)
                if changed:
                    await _cancelled(loading)
                    loading = group.create_task(self._reload(changed), name="load")

    async def _reload(self, changed: Collection[str]) -> None:
        for path in changed:
            if path.endswith(".py"):
                forget(self._reader.target.folder / path, self._settings.bytecode_dir)
        try:
            workloads = await asyncio.to_thread(self._reader.read, self._may_trust)
        except HatchwayError as exc:
            self._show.failed("", exc, still_answers=any(place.replica for place in self._places.values()))
            return
        await self._load(workloads, changed)

    async def _load(self, workloads: list[Workload], changed: Collection[str]) -> None:
        wanted = {workload.spec.endpoint: workload for workload in workloads}
        for endpoint in self._places.keys() - wanted.keys():
            place = self._places.pop(endpoint)
            if place.replica is not None:
                self._retire(place.replica)
            place.settle(None, "this API is not in the YAML any more")
        for endpoint in wanted:
            place = self._places.setdefault(endpoint, Place())
            place.failure = ""
        async with asyncio.TaskGroup() as group:
            for endpoint, workload in wanted.items():
                group.create_task(self._bring_up(self._places[endpoint], workload, changed))

    async def _bring_up(self, place: Place, workload: Workload, changed: Collection[str]) -> None:
        """Start a replica, and have it answer once it is ready."""
        began = time.monotonic()
        self._show.loading(workload, changed)
        replica = None
        try:
            replica = await self._start(workload)
            await replica.wait_ready()
        except (NotLoaded, HatchwayError, OSError) as exc:
            self._fail(place, workload.api, exc)
            if replica is not None:
                await self._forget(replica)
            return
        except asyncio.CancelledError:
            if replica is not None:
                await self._forget(replica)
            raise
        before = place.replica
        place.settle(replica, "")
        self._show.ready(replica, self._port, time.monotonic() - began, is_first=before is None)
        if before is not None:
            self._retire(before)
        self._keep(asyncio.create_task(self._watch(place, replica), name=f"watch {workload.api}"))

    async def _start(self, workload: Workload) -> DevReplica:
        number = next(self._numbers)
        log = ReplicaLog(self._files.scratch, workload.revision, f"{workload.api}-{number}")
        telling = asyncio.create_task(self._tell(Tail(log)), name="tell")
        try:
            runtime = await self._environments.runtime(workload, log)
        finally:
            await _cancelled(telling)
        replica = await start(workload, runtime, number, self._files, self._environ)
        self._replicas.add(replica)
        return replica

    async def _tell(self, tail: Tail) -> None:
        """Pass on what a build writes."""
        try:
            while True:
                await asyncio.sleep(BUILD_LOOK_S)
                self._show_messages(tail)
        finally:
            self._show_messages(tail)

    def _show_messages(self, tail: Tail) -> None:
        for message in tail.messages():
            self._show.building(message)

    # --- ends --------------------------------------------------------------------------------------------
    async def _watch(self, place: Place, replica: DevReplica) -> None:
        """Say so when a replica ends that was to answer."""
        await replica.process.wait()
        if place.replica is replica:
            end = replica.describe_end()
            place.settle(None, str(end))
            self._show.ended(replica.workload.api, end.reason)
            await self._forget(replica)

    def _retire(self, replica: DevReplica) -> None:
        """It finishes what it has begun, and ends."""
        self._keep(asyncio.create_task(self._let_end(replica), name="retire"))

    async def _let_end(self, replica: DevReplica) -> None:
        replica.ask_to_end()
        await replica.process.wait()
        await self._forget(replica)

    async def _forget(self, replica: DevReplica) -> None:
        await replica.end(0)
        self._replicas.discard(replica)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(replica.end(END_GRACE_S) for replica in self._replicas))
        await self._environments.cancel()
        self._environments.release()

    # --- the rest ----------------------------------------------------------------------------------------
    def _fail(self, place: Place, name: str, error: Exception) -> None:
        if place.replica is None:
            place.settle(None, str(error))
        self._show.failed(name, error, still_answers=place.replica is not None)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextlib.contextmanager
def _until_signal() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C sets; the terminal is left as it was found, whatever a debugger made of it."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for one in signals:
        loop.add_signal_handler(one, ending.set)
    before = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        yield ending
    finally:
        for one in signals:
            loop.remove_signal_handler(one)
        # In the background, setting it would stop us, and there is nothing to set.
        if before is not None and termios.tcgetattr(0) != before and os.tcgetpgrp(0) == os.getpgrp():
            termios.tcsetattr(0, termios.TCSADRAIN, before)


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Returns when the task has ended, now or by cancelling."""
    task.cancel()
    await asyncio.wait({task})
