"""A slot is the place of one replica: its id, its folder with all that adoption needs, and what is known now.

A slot outlives its process, which is restarted in it. Its folder holds `slot.json` (what it is, how it fared),
`process.json` (who runs in it), the launch file, last words, a temporary folder, and the markers `draining` and
`stopping`. Each file is replaced in one step. But for the launch file they are read by the next engine only: where one
cannot be written (the disk is full), that is logged and this engine goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hatchway.backends import Replica, Workload
from hatchway.backends.local.capacity import Needs
from hatchway.backends.local.cgroups import Cgroup
from hatchway.backends.local.logs import ReplicaLog
from hatchway.backends.local.recipe import Recipe
from hatchway.backends.local.restarts import Exit
from hatchway.contract import LastWords, Launch
from hatchway.files import replace_text
from hatchway.processes import Identity
from hatchway.spec.status import ReplicaState, StartKind

log = logging.getLogger(__name__)

# No vowels, no look-alikes: ids are read aloud and never spell words.
_ID_LETTERS = "23456789bcdfghjkmnpqrstvwxz"
_ID_LENGTH = 5
_FOR_GOOD = "for good"
_LONGEST_PREFIX = 24  # socket paths are limited to about 107 bytes


def make_id(api: str) -> str:
    """A short name for a replica: "iris-7f3k2"."""
    return f"{api[:_LONGEST_PREFIX].rstrip('-')}-" + "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))


class SlotFolder:
    """The files of one slot."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.launch = path / "launch.json"
        self.last_words = path / "last_words.json"
        self.tmp = path / "tmp"
        self.draining = path / "draining"
        self.stopping = path / "stopping"
        self._slot = path / "slot.json"
        self._process = path / "process.json"

    def create(self) -> None:
        for folder in (self.path, self.tmp):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> int:
        """Delete everything. Returns the bytes freed."""
        freed = sum(file.lstat().st_size for file in self.path.rglob("*") if file.is_file())
        shutil.rmtree(self.path, ignore_errors=True)
        return freed

    def empty_tmp(self) -> None:
        shutil.rmtree(self.tmp, ignore_errors=True)
        self.tmp.mkdir(mode=0o700, exist_ok=True)

    def write_launch(self, launch: Launch) -> None:
        """Raises OSError. A replica that is started again needs no room on the disk: the file is there already."""
        text = launch.to_json()
        if not self.launch.exists() or self.launch.read_text() != text:
            replace_text(self.launch, text)

    def mark_draining(self, *, for_good: bool) -> None:
        _note(self.draining, _FOR_GOOD if for_good else "")

    def drains_for_good(self) -> bool:
        """Of a replica that drains. Also when nobody can tell."""
        try:
            return self.draining.read_text() == _FOR_GOOD
        except OSError:
            return True

    def unmark_draining(self) -> None:
        self.draining.unlink(missing_ok=True)

    def mark_stopping(self, kill_after_s: float) -> None:
        _note(self.stopping, str(kill_after_s))

    def write_slot(self, record: dict[str, Any]) -> None:
        _note(self._slot, json.dumps(record))

    def read_slot(self) -> dict[str, Any] | None:
        return _read(self._slot)

    def write_process(self, record: dict[str, Any]) -> None:
        _note(self._process, json.dumps(record))

    def read_process(self) -> dict[str, Any] | None:
        return _read(self._process)

    def read_launch(self) -> dict[str, Any] | None:
        """As plain data: it may be of another contract version."""
        return _read(self.launch)

    def take_last_words(self) -> LastWords | None:
        """What the replica said before it gave up, if it did; only once."""
        try:
            words = LastWords.from_json(self.last_words.read_text(errors="replace"))
        except (OSError, ValueError, KeyError, TypeError):
            words = None
        self.last_words.unlink(missing_ok=True)
        return words


@dataclass
class Slot:
    """One replica as this engine knows it."""

    id: str
    api: str
    revision: str
    needs: Needs
    folder: SlotFolder
    data_socket: str
    control_socket: str
    log: ReplicaLog
    state: ReplicaState = "starting"
    reason: str = ""
    message: str = ""
    final: bool = False
    stopping: bool = False
    may_resume: bool = False  # its drain, if it drains, is not for good
    process: Identity | None = None
    cgroup: Cgroup | None = None
    oom_kills_before: int = 0
    started_at: float | None = None  # seconds since the epoch, to be shown
    ready_since: float | None = None  # on the monotonic clock
    answered_at: float = 0.0  # likewise: when it last answered on its control socket
    timeout_s: float = 60.0
    killed_for: tuple[str, str] | None = None  # (reason, message), when it was us who killed it
    restarts: int = 0
    exits: list[Exit] = field(default_factory=list)
    devices: tuple[str, ...] = ()
    rss_bytes: int | None = None
    in_flight: int = 0
    queued: int = 0
    refused: int = 0
    slots: int | None = None
    handler: str = ""
    start: StartKind = ""
    start_reason: str = ""  # why it is spawned and not forked
    pioneer_since: float | None = None  # on the monotonic clock: it was started before anybody knew what to import
    recipe: Recipe | None = None  # of the template that it or its successors may be forked from
    _workload: Workload | None = None  # None: adopted, and nobody has said yet what is to run in it
    _is_known: asyncio.Event = field(default_factory=asyncio.Event)

    def set_workload(self, workload: Workload) -> None:
        self._workload = workload
        self._is_known.set()

    async def known_workload(self) -> Workload:
        """What is to run in the slot; for an adopted one, as soon as somebody says."""
        while self._workload is None:
            await self._is_known.wait()
        return self._workload

    @property
    def is_going(self) -> bool:
        return self.stopping or self.state == "draining"

    @property
    def is_pioneering(self) -> bool:
        """It may still show what its API's handler imports."""
        return self.pioneer_since is not None and self.state == "starting" and not self.stopping

    @property
    def is_resumable(self) -> bool:
        return self.may_resume and self.state == "draining" and not self.stopping

    def save(self) -> None:
        """Write what must survive the engine."""
        self.folder.write_slot(
            {
                "api": self.api,
                "revision": self.revision,
                "needs": dataclasses.asdict(self.needs),
                "restarts": self.restarts,
                "exits": [dataclasses.asdict(end) for end in self.exits],
                "failure": [self.reason, self.message] if self.final else None,
            }
        )

    def save_process(self) -> None:
        """Write who runs in the slot, or that nobody does."""
        process = None if self.process is None else dataclasses.asdict(self.process)
        self.folder.write_process(
            {
                "process": process,
                "started_at": self.started_at,
                "ready_since": self.ready_since,
                "devices": list(self.devices),
                "oom_kills_before": self.oom_kills_before,
                "start": [self.start, self.start_reason],
            }
        )

    def restore(self, record: dict[str, Any]) -> None:
        """Take over what `save` wrote. Raises KeyError, TypeError for a damaged record."""
        self.restarts = int(record["restarts"])
        self.exits = [Exit(**end) for end in record["exits"]]
        if record.get("failure"):
            self.state, self.final = "failed", True
            self.reason, self.message = record["failure"]

    def restore_process(self, record: dict[str, Any]) -> None:
        process = record.get("process")
        self.process = None if process is None else Identity(**process)
        self.started_at, self.ready_since = record.get("started_at"), record.get("ready_since")
        self.devices = tuple(record.get("devices", ()))
        self.oom_kills_before = int(record.get("oom_kills_before", 0))
        self.start, self.start_reason = record.get("start", ("", ""))

    def remove_sockets(self) -> None:
        for path in (self.data_socket, self.control_socket):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def to_replica(self) -> Replica:
        return Replica(
            id=self.id,
            api=self.api,
            revision=self.revision,
            state="draining" if self.stopping else self.state,
            address=self.data_socket,
            reason="Stopping" if self.stopping else self.reason,
            message="" if self.stopping else self.message,
            pid=None if self.process is None else self.process.pid,
            started_at=self.started_at,
            restarts=self.restarts,
            rss_bytes=self.rss_bytes,
            in_flight=self.in_flight,
            queued=self.queued,
            refused=self.refused,
            slots=self.slots,
            handler=self.handler,
            start=self.start,
            start_reason=self.start_reason,
            final=self.final,
            resumable=self.is_resumable,
        )


def _note(path: Path, text: str) -> None:
    """Write what only the next engine reads."""
    try:
        replace_text(path, text)
    except OSError as exc:
        log.warning("cannot write %s: %s", path, exc.strerror)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
