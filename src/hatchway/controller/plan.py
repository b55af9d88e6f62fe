"""What to do about one API now: a pure function of what is wanted, what was observed, memory and time.

A plan names the replicas wanted per revision, who is reachable through the gateway, who starts to drain and who
has finished draining. It can be repeated at will; an update is a sequence of plans, each safe by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hatchway.controller import rollout
from hatchway.spec.api import RealtimeApi
from hatchway.spec.status import ReplicaState


@dataclass(frozen=True)
class Wish:
    """What is wanted of an API."""

    spec: RealtimeApi
    wanted: Literal["running", "stopped", "deleted"]
    revision: str
    live_revision: str | None  # the last revision that was completely live


@dataclass(frozen=True)
class Seen:
    """One replica as observed. `in_flight` counts what Envoy and the replica itself still hold of it."""

    id: str
    revision: str
    state: ReplicaState
    in_flight: int = 0
    is_final: bool = False
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Failure:
    """Why an update was given up. Kept until another revision is wanted."""

    revision: str
    reason: str
    message: str


@dataclass(frozen=True)
class Memory:
    """What one plan passes on to the next.

    `update_since` is when the wanted revision was first worked on; `drains` when each drain began. Both are in
    the clock of `now`, and are not kept over an engine restart; `failure` is.
    """

    revision: str | None = None
    update_since: float | None = None
    failure: Failure | None = None
    drains: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    replicas: Mapping[str, int]  # revision -> how many should exist beside the draining ones
    reachable: frozenset[str]  # replicas that get requests
    drain: tuple[str, ...]  # to be told to drain, once the gateway has let go of them
    stop: Mapping[str, float]  # drained or out of time -> seconds until SIGKILL
    memory: Memory
    live_revision: str | None  # becomes the wanted revision when all of it is ready
    is_gone: bool = False  # nothing is left of a deleted API
    look_again_s: float = math.inf


DRAIN_POLL_S = 0.1


def replicas_wanted(wish: Wish) -> int:
    """How many replicas should serve. Requests decide later; until then the lower bound runs, but at least one."""
    return max(1, wish.spec.autoscaling.min_replicas) if wish.wanted == "running" else 0


def plan(wish: Wish, seen: Sequence[Seen], memory: Memory, now: float) -> Plan:
    """The step that is safe now."""
    memory = _current(wish, memory, now)
    memory = replace(memory, failure=memory.failure or _failure(wish, seen, memory, now))
    target = _target_revision(wish, memory)
    draining = [replica for replica in seen if replica.state == "draining" or replica.id in memory.drains]
    active = [replica for replica in seen if replica not in draining]
    wanted = replicas_wanted(wish)
    step = _step(wish, target, active, wanted)
    leaving = _leaving(target, active, wanted, step)
    counts = _counts(target, active, leaving, step)
    drains = _drains(draining, leaving, memory, now)
    timeout_s = wish.spec.update_strategy.drain_timeout
    stop = {r.id: max(0.0, drains[r.id] + timeout_s - now) for r in draining if _is_drained(r, drains, timeout_s, now)}
    memory = replace(memory, drains=drains)
    new_ready = sum(r.revision == wish.revision and r.state == "ready" for r in active)
    is_complete = wish.wanted == "running" and target == wish.revision and new_ready >= wanted
    if is_complete:
        memory = replace(memory, update_since=None, failure=None)
    return Plan(
        replicas=counts,
        reachable=frozenset(r.id for r in active if r.state == "ready" and r.id not in leaving),
        drain=tuple(replica.id for replica in draining if replica.state == "ready") + tuple(leaving),
        stop=stop,
        memory=memory,
        live_revision=wish.revision if is_complete else wish.live_revision,
        is_gone=wish.wanted == "deleted" and not seen,
        look_again_s=_look_again(wish, memory, is_waiting=len(draining) > len(stop) or bool(leaving), now=now),
    )


def _current(wish: Wish, memory: Memory, now: float) -> Memory:
    """Memory of this revision: a new one starts with a clean record and its own clock."""
    if wish.wanted != "running":
        return replace(memory, revision=None, update_since=None, failure=None)
    if memory.revision != wish.revision:
        return replace(memory, revision=wish.revision, update_since=now, failure=None)
    if memory.update_since is None and wish.live_revision != wish.revision:
        return replace(memory, update_since=now)
    return memory


def _failure(wish: Wish, seen: Sequence[Seen], memory: Memory, now: float) -> Failure | None:
    """A revision that has never been live fails with its first final replica, or when its time is up."""
    if wish.wanted != "running" or wish.revision == wish.live_revision:
        return None
    new = [replica for replica in seen if replica.revision == wish.revision]
    for replica in new:
        if replica.is_final:
            return Failure(wish.revision, replica.reason, replica.message)
    ready_timeout_s = wish.spec.update_strategy.ready_timeout
    if memory.update_since is None or now - memory.update_since < ready_timeout_s:
        return None
    waiting = next((replica for replica in new if replica.state != "ready"), None)
    if waiting is not None and waiting.reason:
        return Failure(wish.revision, waiting.reason, waiting.message)
    return Failure(
        wish.revision,
        "NotReady",
        f"not ready within update_strategy.ready_timeout ({ready_timeout_s:g}s)",
    )


def _target_revision(wish: Wish, memory: Memory) -> str:
    """The revision to move to: the wanted one, or after its failure the one that was live before it."""
    if memory.failure is not None and wish.live_revision is not None:
        return wish.live_revision
    return wish.revision


def _step(wish: Wish, target: str, active: Sequence[Seen], wanted: int) -> rollout.Step:
    new = [replica for replica in active if replica.revision == target]
    old = [replica for replica in active if replica.revision != target]
    counts = rollout.Counts(
        new=len(new),
        new_ready=sum(replica.state == "ready" for replica in new),
        old=len(old),
        old_ready=sum(replica.state == "ready" for replica in old),
    )
    return rollout.next_step(counts, wanted, rollout.limits(wish.spec.update_strategy, wanted))


def _leaving(target: str, active: Sequence[Seen], wanted: int, step: rollout.Step) -> list[str]:
    """Ready replicas that start to drain: old ones as far as the step allows, new ones beyond what is wanted."""
    old = [r for r in active if r.revision != target and r.state == "ready"]
    new = [r for r in active if r.revision == target and r.state == "ready"]
    by_load = sorted(old, key=lambda replica: replica.in_flight)[: step.drain_ready]
    surplus = sorted(new, key=lambda replica: replica.in_flight)[: max(0, len(new) - wanted)]
    return [replica.id for replica in (*by_load, *surplus)]


def _counts(target: str, active: Sequence[Seen], leaving: Sequence[str], step: rollout.Step) -> dict[str, int]:
    """How many replicas of each revision should exist. Old ones that are not ready serve nobody and go."""
    counts = dict.fromkeys((replica.revision for replica in active), 0)
    for replica in active:
        if replica.revision != target and replica.state == "ready" and replica.id not in leaving:
            counts[replica.revision] += 1
    counts[target] = step.new
    return counts


def _drains(draining: Sequence[Seen], leaving: Sequence[str], memory: Memory, now: float) -> dict[str, float]:
    drains = {replica.id: memory.drains.get(replica.id, now) for replica in draining}
    return drains | dict.fromkeys(leaving, now)


def _is_drained(replica: Seen, drains: Mapping[str, float], timeout_s: float, now: float) -> bool:
    """Empty since at least one look after the gateway was told, out of time, or not even answering."""
    age_s = now - drains[replica.id]
    return age_s >= timeout_s or (replica.state == "draining" and replica.in_flight == 0) or replica.state == "failed"


def _look_again(wish: Wish, memory: Memory, *, is_waiting: bool, now: float) -> float:
    if is_waiting:
        return DRAIN_POLL_S
    if memory.failure is None and memory.update_since is not None:
        return max(0.1, memory.update_since + wish.spec.update_strategy.ready_timeout - now)
    return math.inf
