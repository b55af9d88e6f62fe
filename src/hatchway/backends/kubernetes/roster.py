"""Who runs where, by API: the replicas of a cluster as last told, each read from its pod once per version.

There may be ten thousand pods, and every reconcile of each of a thousand APIs looks at its own. No sockets, no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from hatchway.backends import Replica
from hatchway.backends.kubernetes.pods import to_replica
from hatchway.contract import ReplicaStats
from hatchway.kubernetes.names import API, SERVING, YES, label
from hatchway.kubernetes.resources import Json


class Roster:
    """Pods by their names, replicas by their pods."""

    def __init__(self) -> None:
        self._pods: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self._replicas: defaultdict[str, dict[str, Replica]] = defaultdict(dict)
        self._stats: dict[str, ReplicaStats] = {}
        self._draining: dict[str, Json] = {}

    def take(self, pod: Json) -> bool:
        """A pod that came or changed. Whether its replica is another than before."""
        name, api = pod["metadata"]["name"], label(pod, API)
        former = self._pods[api].get(name)
        if former is not None and former["metadata"]["uid"] != pod["metadata"]["uid"]:
            self._stats.pop(name, None)
        self._pods[api][name] = pod
        if label(pod, SERVING) == YES:
            self._draining.pop(name, None)
        else:
            self._draining[name] = pod
        return self._read(pod)

    def forget(self, pod: Json) -> None:
        name, api = pod["metadata"]["name"], label(pod, API)
        for table in (self._pods, self._replicas):
            table[api].pop(name, None)
            if not table[api]:
                del table[api]
        self._stats.pop(name, None)
        self._draining.pop(name, None)

    def learn(self, pod: Json, stats: ReplicaStats) -> bool:
        """What a replica said of itself. Whether that is new; nothing is kept of one that is gone."""
        name, api = pod["metadata"]["name"], label(pod, API)
        current = self._pods.get(api, {}).get(name)
        if current is None or current["metadata"]["uid"] != pod["metadata"]["uid"]:
            return False
        self._stats[name] = stats
        return self._read(current)

    def _read(self, pod: Json) -> bool:
        name, api = pod["metadata"]["name"], label(pod, API)
        replica = to_replica(pod, self._stats.get(name))
        is_new = self._replicas[api].get(name) != replica
        self._replicas[api][name] = replica
        return is_new

    def pods(self, api: str) -> Collection[Json]:
        return self._pods.get(api, {}).values()

    def draining(self) -> Sequence[Json]:
        return list(self._draining.values())

    def replicas(self, api: str | None = None) -> Sequence[Replica]:
        if api is not None:
            return list(self._replicas.get(api, {}).values())
        return [replica for replicas in self._replicas.values() for replica in replicas.values()]
