"""What is told about an API: phase, reason, conditions and counts, derived from wish and observation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from hatchway.autoscaler.decision import Decision
from hatchway.autoscaler.explain import explain
from hatchway.backends import Replica
from hatchway.controller.plan import Failure, Memory, Wish, replicas_wanted
from hatchway.controller.updates import is_new, is_restart
from hatchway.spec.status import (
    ApiStatus,
    Condition,
    HistoryEntry,
    Phase,
    ReplicaCounts,
    ReplicaStatus,
    RevisionStatus,
    ScaledStatus,
    ScalingStep,
)
from hatchway.store.sqlite import ApiRecord, Deed, RevisionSummary, Scaled


@dataclass(frozen=True)
class Reachability:
    """What the gateway says of an API: its URL, whether Envoy has the newest routes, why it refused them."""

    url: str
    is_settled: bool
    rejection: str | None = None
    held: int = 0  # requests that wait for a replica


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
        return _summary_of_failed(wish, memory.failure, n_ready=len(ready))
    if gateway.rejection is not None:
        return Summary("failed", "GatewayRejected", gateway.rejection)
    if wish.is_settled:
        return _summary_of_settled(wish, replicas, gateway)
    trouble = _trouble(replicas, wish)
    if wish.live_revision is not None and ready:
        return Summary("updating", *(trouble or (_moving(wish, replicas), "")))
    return Summary("starting", *(trouble or ("Starting", "")))


def _summary_of_failed(wish: Wish, failure: Failure, *, n_ready: int) -> Summary:
    """The update to the wanted revision was given up."""
    is_idle = replicas_wanted(wish, failure) == 0
    if (n_ready or is_idle) and wish.live_revision is not None:
        attempt = "restart" if wish.live_revision == wish.revision else f"update to {failure.revision}"
        return Summary("idle" if is_idle else "live", failure.reason, f"{attempt} failed: {failure.message}")
    return Summary("failed", failure.reason, failure.message)


def _summary_of_settled(wish: Wish, replicas: Sequence[Replica], gateway: Reachability) -> Summary:
    """No update is going on: every replica should be of the wanted revision."""
    ready = sum(replica.state == "ready" for replica in replicas)
    reason, message = _trouble(replicas, wish) or ("", "")
    if replicas_wanted(wish) == 0:
        return Summary("idle", message="a request starts a replica")
    if ready == 0:
        is_final = any(replica.final for replica in replicas)
        return Summary("failed" if is_final else "starting", reason or "Starting", message)
    if not gateway.is_settled:
        return Summary("updating", "ConfiguringGateway", "the gateway is taking over the new routes")
    return Summary("live", reason if ready < replicas_wanted(wish) else "", message)


def _moving(wish: Wish, replicas: Sequence[Replica]) -> str:
    """What goes on between two settled states."""
    return "Restarting" if is_restart(wish, replicas) else "RollingOut"


def _trouble(replicas: Sequence[Replica], wish: Wish) -> tuple[str, str] | None:
    """Why the first replica that is wanted and in trouble is not ready."""
    for replica in replicas:
        if is_new(wish, replica) and replica.state in ("starting", "failed") and replica.reason:
            return replica.reason, replica.message
    return None


def conditions(wish: Wish, replicas: Sequence[Replica], memory: Memory, gateway: Reachability) -> tuple[Condition, ...]:
    """Ready: somebody answers, or will when asked. Updated: the newest revision does. GatewayAccepted: Envoy has it."""
    wanted = replicas_wanted(wish, memory.failure)
    is_idle = wish.wanted == "running" and wanted == 0
    ready = sum(replica.state == "ready" for replica in replicas)
    reason, message = _trouble(replicas, wish) or ("", "")
    is_ready = Condition(
        type="Ready",
        state=_truth(ready > 0 or is_idle),
        reason="Idle" if is_idle else "" if ready >= wanted else reason,
        message=f"{ready} of {wanted} replicas ready" + (f"; {message}" if message and ready < wanted else ""),
    )
    if memory.failure is not None:
        former = "what ran before" if wish.live_revision == wish.revision else f"revision {wish.live_revision}"
        serving = f"; {former} is kept" if wish.live_revision else ""
        updated = Condition(
            type="Updated", state="false", reason=memory.failure.reason, message=memory.failure.message + serving
        )
    elif wish.is_settled:
        updated = Condition(type="Updated", state="true")
    else:
        going_on = reason or _moving(wish, replicas)
        updated = Condition(type="Updated", state="unknown", reason=going_on, message=message)
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
    scaled: Scaled | None
    spec: dict[str, Any]  # with defaults, `${VAR}` kept as a reference
    monitored: tuple[Condition, ...] = ()  # what is known of its predictions


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
        replicas=_counts(view.wish, view.replicas, view.memory),
        in_flight=view.gateway.held + sum(replica.in_flight + replica.queued for replica in view.replicas),
        conditions=conditions(view.wish, view.replicas, view.memory, view.gateway) + view.monitored,
        replica_list=tuple(_replica(replica) for replica in view.replicas),
        spec=view.spec,
        revisions=tuple(
            RevisionStatus(
                id=revision.id,
                created_at=timestamp(revision.created_at),
                active=revision.id == view.record.revision,
                git_commit=revision.git_commit,
                live_at=None if revision.live_at is None else timestamp(revision.live_at),
            )
            for revision in view.revisions
        ),
        updated_at=timestamp(view.record.updated_at),
        scaled=None if view.scaled is None else _scaled(view.scaled),
    )


def _scaled(scaled: Scaled) -> ScaledStatus:
    return ScaledStatus(replicas=scaled.replicas, until=timestamp(scaled.until), by=scaled.by)


def to_entry(deed: Deed) -> HistoryEntry:
    """One line of the history."""
    return HistoryEntry(
        at=timestamp(deed.at),
        by=deed.by,
        action=deed.action,
        revision=deed.revision,
        git_commit=deed.git_commit,
        changes=deed.changes,
        outcome=deed.outcome,
        took_s=None if deed.settled_at is None else round(max(0.0, deed.settled_at - deed.at), 3),
        reason=deed.reason,
        message=deed.message,
    )


def to_step(at: float, decision: Decision) -> ScalingStep:
    """One decision of the autoscaler, in figures and in words."""
    load = decision.load
    return ScalingStep(
        at=timestamp(at),
        before=decision.current,
        replicas=decision.replicas,
        message=explain(decision),
        in_flight=None if load is None else load.in_flight,
        average=None if load is None else round(load.average, 3),
        target=decision.target,
        limits=tuple(limit.rule for limit in decision.limits),
    )


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _counts(wish: Wish, replicas: Sequence[Replica], memory: Memory) -> ReplicaCounts:
    of_state = [replica.state for replica in replicas]
    return ReplicaCounts(
        desired=replicas_wanted(wish, memory.failure),
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
        start=replica.start,
        start_reason=replica.start_reason,
    )


def _truth(value: bool) -> Literal["true", "false"]:
    return "true" if value else "false"
