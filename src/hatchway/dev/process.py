"""One replica in the foreground: it has the terminal, and ends with us.

It stays in our process group, so that a debugger in it may read the terminal. However we end, it follows: it holds one
end of a pipe whose other end is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hatchway.backends import Workload, control
from hatchway.backends.local.backend import REPLICA_MAIN
from hatchway.backends.local.capacity import Needs
from hatchway.backends.local.environments import Runtime
from hatchway.backends.local.launch import make_environment, make_launch
from hatchway.backends.local.logs import ReplicaLog
from hatchway.backends.local.slots import Slot, SlotFolder
from hatchway.contract import Launch
from hatchway.dev.places import Places, owner
from hatchway.processes import Identity, Mark, identify, kill_tree

DOCUMENT_TIMEOUT_S = 2.0
CONTROL_LOOK_S = 0.02  # until the control socket is there: a new socket makes no event
READY_WAIT_S = 60.0  # one question; it is asked again
DEV_ROLE = "dev"


@dataclass(frozen=True)
class End:
    """How a replica ended. Of one that has said why, `message` was on the terminal already."""

    reason: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason


class NotLoaded(Exception):
    """A replica ended before it was ready. The message is one line; `reason` is the part of it that the terminal has
    not shown yet."""

    def __init__(self, end: End) -> None:
        super().__init__(str(end))
        self.reason = end.reason


@dataclass(eq=False)
class DevReplica:
    """A process that serves one API, from its start to its end."""

    workload: Workload
    slot: Slot
    process: asyncio.subprocess.Process
    identity: Identity
    mark: Mark
    lifeline: int  # our end of the pipe
    title: str = ""  # what it serves, once it is ready
    document: Any = None  # its OpenAPI document, where the model alone knows of an example

    @property
    def address(self) -> str:
        return self.slot.data_socket

    async def wait_ready(self) -> None:
        """Raises NotLoaded when it ends instead."""
        ending = asyncio.create_task(self.process.wait(), name="replica ends")
        asking = asyncio.create_task(self._ask_ready(), name="replica ready")
        try:
            await asyncio.wait({ending, asking}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise NotLoaded(self.describe_end())
        finally:
            for task in (ending, asking):
                task.cancel()
            await asyncio.gather(ending, asking, return_exceptions=True)

    def describe_end(self) -> End:
        words = self.slot.folder.take_last_words()
        if words is not None:
            return End(words.reason, words.message.splitlines()[0])
        code = self.process.returncode
        if code is not None and code < 0:
            return End(f"its process was ended by {signal.Signals(-code).name}")
        return End(f"its process ended with exit code {code}")

    def ask_to_end(self) -> None:
        """Finish what runs, take no more."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)

    async def end(self, grace_s: float) -> None:
        """Returns when it and all it started are gone."""
        self.ask_to_end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.process.wait()
        kill_tree(self.identity, self.mark)
        await self.process.wait()
        os.close(self.lifeline)
        self.slot.remove_sockets()
        self.slot.folder.remove()

    async def _ask_ready(self) -> None:
        while True:
            try:
                if await control.is_ready(self.slot.control_socket, wait_s=READY_WAIT_S):
                    break
            except control.Unanswered:
                await asyncio.sleep(CONTROL_LOOK_S)
        self.title = (await control.read_stats(self.slot.control_socket)).handler
        handler = self.workload.spec.handler
        if handler.model is not None and handler.example is None and handler.warmup is None:
            self.document = await _read_document(self.address)


async def start(
    workload: Workload, runtime: Runtime, number: int, places: Places, environ: Mapping[str, str]
) -> DevReplica:
    """Start a process; it is not ready yet. `number` is its own in this session."""
    slot = _make_slot(workload, number, places)
    mark = Mark(owner(), DEV_ROLE, slot.id)
    theirs, ours = os.pipe()
    os.set_inheritable(theirs, True)
    slot.folder.create()
    slot.folder.write_launch(_adapt(make_launch(slot, workload, runtime), theirs))
    environment = make_environment(environ, slot, workload, runtime.python, mark, places.bytecode)
    gpus = environ.get("CUDA_VISIBLE_DEVICES")  # no GPU is reserved: what the shell sees, the replica sees
    environment = {key: value for key, value in environment.items() if key != "CUDA_VISIBLE_DEVICES"}
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus
    try:
        process = await asyncio.create_subprocess_exec(
            runtime.python.executable,
            str(REPLICA_MAIN),
            str(slot.folder.launch),
            cwd=workload.project_dir,
            env=environment,
            pass_fds=(theirs,),
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    identity = identify(process.pid) or Identity(process.pid, 0)
    return DevReplica(workload, slot, process, identity, mark, ours)


async def _read_document(address: str) -> Any:
    """None if it has none to give: what is shown of it is a convenience."""
    import httpx

    try:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=address)) as client:
            answer = await client.get("http://replica/openapi.json", timeout=DOCUMENT_TIMEOUT_S)
        return answer.json() if answer.is_success else None
    except (httpx.HTTPError, ValueError):
        return None


def _make_slot(workload: Workload, number: int, places: Places) -> Slot:
    slot_id = f"{workload.api}-{number}"
    return Slot(
        id=slot_id,
        api=workload.api,
        revision=workload.revision,
        needs=Needs(workload.spec.compute.cpu, workload.spec.compute.mem),
        folder=SlotFolder(places.scratch / slot_id),
        data_socket=str(places.sockets / f"{number}.data"),
        control_socket=str(places.sockets / f"{number}.ctl"),
        log=ReplicaLog(places.scratch, workload.revision, slot_id),
        started_at=time.time(),
    )


def _adapt(launch: Launch, lifeline_fd: int) -> Launch:
    """For a person: a plain log, no timeout, since a request may be waiting in a debugger, and nobody who monitors."""
    return replace(launch, plain_log=True, lifeline_fd=lifeline_fd, timeout_s=0.0, samples=False)
