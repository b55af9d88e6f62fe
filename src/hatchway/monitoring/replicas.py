"""Listens to every replica of the home: found by their sockets, as the activator finds them, engine or not.

One connection each, over which a replica tells what it saw whenever there is something. While nothing comes and goes,
this costs a look at the modification time of one folder and one file each second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from hatchway.contract import CONTROL_SAMPLES, SampleTerms
from hatchway.monitoring.frames import BadFrame, Frame, read
from hatchway.monitoring.terms import Watched

log = logging.getLogger("monitor")

LOOK_S = 1.0
RETRY_S = 0.5
ANSWER_S = 10.0
CLOCK_STEP_NS = 50_000_000  # of a file system's clock, at most
LONGEST_LINE_BYTES = 64 * 1024 * 1024

_CONTROL = ".ctl"

OnFrame = Callable[[str, str, Frame], None]


@dataclass
class _Listening:
    terms: SampleTerms
    task: asyncio.Task[None]


class Replicas:
    """`sockets` holds REPLICA_ID.ctl; `folders` holds REPLICA_ID/launch.json. `on_frame(api, revision, frame)`."""

    def __init__(
        self, sockets: Path, folders: Path, on_frame: OnFrame, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._sockets = sockets
        self._folders = folders
        self._on_frame = on_frame
        self._clock_ns = clock_ns
        self._owners: dict[str, tuple[str, str]] = {}  # replica id -> API, revision
        self._listening: dict[str, _Listening] = {}
        self._mtime_ns = -1

    def look(self, apis: Mapping[str, Watched], *, has_news: bool) -> None:
        """Listen to replicas that are there now, by the terms of their APIs. `has_news`: terms have changed."""
        mtime_ns = os.stat(self._sockets).st_mtime_ns
        if mtime_ns == self._mtime_ns and not has_news:
            return
        # The clock of a file system stands still for milliseconds: what appears in the same ones would not be seen.
        self._mtime_ns = mtime_ns if abs(self._clock_ns() - mtime_ns) > CLOCK_STEP_NS else -1
        ids = {name.removesuffix(_CONTROL) for name in os.listdir(self._sockets) if name.endswith(_CONTROL)}
        self._owners = {replica_id: owner for replica_id, owner in self._owners.items() if replica_id in ids}
        for replica_id in [*self._listening]:
            if replica_id not in ids and self._listening[replica_id].task.done():
                del self._listening[replica_id]
        for replica_id in sorted(ids):
            owner = self._owner(replica_id)
            if owner is not None and owner[0] in apis:
                self._listen(replica_id, owner, apis[owner[0]].terms)

    async def stop(self) -> None:
        """Listen to nobody any more."""
        tasks = [listening.task for listening in self._listening.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _owner(self, replica_id: str) -> tuple[str, str] | None:
        if replica_id not in self._owners:
            try:
                launch = json.loads((self._folders / replica_id / "launch.json").read_bytes())
                self._owners[replica_id] = (str(launch["api"]), str(launch["revision"]))
            except (OSError, ValueError, KeyError, TypeError):
                return None
        return self._owners[replica_id]

    def _listen(self, replica_id: str, owner: tuple[str, str], terms: SampleTerms) -> None:
        former = self._listening.get(replica_id)
        if former is not None:
            if former.terms == terms:
                return
            former.task.cancel()
        task = asyncio.get_running_loop().create_task(self._follow(replica_id, owner, terms), name=f"from {replica_id}")
        self._listening[replica_id] = _Listening(terms, task)
        task.add_done_callback(_complain)

    async def _follow(self, replica_id: str, owner: tuple[str, str], terms: SampleTerms) -> None:
        path = self._sockets / f"{replica_id}{_CONTROL}"
        while path.exists():
            with contextlib.suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                if not await self._hear(str(path), owner, terms):
                    return
            await asyncio.sleep(RETRY_S)

    async def _hear(self, path: str, owner: tuple[str, str], terms: SampleTerms) -> bool:
        """Until the connection ends; False if there will be nothing to hear."""
        reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_LINE_BYTES)
        try:
            target = f"{CONTROL_SAMPLES}?terms={quote(terms.to_json())}"
            writer.write(f"GET {target} HTTP/1.0\r\nhost: replica\r\n\r\n".encode())
            async with asyncio.timeout(ANSWER_S):
                head = await reader.readuntil(b"\r\n\r\n")
            if head.split(b" ", 2)[1] != b"200" or not terms.enabled:
                return False
            while (line := await reader.readline()).endswith(b"\n"):
                try:
                    self._on_frame(*owner, read(line))
                except BadFrame as exc:
                    log.warning("%s, revision %s: what it tells cannot be read: %s", *owner, exc)
        finally:
            writer.close()
        return True


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("listening %s failed", task.get_name(), exc_info=error)
