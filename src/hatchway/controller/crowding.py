"""Who makes room on a full machine: replicas that are kept only in case they are needed again. Pure.

A replica that waits for room has requests, or a deploy, waiting for it. One that a stabilisation period keeps has
nothing to do. So the second one goes early, and no more of them than are needed, the one least recently used first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hatchway.autoscaler.decision import Decision
from hatchway.backends import Replica


def lacking(replicas: Sequence[Replica]) -> int:
    """How many replicas wait for room, beyond those for which one that drains is making some."""
    waiting = sum(replica.state == "starting" and replica.reason == "NoCapacity" for replica in replicas)
    return max(0, waiting - sum(replica.state == "draining" for replica in replicas))


def find_yielding(decisions: Mapping[str, Decision], count: int) -> frozenset[str]:
    """At most `count` APIs that would have fewer replicas if it were not for a waiting period."""
    idle = [api for api, decision in decisions.items() if decision.is_kept_in_case]
    return frozenset(sorted(idle, key=lambda api: (-_idle_s(decisions[api]), api))[:count])


def _idle_s(decision: Decision) -> float:
    if decision.load is None or decision.load.idle_s is None:
        return float("inf")
    return decision.load.idle_s
