"""The local backend: replicas as processes of this machine, behind the protocol of `hatchway.backends`.

It holds the slots and the task that runs each; what happens in a slot is in `life.py`, what a former engine left in
`adoption.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path

import hatchway
from hatchway.backends import Measures, Replica, Sightings, Workload, control
from hatchway.backends.local.adoption import adopt_slots
from hatchway.backends.local.bytecode import find_stale
from hatchway.backends.local.capacity import Needs
from hatchway.backends.local.environments import Environments
from hatchway.backends.local.life import end, kill, live, refresh
from hatchway.backends.local.logs import ApiLogs
from hatchway.backends.local.measuring import measure
from hatchway.backends.local.memory import rss_bytes
from hatchway.backends.local.shortage import Crowd, find_shortage
from hatchway.backends.local.slots import Slot, SlotFolder, make_id
from hatchway.backends.local.surroundings import Surroundings
from hatchway.backends.local.templates import Templates
from hatchway.backends.local.tenancy import Hardware
from hatchway.backends.sightings import Asked, find_request
from hatchway.processes import table, tree
from hatchway.settings import Settings
from hatchway.spec.api import Compute
from hatchway.spec.logs import LogQuery
from hatchway.spec.status import LogLine

log = logging.getLogger(__name__)

REPLICA_MAIN = Path(hatchway.__file__).parent / "replica" / "__main__.py"

_LOOK_S = 1.0
_DRAIN_LOOK_S = 0.1
_STUCK_AFTER_S = 30.0  # beyond the handler's timeout, without an answer on the control socket
_SURPLUS_KILL_AFTER_S = 5.0


class LocalBackend:
    """Replicas as processes.

    `on_change(api)` is called in the event loop whenever a replica of the API changed state. Seams: `main_file` is
    the program of a replica, `hardware` what the machine has, `environ` is what replicas inherit.
    """

    def __init__(
        self,
        settings: Settings,
        on_change: Callable[[str], None],
        *,
        main_file: Path = REPLICA_MAIN,
        hardware: Hardware | None = None,
        environ: Mapping[str, str] = os.environ,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        hardware = hardware or Hardware()
        self._world = Surroundings(
            settings=settings,
            environments=Environments(settings, wall_clock),
            templates=Templates(settings, main_file, time.monotonic, hardware.read().total_bytes),
            hardware=hardware,
            cgroups=hardware.find_cgroups(settings.home_hash),
            main_file=main_file,
            monotonic=time.monotonic,
            wall_clock=wall_clock,
            on_change=on_change,
            environ=environ,
        )
        self._logs = ApiLogs(settings.logs_dir)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._drains = asyncio.Event()

    # --- the protocol ------------------------------------------------------------------------------------
    async def adopt(self) -> None:
        self._world.environments.clean_up()
        await self._world.templates.adopt()
        for slot in await adopt_slots(self._world, self._logs):
            self._world.slots[slot.id] = slot
            if slot.folder.stopping.exists():
                self._begin_end(slot, _read_seconds(slot.folder.stopping))
            else:
                self._begin(slot, live(slot, self._world))
        if self._world.cgroups is not None:
            self._world.cgroups.sweep(frozenset(self._world.slots))

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        next_look = 0.0
        try:
            while True:
                is_full = loop.time() >= next_look
                await self._look(is_full=is_full)
                if is_full:
                    next_look = loop.time() + _LOOK_S
                await self._pause(next_look - loop.time())
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._world.environments.cancel()
            await self._world.templates.release()

    async def apply(self, workload: Workload, replicas: int) -> None:
        slots = [
            slot
            for slot in self._world.slots.values()
            if (slot.api, slot.revision) == (workload.api, workload.revision) and not slot.is_going
        ]
        for slot in slots:
            slot.set_workload(workload)
        for _ in range(replicas - len(slots)):
            self._add(workload)
        surplus = sorted((slot for slot in slots if slot.state != "ready"), key=_value)
        for slot in surplus[: max(0, len(slots) - replicas)]:
            self._begin_end(slot, _SURPLUS_KILL_AFTER_S)

    def observe(self, api: str | None = None) -> Sequence[Replica]:
        return [slot.to_replica() for slot in self._world.slots.values() if api is None or slot.api == api]

    async def measure(self) -> Mapping[str, Measures]:
        return await measure(list(self._world.slots.values()))

    async def drain(self, replica_id: str, *, for_good: bool = False) -> None:
        slot = self._world.slots.get(replica_id)
        if slot is None or slot.is_going:
            return
        slot.folder.mark_draining(for_good=for_good)
        slot.state, slot.reason, slot.message = "draining", "", ""
        slot.may_resume = not for_good
        if slot.process is None:
            self._begin_end(slot, 0)
            return
        # Until it has answered, it counts as busy: what it last said is from before the gateway heard of the drain.
        slot.in_flight = max(1, slot.in_flight)
        try:
            await control.drain(slot.control_socket)
        except control.Unanswered as exc:
            log.info("%s did not hear that it drains: %s", slot.id, exc)
        await refresh(slot, self._world)
        self._drains.set()
        self._world.on_change(slot.api)

    async def resume(self, replica_id: str) -> bool:
        slot = self._world.slots.get(replica_id)
        if slot is None or not slot.is_resumable:
            return False
        slot.may_resume = False
        try:
            is_ready = await control.resume(slot.control_socket)
        except control.Unanswered as exc:
            log.info("%s goes on to drain: %s", slot.id, exc)
            return False
        if not is_ready or slot.stopping or slot.process is None:
            return False
        slot.folder.unmark_draining()
        slot.state = "ready"
        await refresh(slot, self._world)
        self._world.on_change(slot.api)
        return True

    async def stop(self, replica_id: str, *, kill_after_s: float) -> None:
        slot = self._world.slots.get(replica_id)
        if slot is not None:
            self._begin_end(slot, kill_after_s)

    async def stop_all(self, *, kill_after_s: float) -> None:
        await self._world.environments.cancel()
        for slot in list(self._world.slots.values()):
            self._begin_end(slot, kill_after_s)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._world.templates.stop_all()
        if self._world.cgroups is not None:
            self._world.cgroups.sweep(frozenset())

    async def shortage(self, api: str, compute: Compute, *, new: int, old: int) -> str | None:
        slots, hardware = list(self._world.slots.values()), self._world.hardware
        needs = Needs(compute.cpu, compute.mem, compute.gpu)
        return await asyncio.to_thread(find_shortage, api, Crowd(needs, new, old), slots, hardware)

    def logs(self, api: str, query: LogQuery, *, follow: bool = False) -> AsyncIterator[LogLine]:
        return self._logs.read(api, query, follow=follow)

    async def find_request(self, request_id: str) -> Sightings:
        slots = [slot for slot in self._world.slots.values() if slot.process is not None]
        return await find_request(
            [Asked(slot.api, slot.revision, slot.id, slot.control_socket) for slot in slots], request_id
        )

    def release(self, api: str) -> None:
        self._world.templates.cool_down(api)

    async def forget(self, api: str) -> None:
        ending = [self._tasks[slot.id] for slot in self._world.slots.values() if slot.api == api and slot.stopping]
        await asyncio.gather(*ending, return_exceptions=True)
        self._logs.forget(api)
        self._world.templates.forget(api)

    async def prune(self, keep_revisions: frozenset[str]) -> int:
        slots = self._world.slots.values()
        launches = [slot.folder.read_launch() or {} for slot in slots]
        used = frozenset(str(launch.get(key)) for launch in launches for key in ("server_packages", "asgi_packages"))
        revisions = keep_revisions | {slot.revision for slot in slots}
        freed = sum(_remove_tree(path) for path in self._world.environments.unused(revisions, used))
        for path in self._world.settings.replicas_dir.glob("*"):
            if path.name not in self._world.slots:
                freed += SlotFolder(path).remove()
        for path in find_stale(self._world.settings.bytecode_dir):
            freed += path.stat().st_size
            path.unlink()
        return freed

    # --- slots and their tasks ---------------------------------------------------------------------------
    def _add(self, workload: Workload) -> None:
        compute = workload.spec.compute
        settings, id = self._world.settings, make_id(workload.api)
        slot = Slot(
            id=id,
            api=workload.api,
            revision=workload.revision,
            needs=Needs(compute.cpu, compute.mem, compute.gpu),
            folder=SlotFolder(settings.replicas_dir / id),
            data_socket=str(settings.replica_socket(id, "data")),
            control_socket=str(settings.replica_socket(id, "ctl")),
            log=self._logs.open(workload.api, workload.revision, id),
        )
        slot.set_workload(workload)
        slot.folder.create()
        slot.save()
        self._world.slots[id] = slot
        self._begin(slot, live(slot, self._world))
        self._world.on_change(slot.api)

    def _begin(self, slot: Slot, life: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(life, name=f"replica {slot.id}")
        task.add_done_callback(lambda done: self._finish(slot, done))
        self._tasks[slot.id] = task

    def _begin_end(self, slot: Slot, kill_after_s: float) -> None:
        if slot.stopping:
            return
        slot.stopping = True
        slot.folder.mark_stopping(kill_after_s)
        former = self._tasks.get(slot.id)
        if former is not None:
            former.cancel()
        self._begin(slot, self._end_after(former, slot, kill_after_s))
        self._world.on_change(slot.api)

    async def _end_after(self, former: asyncio.Task[None] | None, slot: Slot, kill_after_s: float) -> None:
        if former is not None:
            await asyncio.wait([former])
        await end(slot, kill_after_s, self._world)

    def _finish(self, slot: Slot, done: asyncio.Task[None]) -> None:
        if self._tasks.get(slot.id) is done:
            del self._tasks[slot.id]
        if slot.id not in self._world.slots:
            living = frozenset(self._world.slots)
            self._logs.trim(slot.api, living)
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("replica %s: unexpected error", slot.id, exc_info=error)
            slot.state, slot.final, slot.reason, slot.message = "failed", True, "Unknown", str(error)
            self._world.on_change(slot.api)

    # --- looking after what runs -------------------------------------------------------------------------
    async def _look(self, *, is_full: bool) -> None:
        running = [slot for slot in self._world.slots.values() if slot.process is not None and not slot.stopping]
        asked = [slot for slot in running if slot.state == "draining" or (is_full and slot.state == "ready")]
        await asyncio.gather(*(refresh(slot, self._world) for slot in asked))
        if not is_full or not running:
            return
        processes = table()
        for slot in running:
            if slot.process is not None:
                slot.rss_bytes = rss_bytes(tree(slot.process.pid, processes))
            slot.log.stream.rotate()
            silent_s = self._world.monotonic() - slot.answered_at
            if slot.state == "ready" and silent_s > slot.timeout_s + _STUCK_AFTER_S:
                kill(slot, "Stuck", f"the replica has not answered for {silent_s:.0f} s", self._world)

    async def _pause(self, longest_s: float) -> None:
        """Until the next look, or sooner while replicas drain."""
        is_draining = any(slot.state == "draining" and not slot.stopping for slot in self._world.slots.values())
        if is_draining:
            await asyncio.sleep(min(max(longest_s, 0), _DRAIN_LOOK_S))
            return
        self._drains.clear()
        try:
            async with asyncio.timeout(max(longest_s, 0)):
                await self._drains.wait()
        except TimeoutError:
            return


def _value(slot: Slot) -> tuple[int, float]:
    """How much would be lost by stopping a slot that is not ready: the failed first, then the newest."""
    if slot.state == "failed":
        return (0 if slot.final else 1), 0.0
    return (2 if slot.process is None else 3), -(slot.started_at or 0.0)


def _read_seconds(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0


def _remove_tree(path: Path) -> int:
    """A folder with all in it, or a file. Returns the bytes freed."""
    if path.is_file():
        size = path.stat().st_size
        path.unlink()
        return size
    freed = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
    shutil.rmtree(path, ignore_errors=True)
    return freed
