"""Where replicas run: one small declarative protocol, one implementation per place.

A backend keeps replicas of a workload alive: it restarts what crashes, with a growing delay, and never restarts
what cannot load. It does not know about the gateway, rollouts or other revisions; the controller decides those.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hatchway.contract import MetricSeries, RequestRecord
from hatchway.spec.api import Compute, RealtimeApi
from hatchway.spec.logs import LogQuery
from hatchway.spec.revision import Interpreter, ProjectFile
from hatchway.spec.status import LogLine, ReplicaState, StartKind


@dataclass(frozen=True)
class Workload:
    """One revision of one API, ready to run."""

    api: str
    revision: str
    spec: RealtimeApi  # with variables filled in
    project_dir: Path  # the revision's own tree
    interpreter: Interpreter
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # handler.env filled in; may hold secrets
    # What came with the deploy, for `uv` (indexes, with credentials) and for handler.secrets on one machine.
    build_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: tuple[ProjectFile, ...] = ()  # of the project
    lock: str | None = None  # "name==version" lines that pin what handler.dependencies leaves open
    trusted_models: tuple[str, ...] = ()  # sha256s of models that may run code while they load


@dataclass(frozen=True)
class Replica:
    """One replica as the backend sees it now.

    `reason` is a stable word when something stands in the way: NoCapacity, NoStorage, SecretMissing,
    BuildingEnvironment, EnvironmentFailed, CrashLoop, OutOfMemory, Stuck, Unknown, or what the replica's last words
    say (ImportError, HandlerNotFound, BadSignature, InitFailed, WarmupFailed, ...).
    """

    id: str
    api: str
    revision: str
    state: ReplicaState
    address: str  # path of the data socket
    reason: str = ""
    message: str = ""
    pid: int | None = None
    started_at: float | None = None  # seconds since the epoch
    restarts: int = 0
    rss_bytes: int | None = None
    in_flight: int = 0
    queued: int = 0
    refused: int = 0  # since its start: tries for which its queue was full
    slots: int | None = None  # requests it works on at a time; None: it has not said yet
    handler: str = ""  # what runs, for people
    start: StartKind = ""  # how its process was started
    start_reason: str = ""  # why it was spawned and not forked
    final: bool = False  # failed for good: starting it again would fail again
    resumable: bool = False  # it drains, and that may still be taken back


@dataclass(frozen=True)
class GpuUse:
    """One GPU that a replica has reserved, whoever uses it."""

    uuid: str
    memory_bytes: int
    busy_ratio: float


@dataclass(frozen=True)
class Measures:
    """What a replica uses and counts, with all processes it started."""

    cpu_s: float
    pss_bytes: int
    gpus: tuple[GpuUse, ...] = ()
    series: tuple[MetricSeries, ...] = ()  # nothing when it does not answer


@dataclass(frozen=True)
class SeenRequest:
    """A request that a replica knows of."""

    api: str
    revision: str
    replica: str
    record: RequestRecord


@dataclass(frozen=True)
class Sightings:
    """All of one id. `since`: from when on every replica knows all of its requests, in seconds since the epoch; None:
    from its start."""

    seen: Sequence[SeenRequest] = ()
    since: float | None = None


class Backend(Protocol):
    """The verbs of a place where replicas run. All are safe to repeat.

    `on_change(api)` (given to the implementation when it is built) is called whenever a replica of `api` changed
    state, so that the controller looks again.
    """

    async def adopt(self) -> None:
        """Find what a former engine left running, before anything else is called."""
        ...

    async def run(self) -> None:
        """Watch and restart replicas until cancelled. Cancelling leaves them running."""
        ...

    async def apply(self, workload: Workload, replicas: int) -> None:
        """Make `replicas` replicas of the workload exist that are not draining; start missing ones.

        With fewer than there are, those that are not ready are stopped; a ready one only goes by drain and stop.
        """
        ...

    def observe(self, api: str | None = None) -> Sequence[Replica]:
        """All replicas there are, or those of one API, from memory: cheap enough for every reconcile."""
        ...

    async def measure(self) -> Mapping[str, Measures]:
        """What replicas use and count now, by id. It asks each of them: for every 15 seconds, not for every look."""
        ...

    async def drain(self, replica_id: str, *, for_good: bool = False) -> None:
        """Tell a replica that it will go. It answers what reaches it, but is not ready any more.

        `for_good`: it is of no use to anybody, so `resume` will not bring it back.
        """
        ...

    async def resume(self, replica_id: str) -> bool:
        """Take a drain back: the replica is ready again. False: it goes on to drain, for it is asked to stop already,
        does not answer, or is of a version that does not know this; and it is not `resumable` any more."""
        ...

    async def stop(self, replica_id: str, *, kill_after_s: float) -> None:
        """Ask a replica to end, kill it when it has not after `kill_after_s`, and forget it. Does not wait."""
        ...

    async def stop_all(self, *, kill_after_s: float) -> None:
        """End every replica and return when all are gone (for `down`)."""
        ...

    async def shortage(self, api: str, compute: Compute, *, new: int, old: int) -> str | None:
        """What is lacking for `new` replicas that ask for `compute` beside `old` of the ready ones of `api` and all
        of other APIs, even if nothing else ran here. None: nothing, or it is not known (a cluster may grow)."""
        ...

    def logs(self, api: str, query: LogQuery, *, follow: bool = False) -> AsyncIterator[LogLine]:
        """The wanted log lines of an API's replicas, oldest first, merged by time; `follow` waits for more."""
        ...

    async def find_request(self, request_id: str) -> Sightings:
        """What the replicas that live know of the requests of this id."""
        ...

    def release(self, api: str) -> None:
        """The API is stopped: free what was kept so that its next replica starts fast."""
        ...

    async def forget(self, api: str) -> None:
        """Delete the logs and scratch files of an API that is gone."""
        ...

    async def prune(self, keep_revisions: frozenset[str]) -> int:
        """Remove environments and scratch files that no kept revision needs. Returns the bytes freed."""
        ...
