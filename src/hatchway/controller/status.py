"""What is told about an API: phase, reason, conditions and counts, derived from wish and observation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from hatchway.backends import Replica
from hatchway.controller.plan import Failure, Memory, Wish, replicas_wanted
from hatchway.spec.status import (
    ApiStatus,
    Condition,
    Phase,
    ReplicaCounts,
    ReplicaStatus,
    RevisionStatus,
)
from hatchway.store.sqlite import ApiRecord, RevisionSummary


@dataclass(frozen=True)
class Reachability:
    """What the gateway says of an API: its URL, whether Envoy has the newest routes, why it refused them."""

    url: str
    is_settled: bool
    rejection: str | None = None


@dataclass(frozen=True)
class Summary:
    """One word for people, a stable word for scripts, a sentence for whoever wonders."""

    phase: Phase
    reason: str = ""
    message: str = ""


def summarise(wish: Wish, replicas: Sequence[Replica], memory: Memory, gateway: Reachability) -> Summary:
    """The phase of an API. An API whose update failed while the former revision serves is live."""
    if wish.wanted != "running":
        return Summary("deleting" if wish.wanted == "deleted" else "stopped")
    ready = [replica for replica in replicas if replica.state == "ready"]
    if memory.failure is not None:
        return _summary_of_failed(wish, memory.failure, serves=bool(ready))
    if gateway.rejection is not None:
        return Summary("failed", "GatewayRejected", gateway.rejection)
    if wish.live_revision == wish.revision:
        return _summary_of_settled(wish, replicas, gateway)
    trouble = _trouble(replicas, wish.revision)
    if wish.live_revision is not None and ready:
        return Summary("updating", *(trouble or ("RollingOut", "")))
    return Summary("starting", *(trouble or ("Starting", "")))


def _summary_of_failed(wish: Wish, failure: Failure, *, serves: bool) -> Summary:
    """The update to the wanted revision was given up."""
    if serves and wish.live_revision is not None:
        return Summary("live", failure.reason, f"update to {failure.revision} failed: {failure.message}")
    return Summary("failed", failure.reason, failure.message)


def _summary_of_settled(wish: Wish, replicas: Sequence[Replica], gateway: Reachability) -> Summary:
    """No update is going on: every replica should be of the wanted revision."""
    ready = sum(replica.state == "ready" for replica in replicas)
    reason, message = _trouble(replicas, wish.revision) or ("", "")
    if ready == 0:
        is_final = any(replica.final for replica in replicas)
        return Summary("failed" if is_final else "starting", reason or "Starting", message)
    if not gateway.is_settled:
        return Summary("updating", "ConfiguringGateway", "the gateway is taking over the new routes")
    return Summary("live", reason if ready < replicas_wanted(wish) else "", message)


def _trouble(replicas: Sequence[Replica], revision: str) -> tuple[str, str] | None:
    """Why the first replica of `revision` that is in trouble is not ready."""
    for replica in replicas:
        if replica.revision == revision and replica.state in ("starting", "failed") and replica.reason:
            return replica.reason, replica.message
    return None


def conditions(wish: Wish, replicas: Sequence[Replica], memory: Memory, gateway: Reachability) -> tuple[Condition, ...]:
    """Ready: somebody answers. Updated: the newest revision does. GatewayAccepted: Envoy took the routes."""
    wanted = replicas_wanted(wish)
    ready = sum(replica.state == "ready" for replica in replicas)
    reason, message = _trouble(replicas, wish.revision) or ("", "")
    is_ready = Condition(
        type="Ready",
        state=_truth(ready > 0),
        reason="" if ready >= wanted else reason,
        message=f"{ready} of {wanted} replicas ready" + (f"; {message}" if message and ready < wanted else ""),
    )
    if memory.failure is not None:
        serving = f"; revision {wish.live_revision} is kept" if wish.live_revision else ""
        updated = Condition(
            type="Updated", state="false", reason=memory.failure.reason, message=memory.failure.message + serving
        )
    elif wish.live_revision == wish.revision:
        updated = Condition(type="Updated", state="true")
    else:
        updated = Condition(type="Updated", state="unknown", reason=reason or "RollingOut", message=message)
    if gateway.rejection is not None:
        accepted = Condition(type="GatewayAccepted", state="false", reason="GatewayRejected", message=gateway.rejection)
    else:
        accepted = Condition(type="GatewayAccepted", state="true" if gateway.is_settled else "unknown")
    return is_ready, updated, accepted


@dataclass(frozen=True)
class View:
    """Everything known about one API at one moment."""

    record: ApiRecord
    wish: Wish
    memory: Memory
    replicas: Sequence[Replica]
    revisions: Sequence[RevisionSummary]
    gateway: Reachability
    spec: dict[str, Any]  # with defaults, `${VAR}` kept as a reference


def to_status(view: View) -> ApiStatus:
    summary = summarise(view.wish, view.replicas, view.memory, view.gateway)
    return ApiStatus(
        name=view.record.name,
        kind=view.record.kind,
        status=summary.phase,
        reason=summary.reason,
        message=summary.message,
        revision=view.record.revision,
        endpoint=view.gateway.url,
        replicas=_counts(view.wish, view.replicas),
        in_flight=sum(replica.in_flight + replica.queued for replica in view.replicas),
        conditions=conditions(view.wish, view.replicas, view.memory, view.gateway),
        replica_list=tuple(_replica(replica) for replica in view.replicas),
        spec=view.spec,
        revisions=tuple(
            RevisionStatus(
                id=revision.id,
                created_at=timestamp(revision.created_at),
                active=revision.id == view.record.revision,
                git_commit=revision.git_commit,
            )
            for revision in view.revisions
        ),
        updated_at=timestamp(view.record.updated_at),
    )


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _counts(wish: Wish, replicas: Sequence[Replica]) -> ReplicaCounts:
    of_state = [replica.state for replica in replicas]
    return ReplicaCounts(
        desired=replicas_wanted(wish),
        ready=of_state.count("ready"),
        starting=of_state.count("starting"),
        failed=of_state.count("failed"),
    )


def _replica(replica: Replica) -> ReplicaStatus:
    return ReplicaStatus(
        id=replica.id,
        pid=replica.pid,
        revision=replica.revision,
        state=replica.state,
        started_at=None if replica.started_at is None else timestamp(replica.started_at),
        restarts=replica.restarts,
        rss_bytes=replica.rss_bytes,
        reason=replica.reason,
        message=replica.message,
    )


def _truth(value: bool) -> Literal["true", "false"]:
    return "true" if value else "false"
