"""What is, as last observed: the JSON contract of `get`, `deploy` and `status`. Always derivable, never edited."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Phase = Literal["starting", "live", "updating", "idle", "stopped", "failed", "deleting"]
StartKind = Literal["", "forked", "spawned"]
ReplicaState = Literal["starting", "ready", "draining", "failed"]
DeployAction = Literal["created", "updated", "configured", "unchanged", "rolled_back", "restarted"]


class Wire(BaseModel):
    """A typed result; unknown fields of a newer engine are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Condition(Wire):
    """One statement about an API: `state` is "true", "false" or "unknown"."""

    type: str  # Ready, Updated, GatewayAccepted
    state: Literal["true", "false", "unknown"]
    reason: str = ""
    message: str = ""


class ReplicaCounts(Wire):
    desired: int = 0
    ready: int = 0
    starting: int = 0
    failed: int = 0


class ReplicaStatus(Wire):
    id: str
    pid: int | None
    revision: str
    state: ReplicaState
    started_at: str | None  # ISO 8601, UTC
    restarts: int
    rss_bytes: int | None
    reason: str = ""
    message: str = ""
    start: StartKind = ""  # forked from a process that had imported its packages, or a new process
    start_reason: str = ""  # why it was spawned and not forked


class RevisionStatus(Wire):
    id: str
    created_at: str
    active: bool  # the one that is wanted
    git_commit: str | None = None
    live_at: str | None = None  # when it last became live; None: never


class ScaledStatus(Wire):
    """A number of replicas that somebody wants for a while, whatever the load."""

    replicas: int
    until: str
    by: str  # user@host


class ApiStatus(Wire):
    """`get NAME -o json`."""

    name: str
    kind: str
    status: Phase
    reason: str
    revision: str
    endpoint: str  # full URL
    replicas: ReplicaCounts
    in_flight: int
    conditions: tuple[Condition, ...]
    replica_list: tuple[ReplicaStatus, ...]
    spec: dict[str, Any]  # with defaults, `${VAR}` kept as a reference
    revisions: tuple[RevisionStatus, ...]
    message: str = ""
    updated_at: str = ""
    scaled: ScaledStatus | None = None


class ScalingStep(Wire):
    """One decision of the autoscaler: an element of `decisions` in `why NAME -o json`."""

    at: str  # ISO 8601, UTC
    before: int  # replicas that were wanted until then
    replicas: int  # and since
    message: str  # why, in words
    in_flight: float | None  # requests in flight and queued at that moment; None: nobody knew
    average: float | None  # of them, over autoscaling.window
    target: float  # of them for each replica
    limits: tuple[str, ...] = ()  # which settings changed what the average alone asked for


class Explanation(Wire):
    """`why NAME -o json`: how an API is, and how that came about."""

    name: str
    status: Phase
    reason: str
    message: str
    replicas: ReplicaCounts
    conditions: tuple[Condition, ...]
    decisions: tuple[ScalingStep, ...]  # the newest first


class DeployResult(Wire):
    """One element of `deploy -o json`; `restart` and `rollback` print one."""

    name: str
    kind: str
    status: Phase
    revision: str
    endpoint: str
    message: str  # "created", "up to date", "updated: handler.py changed", ...
    changes: tuple[str, ...] = ()  # what differs from what is deployed, one line each
    action: DeployAction = "unchanged"
    kept: tuple[str, ...] = ()  # of a rollback: settings that stay as they are now, "field: then -> now"


class HistoryEntry(Wire):
    """One element of `history -o json`: what somebody did to an API, and what became of it.

    `outcome` is "done" for what takes effect at once; else "pending" until the API is "live" or the attempt "failed",
    or was "replaced" by the next one. `reason` and `message` say why it failed.
    """

    at: str
    by: str  # user@host; "" when nobody said
    action: Literal["deployed", "configured", "rolled_back", "restarted", "scaled", "stopped", "started"]
    revision: str  # the wanted one afterwards
    git_commit: str | None
    changes: tuple[str, ...]  # one line each
    outcome: Literal["pending", "live", "failed", "replaced", "done"]
    took_s: float | None  # until it was live, failed or replaced
    reason: str = ""
    message: str = ""


class EngineStatus(Wire):
    pid: int
    version: str


class GatewayStatus(Wire):
    pid: int | None
    port: int
    url: str


class Address(Wire):
    url: str


class TracesStatus(Wire):
    """Where traces go, and how many spans since the engine's start."""

    endpoint: str
    spans_sent: int
    spans_dropped: int


class Status(Wire):
    """`status -o json`."""

    engine: EngineStatus
    gateway: GatewayStatus
    home: str
    apis: dict[str, int]  # how many APIs there are in each phase
    disk_bytes: dict[str, int]  # by folder of the home
    dashboard: Address | None = None  # None: an engine that has none yet
    metrics: Address | None = None  # where Prometheus reads them
    traces: TracesStatus | None = None  # None: nothing is traced


class LogLine(Wire):
    """One line of `logs -o json`: what a handler printed or logged, or what its replica or the engine has to say."""

    replica: str
    revision: str
    time: str  # ISO 8601 in UTC with milliseconds
    level: str  # DEBUG, INFO, WARNING, ERROR
    stream: str  # stdout, stderr, logging; replica: of Hatchway's own
    message: str
    request_id: str | None = None
    trace_id: str | None = None  # 32 hexadecimal digits, of a request that is traced


class TargetEntry(Wire):
    """Where commands can act, as `hatchway env list` prints it: never the token."""

    name: str
    current: bool  # whether commands that name none act on it
    place: str
    context: str | None = None  # of the kubeconfig
    namespace: str | None = None
    url: str | None = None
