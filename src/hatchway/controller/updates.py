"""Whether something goes on that another deploy would interrupt. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hatchway.backends import Replica
from hatchway.controller.plan import Memory, Wish, replicas_wanted


def is_new(wish: Wish, replica: Replica) -> bool:
    """Whether a replica is one that should stay."""
    return replica.revision == wish.revision and replica.id not in wish.outdated


def is_restart(wish: Wish, replicas: Sequence[Replica]) -> bool:
    """Whether what goes on replaces replicas by others of the same revision."""
    outdated = [replica for replica in replicas if replica.id in wish.outdated]
    return wish.live_revision == wish.revision and all(one.revision == wish.revision for one in outdated)


def describe_update(wish: Wish, replicas: Sequence[Replica], memory: Memory) -> str | None:
    """The update that goes on and how far it is; None when there is none, or none worth waiting for.

    Not worth it: an update that failed or whose replicas are in trouble, the first deploy, anything at all while
    nobody serves. A restart is not in the way either: an update replaces the same replicas.
    """
    if wish.wanted != "running" or wish.is_settled or wish.live_revision is None:
        return None
    new = [replica for replica in replicas if is_new(wish, replica) and replica.state != "draining"]
    has_failed = memory.failure is not None and memory.failure.revision == wish.revision
    serves = any(replica.state == "ready" for replica in replicas)
    if has_failed or not serves or is_restart(wish, replicas) or any(map(_is_stuck, new)):
        return None
    ready = sum(replica.state == "ready" for replica in new)
    return f"being updated to revision {wish.revision}, {ready} of {replicas_wanted(wish)} new replicas are ready"


def _is_stuck(replica: Replica) -> bool:
    """It has crashed, or has no place: it may take for ever."""
    is_waiting = replica.state == "starting" and (replica.restarts > 0 or replica.reason == "NoCapacity")
    return replica.state == "failed" or is_waiting
