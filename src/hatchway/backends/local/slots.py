"""A slot: the place of one replica, through all its processes, and what of it is kept on disk.

`replicas/ID/` holds `launch.json` (how the replica is started), `slot.json` (who runs in it and how former ones
ended), `last_words.json` (why the last one gave up), `draining` (a mark) and the replica's scratch folders. That is
all a new engine needs to adopt the replica.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hatchway.backends import Replica, Workload
from hatchway.backends.local.logs import ReplicaLog
from hatchway.backends.local.restarts import Exit, forget_old
from hatchway.contract import LastWords, Launch, ReplicaStats
from hatchway.processes import Identity
from hatchway.spec.status import ReplicaState


@dataclass
class Slot:
    """One replica as its backend knows it."""

    id: str
    api: str
    revision: str
    folder: Path
    address: str  # path of the data socket
    control: str  # path of the control socket
    log: ReplicaLog
    workload: Workload | None = None  # None after adoption, until it is applied again
    identity: Identity | None = None  # who runs now
    started_at: float | None = None
    ready_at: float | None = None
    exits: list[Exit] = field(default_factory=list)
    restarts: int = 0
    gpus: tuple[str, ...] = ()
    cgroup: str = ""
    draining: bool = False
    stopping: bool = False
    final: bool = False
    reason: str = ""
    message: str = ""
    stats: ReplicaStats | None = None
    rss_bytes: int | None = None
    pss_bytes: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # something its tender waits for

    @property
    def state(self) -> ReplicaState:
        if self.draining or self.stopping:
            return "draining"
        if self.final:
            return "failed"
        return "ready" if self.ready_at is not None else "starting"

    def to_replica(self) -> Replica:
        stats = self.stats
        return Replica(
            id=self.id,
            api=self.api,
            revision=self.revision,
            state=self.state,
            address=self.address,
            reason=self.reason,
            message=self.message,
            pid=self.identity.pid if self.identity else None,
            started_at=self.started_at,
            restarts=self.restarts,
            rss_bytes=self.rss_bytes,
            in_flight=stats.in_flight if stats else 0,
            queued=stats.queued if stats else 0,
            handler=stats.handler if stats else "",
            final=self.final,
        )

    # --- on disk -----------------------------------------------------------------------------------------
    @property
    def launch_file(self) -> Path:
        return self.folder / "launch.json"

    @property
    def last_words_file(self) -> Path:
        return self.folder / "last_words.json"

    def save(self) -> None:
        """Keep who runs and how it went; whole or not at all."""
        self.exits = forget_old(self.exits)
        kept = {
            "api": self.api,
            "revision": self.revision,
            "pid": self.identity.pid if self.identity else None,
            "start_time": self.identity.start_time if self.identity else None,
            "started_at": self.started_at,
            "ready_at": self.ready_at,
            "restarts": self.restarts,
            "exits": [dataclasses.asdict(end) for end in self.exits],
            "gpus": self.gpus,
            "cgroup": self.cgroup,
            "final": self.final,
            "reason": self.reason,
            "message": self.message,
        }
        temporary = self.folder / "slot.json.new"
        temporary.write_text(json.dumps(kept))
        temporary.replace(self.folder / "slot.json")

    def recall(self) -> None:
        """Read what `save` kept. Raises OSError or ValueError when there is nothing, or it is damaged."""
        kept: dict[str, Any] = json.loads((self.folder / "slot.json").read_text())
        if kept["pid"] is not None:
            self.identity = Identity(kept["pid"], kept["start_time"])
        self.started_at, self.ready_at = kept["started_at"], kept["ready_at"]
        self.restarts, self.final = kept["restarts"], kept["final"]
        self.exits = [Exit(**end) for end in kept["exits"]]
        self.gpus, self.cgroup = tuple(kept["gpus"]), kept["cgroup"]
        self.reason, self.message = kept["reason"], kept["message"]
        self.draining = (self.folder / "draining").exists()

    def write_launch(self, launch: Launch) -> None:
        self.launch_file.write_text(launch.to_json())
        for name in ("tmp", "pycache"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)

    def read_last_words(self) -> LastWords | None:
        try:
            return LastWords.from_json(self.last_words_file.read_text())
        except (OSError, ValueError, KeyError):
            return None

    def mark_draining(self) -> None:
        self.draining = True
        (self.folder / "draining").touch()

    def remove(self) -> None:
        """Nothing of it is left but its log."""
        for socket in (self.address, self.control):
            Path(socket).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def read_memory(pids: list[int]) -> tuple[int, int]:
    """(RSS, PSS) in bytes of some processes together. PSS shares what is shared; RSS is what tools show."""
    rss = pss = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                for line in file:
                    if line.startswith(b"Rss:"):
                        rss += int(line.split()[1]) * 1024
                    elif line.startswith(b"Pss:"):
                        pss += int(line.split()[1]) * 1024
        except (OSError, ValueError):
            continue
    return rss, pss
