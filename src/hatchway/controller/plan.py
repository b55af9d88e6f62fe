"""What to do about one API now: a pure function of what is wanted, what was observed, memory and time.

A plan names the replicas wanted per revision, who is reachable through the gateway, who starts to drain, who drains no
longer and who has finished draining. It can be repeated at will; an update is a sequence of plans, each safe by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hatchway.autoscaler.decide import initial_replicas
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
    outdated: frozenset[str] = frozenset()  # replicas to be replaced, whatever their revision
    decided: int | None = None  # replicas, by the autoscaler; None: it has not looked yet

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to move to: no update, no restart."""
        return self.live_revision == self.revision and not self.outdated


@dataclass(frozen=True)
class Goal:
    """Which replicas an API should consist of: those of a revision, but none that is outdated."""

    revision: str
    outdated: frozenset[str] = frozenset()

    def has(self, replica: Seen) -> bool:
        return replica.revision == self.revision and replica.id not in self.outdated


@dataclass(frozen=True)
class Seen:
    """One replica as observed. `in_flight` counts what Envoy and the replica itself still hold of it."""

    id: str
    revision: str
    state: ReplicaState
    in_flight: int = 0
    is_final: bool = False
    is_resumable: bool = False  # it drains, and would come back if asked
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Failure:
    """Why an update or a restart was given up. Kept until something else is wanted."""

    revision: str
    reason: str
    message: str


@dataclass(frozen=True)
class Memory:
    """What one plan passes on to the next.

    `revision` and `outdated` say which wish it is about. `update_since` is when that was first worked on; `drains`
    when each drain began. Both are in the clock of `now`, and are not kept over an engine restart; `failure` is.
    """

    revision: str | None = None
    outdated: frozenset[str] = frozenset()
    update_since: float | None = None
    failure: Failure | None = None
    drains: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    replicas: Mapping[str, int]  # revision -> how many should exist beside the draining ones
    resume: tuple[str, ...]  # their drain is taken back before anything else; if one refuses, this plan is void
    reachable: frozenset[str]  # replicas that get requests
    drain: tuple[str, ...]  # to be told to drain, once the gateway has let go of them
    stop: Mapping[str, float]  # drained, out of time or of no use -> seconds until SIGKILL
    memory: Memory
    is_complete: bool  # every replica that is wanted is ready, and none is left to be replaced
    live_revision: str | None  # becomes the wanted revision when it is complete
    is_gone: bool = False  # nothing is left of a deleted API
    look_again_s: float = math.inf


DRAIN_POLL_S = 0.1
PARTING_S = 2.0  # at least, between asking a replica to go and killing it: it closes WebSockets, writes its log
UNREADY_KILL_AFTER_S = 5.0  # a replica that serves nobody has nothing to finish


def replicas_wanted(wish: Wish, failure: Failure | None = None) -> int:
    """How many replicas should serve. What has yet to prove itself runs at least once, though nobody asks for it.

    With the `failure` of an update it is what was live before that serves, which has proved itself.
    """
    if wish.wanted != "running":
        return 0
    decided = initial_replicas(wish.spec.autoscaling) if wish.decided is None else wish.decided
    is_proved = wish.is_settled or (failure is not None and wish.live_revision is not None)
    return decided if is_proved else max(1, decided)


def plan(wish: Wish, seen: Sequence[Seen], memory: Memory, now: float) -> Plan:
    """The step that is safe now."""
    memory = _current(wish, memory, now)
    memory = replace(memory, failure=memory.failure or _failure(wish, seen, memory, now))
    goal = _goal(wish, memory)
    wanted = replicas_wanted(wish, memory.failure)
    returning = _returning(goal, seen, memory, wanted)
    draining = [r for r in seen if _is_draining(r, memory) and r.id not in returning]
    active = [replace(r, state="ready") if r.id in returning else r for r in seen if r not in draining]
    step = _step(wish, goal, active, wanted)
    leaving = _leaving(goal, active, wanted, step)
    drains = _drains(draining, leaving, memory, now)
    timeout_s = wish.spec.update_strategy.drain_timeout
    drained = {
        r.id: max(PARTING_S, drains[r.id] + timeout_s - now) for r in draining if _is_drained(r, drains, timeout_s, now)
    }
    memory = replace(memory, drains=drains)
    is_complete = _is_complete(wish, goal, seen, active)
    if is_complete:
        memory = replace(memory, update_since=None, failure=None)
    return Plan(
        replicas=_counts(goal, active, leaving, step),
        resume=tuple(r.id for r in seen if r.id in returning and r.state == "draining"),
        reachable=frozenset(r.id for r in active if r.state == "ready" and r.id not in leaving),
        drain=tuple(replica.id for replica in draining if replica.state == "ready") + tuple(leaving),
        stop=drained | dict.fromkeys(_idle(goal, active), UNREADY_KILL_AFTER_S),
        memory=memory,
        is_complete=is_complete,
        live_revision=wish.revision if is_complete else wish.live_revision,
        is_gone=wish.wanted == "deleted" and not seen,
        look_again_s=_look_again(wish, memory, is_waiting=len(draining) > len(drained) or bool(leaving), now=now),
    )


def _current(wish: Wish, memory: Memory, now: float) -> Memory:
    """Memory of this wish: a new one starts with a clean record and its own clock."""
    if wish.wanted != "running":
        return replace(memory, revision=None, outdated=frozenset(), update_since=None, failure=None)
    if (memory.revision, memory.outdated) != (wish.revision, wish.outdated):
        return replace(memory, revision=wish.revision, outdated=wish.outdated, update_since=now, failure=None)
    if memory.update_since is None and not wish.is_settled:
        return replace(memory, update_since=now)
    return memory


def _failure(wish: Wish, seen: Sequence[Seen], memory: Memory, now: float) -> Failure | None:
    """An update or a restart fails with its first final replica, or when its time is up."""
    if wish.wanted != "running" or wish.is_settled:
        return None
    goal = Goal(wish.revision, wish.outdated)
    new = [replica for replica in seen if goal.has(replica) and replica.state != "draining"]
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


def _goal(wish: Wish, memory: Memory) -> Goal:
    """What to move to: what is wanted, or after its failure what was live before, without replacing any of it."""
    if memory.failure is not None and wish.live_revision is not None:
        return Goal(wish.live_revision)
    return Goal(wish.revision, wish.outdated)


def _step(wish: Wish, goal: Goal, active: Sequence[Seen], wanted: int) -> rollout.Step:
    new = [replica for replica in active if goal.has(replica)]
    old = [replica for replica in active if not goal.has(replica)]
    counts = rollout.Counts(
        new=len(new),
        new_ready=sum(replica.state == "ready" for replica in new),
        old=len(old),
        old_ready=sum(replica.state == "ready" for replica in old),
    )
    return rollout.next_step(counts, wanted, rollout.limits(wish.spec.update_strategy, wanted))


def _is_draining(replica: Seen, memory: Memory) -> bool:
    return replica.state == "draining" or replica.id in memory.drains


def _returning(goal: Goal, seen: Sequence[Seen], memory: Memory, wanted: int) -> frozenset[str]:
    """Replicas on their way out that serve on, because some like them are wanted after all: no start is as fast.

    Those that were not told to drain yet come first: for them it takes a word to the gateway only.
    """
    alike = [replica for replica in seen if goal.has(replica)]
    missing = wanted - sum(r.state == "ready" and not _is_draining(r, memory) for r in alike)
    untold = [r.id for r in alike if r.state == "ready" and r.id in memory.drains]
    told = [r.id for r in alike if r.state == "draining" and r.is_resumable]
    return frozenset([*untold, *told][: max(0, missing)])


def _leaving(goal: Goal, active: Sequence[Seen], wanted: int, step: rollout.Step) -> list[str]:
    """Ready replicas that start to drain: old ones as far as the step allows, new ones beyond what is wanted."""
    old = [r for r in active if not goal.has(r) and r.state == "ready"]
    new = [r for r in active if goal.has(r) and r.state == "ready"]
    by_load = sorted(old, key=lambda replica: replica.in_flight)[: step.drain_ready]
    surplus = sorted(new, key=lambda replica: replica.in_flight)[: max(0, len(new) - wanted)]
    return [replica.id for replica in (*by_load, *surplus)]


def _counts(goal: Goal, active: Sequence[Seen], leaving: Sequence[str], step: rollout.Step) -> dict[str, int]:
    """How many replicas of each revision should exist. Old ones that are not ready serve nobody and go."""
    counts = dict.fromkeys((goal.revision, *(replica.revision for replica in active)), 0)
    counts[goal.revision] += step.new
    for replica in active:
        if not goal.has(replica) and replica.state == "ready" and replica.id not in leaving:
            counts[replica.revision] += 1
    return counts


def _idle(goal: Goal, active: Sequence[Seen]) -> list[str]:
    """Outdated replicas that serve nobody. Counts alone do not tell them from the new ones of their revision."""
    return [r.id for r in active if r.revision == goal.revision and not goal.has(r) and r.state != "ready"]


def _is_complete(wish: Wish, goal: Goal, seen: Sequence[Seen], active: Sequence[Seen]) -> bool:
    """An outdated replica counts until it has been told to drain: only that is remembered by the replica itself."""
    if wish.wanted != "running" or goal != Goal(wish.revision, wish.outdated):
        return False
    if any(replica.id in wish.outdated and replica.state != "draining" for replica in seen):
        return False
    return sum(goal.has(replica) and replica.state == "ready" for replica in active) >= replicas_wanted(wish)


def _drains(draining: Sequence[Seen], leaving: Sequence[str], memory: Memory, now: float) -> dict[str, float]:
    drains = {replica.id: memory.drains.get(replica.id, now) for replica in draining}
    return drains | dict.fromkeys(leaving, now)


def _is_drained(replica: Seen, drains: Mapping[str, float], timeout_s: float, now: float) -> bool:
    """Empty since at least one look after the gateway was told, out of time, or not even answering: it crashed."""
    is_empty = replica.state == "draining" and replica.in_flight == 0
    return is_empty or replica.state in ("starting", "failed") or now - drains[replica.id] >= timeout_s


def _look_again(wish: Wish, memory: Memory, *, is_waiting: bool, now: float) -> float:
    if is_waiting:
        return DRAIN_POLL_S
    if memory.failure is None and memory.update_since is not None:
        return max(0.1, memory.update_since + wish.spec.update_strategy.ready_timeout - now)
    return math.inf
