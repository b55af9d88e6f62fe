"""Replicas as processes of this machine: each slot has one task that tends it from its start to its end.

    environment -> capacity -> process -> ready -> (statistics) -> exit -> again after a delay, or never

Cancelling `run` leaves every process as it is; the next engine's `adopt` finds them by their slots and marks.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from hatchway.backends import Replica, Workload
from hatchway.backends.local import control, restarts
from hatchway.backends.local.capacity import (
    PYTHON_BYTES,
    DoesNotFit,
    Machine,
    Needs,
    Tenant,
    decide,
    mebibytes,
    read_machine,
)
from hatchway.backends.local.environments import Environments
from hatchway.backends.local.exits import wait_exit
from hatchway.backends.local.gpu import Devices, NvmlDevices, choose
from hatchway.backends.local.launch import Python, make_command, make_launch
from hatchway.backends.local.logs import ApiLogs, ReplicaLog, Wanted
from hatchway.backends.local.memory import MemoryLimits
from hatchway.backends.local.slots import Slot, read_memory
from hatchway.contract import CONTRACT_VERSION, OLDEST_ADOPTED_VERSION, Launch
from hatchway.errors import EnvironmentFailed, HatchwayError
from hatchway.processes import Mark, find_marked, is_alive, kill_tree, signal_process, spawn, table, tree
from hatchway.settings import Settings
from hatchway.spec.status import LogLine

log = logging.getLogger(__name__)

READY_POLL_S = 10.0  # one long poll; it answers as soon as the replica is ready
RETRY_S = 0.02  # until the control socket is there
STATS_S = 1.0
DRAINING_STATS_S = 0.1
CAPACITY_RETRY_S = 2.0
UNREADY_GRACE_S = 5.0  # for a replica that is stopped before it was ready
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no letters or digits that look alike


class LocalBackend:
    """See `hatchway.backends.Backend`. `machine` and `devices` are seams for tests."""

    def __init__(
        self,
        settings: Settings,
        on_change: Callable[[str], None],
        *,
        machine: Callable[[], Machine] = read_machine,
        devices: Devices | None = None,
    ) -> None:
        self._settings = settings
        self._on_change = on_change
        self._machine = machine
        self._devices = devices or NvmlDevices()
        self._logs = ApiLogs(settings.logs_dir)
        self._environments = Environments(settings, self._logs)
        self._limits = MemoryLimits(settings.home_hash)
        self._slots: dict[str, Slot] = {}
        self._tenders: dict[str, asyncio.Task[None]] = {}
        self._is_running = False
        self._room = asyncio.Event()  # set when a replica ended: somebody who waits for capacity may fit now

    # --- life --------------------------------------------------------------------------------------------
    async def adopt(self) -> None:
        self._settings.replicas_dir.mkdir(mode=0o700, exist_ok=True)
        marked = find_marked(self._settings.home_hash)
        leaders = {found.mark.id: found.identity for found in marked if found.mark.role == "replica" and found.leads}
        for folder in sorted(self._settings.replicas_dir.iterdir()):
            slot = self._recall(folder)
            if slot is None:
                continue
            if slot.identity is None or not is_alive(slot.identity):
                # A killed engine may have started a process and not written it down.
                slot.identity = leaders.get(slot.id, slot.identity)
            self._slots[slot.id] = slot
        for found in marked:
            if found.mark.role == "build" or (found.mark.role == "replica" and found.mark.id not in self._slots):
                kill_tree(found.identity, found.mark)
        self._limits.forget_all_but({slot.cgroup for slot in self._slots.values()})
        for slot in self._slots.values():
            if slot.final and slot.identity is None:
                continue
            self._tend(slot)

    def _recall(self, folder: Path) -> Slot | None:
        try:
            launch = Launch.from_json((folder / "launch.json").read_text())
            slot = self._make_slot(launch.api, launch.revision, folder.name)
            with contextlib.suppress(FileNotFoundError):
                slot.recall()
        except (OSError, ValueError, KeyError, TypeError):
            slot = self._make_slot("", "", folder.name)
            slot.remove()  # half made, or damaged: what ran in it is ended as unknown
            return None
        return slot if OLDEST_ADOPTED_VERSION <= launch.contract_version <= CONTRACT_VERSION else None

    async def run(self) -> None:
        self._is_running = True
        for slot in self._slots.values():
            self._tend(slot)
        try:
            while True:
                await asyncio.sleep(STATS_S)
                for slot in self._slots.values():
                    slot.log.stream.rotate()
        finally:
            self._is_running = False
            for tender in self._tenders.values():
                tender.cancel()
            await asyncio.gather(*self._tenders.values(), return_exceptions=True)

    # --- verbs -------------------------------------------------------------------------------------------
    async def apply(self, workload: Workload, replicas: int) -> None:
        mine = [
            slot
            for slot in self._slots.values()
            if (slot.api, slot.revision) == (workload.api, workload.revision) and slot.state != "draining"
        ]
        for slot in mine:
            if slot.workload is None:
                slot.workload = workload
                slot.changed.set()
        for _ in range(replicas - len(mine)):
            slot = self._make_slot(workload.api, workload.revision, self._new_id(workload.api))
            slot.workload = workload
            slot.reason = "Starting"
            self._slots[slot.id] = slot
            self._tend(slot)
        spare = sorted((slot for slot in mine if slot.state != "ready"), key=lambda slot: slot.state != "failed")
        for slot in spare[: max(0, len(mine) - replicas)]:
            await self.stop(slot.id, kill_after_s=UNREADY_GRACE_S)

    def observe(self) -> Sequence[Replica]:
        return [slot.to_replica() for slot in self._slots.values()]

    async def drain(self, replica_id: str) -> None:
        slot = self._slots.get(replica_id)
        if slot is None or slot.draining:
            return
        slot.mark_draining()
        slot.changed.set()
        with contextlib.suppress(control.Unanswered):
            await control.drain(slot.control)
        await self._refresh(slot)
        self._on_change(slot.api)

    async def stop(self, replica_id: str, *, kill_after_s: float) -> None:
        slot = self._slots.get(replica_id)
        if slot is None or slot.stopping:
            return
        slot.stopping = True
        slot.changed.set()
        if slot.identity is not None:
            signal_process(slot.identity, signal.SIGTERM)
            asyncio.get_running_loop().call_later(kill_after_s, self._kill, slot)
        else:
            self._forget(slot)

    async def stop_all(self, *, kill_after_s: float) -> None:
        """`run` may have been cancelled before: each slot's end is awaited here."""
        living = [slot for slot in self._slots.values() if slot.identity is not None]
        for slot in living:
            assert slot.identity is not None
            signal_process(slot.identity, signal.SIGTERM)
        ends = [asyncio.create_task(self._end(slot, kill_after_s)) for slot in living]
        await asyncio.gather(*ends)
        for slot in list(self._slots.values()):
            slot.remove()
        self._slots.clear()

    async def _end(self, slot: Slot, kill_after_s: float) -> None:
        assert slot.identity is not None
        try:
            async with asyncio.timeout(kill_after_s):
                await wait_exit(slot.identity, self._settings.exits_file)
        except TimeoutError:
            self._kill(slot)
        self._limits.remove(slot.cgroup)

    def logs(
        self,
        api: str,
        *,
        replica_id: str | None = None,
        since: float | None = None,
        request_id: str | None = None,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        return self._logs.read(api, Wanted(replica_id, since, request_id), follow=follow)

    async def forget(self, api: str) -> None:
        self._logs.forget(api)

    async def prune(self, keep_revisions: frozenset[str]) -> int:
        used = {slot.workload for slot in self._slots.values() if slot.workload is not None}
        return await asyncio.to_thread(self._environments.prune, keep_revisions, used)

    # --- tending one slot --------------------------------------------------------------------------------
    def _tend(self, slot: Slot) -> None:
        if slot.id not in self._tenders:
            task = asyncio.create_task(self._tend_to_its_end(slot), name=f"tend {slot.id}")
            self._tenders[slot.id] = task
            task.add_done_callback(lambda _: self._tenders.pop(slot.id, None))

    async def _tend_to_its_end(self, slot: Slot) -> None:
        try:
            while not slot.stopping:
                if slot.identity is None and not await self._start(slot):
                    break
                await self._live(slot)
                if slot.state == "draining" or not await self._may_restart(slot):
                    break
        except Exception as exc:  # a fault of ours: shown, and not repeated for ever
            log.exception("tending %s failed", slot.id)
            self._give_up(slot, "InternalError", str(exc))
        if slot.stopping or slot.draining:
            self._forget(slot)

    async def _start(self, slot: Slot) -> bool:
        """Have a process run in the slot. False: it cannot be, or need not be any more."""
        while slot.workload is None and not slot.stopping:
            slot.changed.clear()
            await slot.changed.wait()
        if slot.workload is None:
            return False
        workload = slot.workload
        try:
            python = await self._python(slot, workload)
        except EnvironmentFailed as exc:
            self._give_up(slot, "EnvironmentFailed", exc.message)
            return False
        while not slot.stopping and not await self._reserve(slot, workload):
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CAPACITY_RETRY_S):
                    await self._room.wait()
        if slot.stopping:
            return False
        try:
            self._spawn(slot, workload, python)
        except (OSError, HatchwayError) as exc:
            self._give_up(slot, "StartFailed", f"the replica's process cannot be started: {exc}")
            return False
        self._on_change(slot.api)
        return True

    async def _python(self, slot: Slot, workload: Workload) -> Python:
        if not self._environments.is_ready(workload):
            self._tell(slot, "BuildingEnvironment", "building the Python environment")
        return await self._environments.prepare(workload)

    async def _reserve(self, slot: Slot, workload: Workload) -> bool:
        """Whether the replica may start now; its GPUs are its own from here on."""
        compute = workload.spec.compute
        others = [other for other in self._slots.values() if other is not slot]
        devices = self._devices.list() if compute.gpu else ()
        taken = {uuid for other in others for uuid in other.gpus}
        machine = dataclasses.replace(
            await asyncio.to_thread(self._machine),
            gpus=len(devices),
            free_gpus=sum(device.uuid not in taken for device in devices),
        )
        siblings = [o.pss_bytes for o in others if o.revision == slot.revision and o.pss_bytes is not None]
        estimate = max(siblings, default=PYTHON_BYTES)
        needs = Needs(compute.cpu, compute.mem, compute.gpu)
        tenants = [_tenant(other, estimate) for other in others if other.identity is not None]
        decision = decide(needs, estimate, machine, tenants)
        if isinstance(decision, DoesNotFit):
            self._tell(slot, "NoCapacity", decision.message)
            return False
        slot.gpus = choose(compute.gpu, devices, taken) or ()
        return True

    def _spawn(self, slot: Slot, workload: Workload, python: Python) -> None:
        mark = Mark(self._settings.home_hash, "replica", slot.id)
        slot.folder.mkdir(mode=0o700, exist_ok=True)
        slot.last_words_file.unlink(missing_ok=True)
        slot.log.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        slot.write_launch(make_launch(slot, workload, python))
        slot.identity = spawn(make_command(slot, workload, python, mark, os.environ))
        slot.started_at, slot.ready_at, slot.stats = time.time(), None, None
        slot.cgroup = self._limits.apply(slot.id, slot.identity.pid, workload.spec.compute.mem)
        slot.save()

    async def _live(self, slot: Slot) -> None:
        """Until the process of the slot has ended; then why is known."""
        assert slot.identity is not None
        watching = asyncio.create_task(self._watch(slot), name=f"watch {slot.id}")
        try:
            code = await wait_exit(slot.identity, self._settings.exits_file)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        now = time.time()
        kill_tree(slot.identity, Mark(self._settings.home_hash, "replica", slot.id))  # what it left behind
        ready_s = None if slot.ready_at is None else now - slot.ready_at
        reason, message = restarts.describe(code, slot.read_last_words())
        if self._limits.was_hit(slot.cgroup) or slot.reason == "OutOfMemory":
            reason, message = "OutOfMemory", self._out_of_memory(slot)
        self._limits.remove(slot.cgroup)
        slot.exits.append(restarts.Exit(now, code, ready_s))
        slot.identity, slot.ready_at, slot.cgroup, slot.stats = None, None, "", None
        self._room.set()
        self._tell(slot, reason, message)
        if not slot.stopping:
            slot.log.say("ERROR", f"replica {slot.id} ended: {reason}: {message}", now)
            slot.save()

    def _out_of_memory(self, slot: Slot) -> str:
        limit = slot.workload.spec.compute.mem if slot.workload else None
        allowed = "what it may" if limit is None else f"compute.mem ({mebibytes(limit)})"
        return f"the replica took more memory than {allowed}; give it more, or make the model smaller"

    async def _watch(self, slot: Slot) -> None:
        """Readiness, then numbers, for as long as the process lives."""
        while slot.ready_at is None:
            try:
                if await control.is_ready(slot.control, wait_s=READY_POLL_S) and not slot.draining:
                    slot.ready_at, slot.reason, slot.message = time.time(), "", ""
            except control.Unanswered:
                await asyncio.sleep(RETRY_S)
                continue
            if slot.draining:
                break
        slot.save()
        await self._refresh(slot)
        self._on_change(slot.api)
        while True:
            slot.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAINING_STATS_S if slot.draining else STATS_S):
                    await slot.changed.wait()
            await self._refresh(slot)

    async def _refresh(self, slot: Slot) -> None:
        if slot.identity is None:
            return
        with contextlib.suppress(control.Unanswered):
            slot.stats = await control.read_stats(slot.control)
        limit = slot.workload.spec.compute.mem if slot.workload else None
        pids = tree(slot.identity.pid, table()) if limit is not None and not slot.cgroup else [slot.identity.pid]
        slot.rss_bytes, slot.pss_bytes = await asyncio.to_thread(read_memory, pids)
        if limit is not None and not slot.cgroup and (slot.pss_bytes or 0) > limit:
            slot.reason = "OutOfMemory"
            self._kill(slot)

    async def _may_restart(self, slot: Slot) -> bool:
        """Wait until the slot's process may be started again. False: it stays down."""
        decision = restarts.decide(slot.exits)
        if isinstance(decision, restarts.Never):
            # What is known of the cause says more than that it came again and again.
            reason = slot.reason if slot.reason == "OutOfMemory" else decision.reason or slot.reason
            message = "; ".join(filter(None, (decision.message, slot.message)))
            self._give_up(slot, reason, message)
            return False
        slot.restarts += 1
        delay_s = decision.at - time.time()
        while delay_s > 0 and not slot.stopping:
            slot.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await slot.changed.wait()
            delay_s = decision.at - time.time()
        return not slot.stopping

    # --- small steps -------------------------------------------------------------------------------------
    def _tell(self, slot: Slot, reason: str, message: str) -> None:
        if (slot.reason, slot.message) != (reason, message) or slot.identity is None:
            slot.reason, slot.message = reason, message
            self._on_change(slot.api)

    def _give_up(self, slot: Slot, reason: str, message: str) -> None:
        slot.final, slot.reason, slot.message = True, reason, message
        if slot.folder.is_dir():
            slot.save()
        self._on_change(slot.api)

    def _kill(self, slot: Slot) -> None:
        if slot.identity is not None:
            kill_tree(slot.identity, Mark(self._settings.home_hash, "replica", slot.id))

    def _forget(self, slot: Slot) -> None:
        if self._slots.pop(slot.id, None) is not None:
            slot.remove()
            self._room.set()
            self._on_change(slot.api)

    def _make_slot(self, api: str, revision: str, replica_id: str) -> Slot:
        return Slot(
            id=replica_id,
            api=api,
            revision=revision,
            folder=self._settings.replicas_dir / replica_id,
            address=str(self._settings.replica_socket(replica_id, "data")),
            control=str(self._settings.replica_socket(replica_id, "ctl")),
            log=ReplicaLog(self._logs.folder(api), revision, replica_id),
        )

    def _new_id(self, api: str) -> str:
        while True:
            replica_id = f"{api}-{''.join(secrets.choice(_ALPHABET) for _ in range(5))}"
            if replica_id not in self._slots:
                return replica_id


def _tenant(slot: Slot, estimate_bytes: int) -> Tenant:
    """What was declared stays promised; an estimate only until the replica is ready and can be measured."""
    used = slot.pss_bytes or 0
    declared = slot.workload.spec.compute.mem if slot.workload else None
    promised = declared if declared is not None else (estimate_bytes if slot.ready_at is None else used)
    return Tenant(slot.workload.spec.compute.cpu if slot.workload else 1.0, promised, used)
