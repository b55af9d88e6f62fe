"""The Kubernetes backend: replicas as pods, behind the protocol of `hatchway.backends`.

A revision is a Deployment, and its number of replicas is that of the pods that do not drain. One that drains loses the
label by which its Deployment knows it: it serves on until it is deleted, and can come back by getting the label again.
So everything that has to survive us stands in the cluster; here is a copy of it, kept by watches.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from hatchway.backends import Measures, Replica, Sightings, Workload, control
from hatchway.backends.kubernetes.manifests import PodSettings, make_deployment, make_disruption_budget, make_secret
from hatchway.backends.kubernetes.pod_logs import PodLogs
from hatchway.backends.kubernetes.pods import control_address, is_ready, to_replica
from hatchway.backends.kubernetes.roster import Roster
from hatchway.backends.sightings import Asked, find_request
from hatchway.kubernetes.api_server import ApiServer, Refused
from hatchway.kubernetes.names import API, DRAINING, LEAVING, REVISION, SERVING, YES, label, revision_name
from hatchway.kubernetes.resources import DEPLOYMENTS, DISRUPTION_BUDGETS, PODS, SECRETS, Json
from hatchway.kubernetes.watching import Watch
from hatchway.spec.api import Compute
from hatchway.spec.logs import LogQuery
from hatchway.spec.status import LogLine

log = logging.getLogger(__name__)

DRAIN_LOOK_S = 0.1
CONFLICT_TRIES = 5


async def _remember_nothing(api: str) -> None:
    pass


class KubernetesBackend:
    """`on_change(api)` is called in the event loop whenever a replica of the API changed state.

    `owner(api)` gives the custom resource that an API's objects go with, if there is one. `record(api)` is awaited
    before anything of an API is changed in the cluster: what led to it has to be remembered by then.
    """

    def __init__(
        self,
        server: ApiServer,
        settings: PodSettings,
        on_change: Callable[[str], None],
        *,
        owner: Callable[[str], Json | None] = lambda api: None,
        record: Callable[[str], Awaitable[None]] = _remember_nothing,
    ) -> None:
        self._server = server
        self._settings = settings
        self._on_change = on_change
        self._owner = owner
        self._record = record
        self._pods = Watch(server, PODS, self._pod_changed, labels=API, trim=_without_spec)
        self._deployments = Watch(server, DEPLOYMENTS, lambda before, after: None, labels=API, trim=_with_replicas)
        self._roster = Roster()
        self._logs = PodLogs(server, self._roster.pods)
        self._told: set[str] = set()  # revisions whose Secret and budget are known to be there
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._drains = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # --- its life ----------------------------------------------------------------------------------------
    async def adopt(self) -> None:
        """All there is to find stands in the cluster: read it."""
        self._tasks = [
            asyncio.create_task(watch.run(), name=f"watch {name}")
            for name, watch in (("pods", self._pods), ("deployments", self._deployments))
        ]
        await self._pods.complete()
        await self._deployments.complete()
        await asyncio.gather(*(self._ask(pod) for pod in self._pods.all() if is_ready(pod)))

    async def run(self) -> None:
        try:
            while True:
                await self._drains.wait()
                draining = self._roster.draining()
                if not draining:
                    self._drains.clear()
                    continue
                await asyncio.gather(*(self._ask(pod) for pod in draining))
                await asyncio.sleep(DRAIN_LOOK_S)
        finally:
            await self.close()

    async def close(self) -> None:
        """Follow the cluster no more; pods run on."""
        tasks = [*self._tasks, *self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- the protocol ------------------------------------------------------------------------------------
    async def apply(self, workload: Workload, replicas: int) -> None:
        name = revision_name(workload.api, workload.revision)
        if self._deployments.get(name) is None and replicas == 0:
            return
        if name not in self._told or self._replicas_to_set(workload, replicas) is not None:
            await self._record(workload.api)
        owner = self._owner(workload.api)
        if name not in self._told:
            await self._server.apply(make_secret(workload, self._settings, owner=owner), force=True)
            await self._server.apply(make_disruption_budget(workload, owner=owner), force=True)
            self._told.add(name)
        wanted = self._replicas_to_set(workload, replicas)  # as of now: another one may have become ready meanwhile
        if wanted is not None:
            made = make_deployment(workload, wanted, self._settings, owner=owner)
            self._deployments.learn(await self._server.apply(made, force=True))

    def _replicas_to_set(self, workload: Workload, replicas: int) -> int | None:
        """In the revision's Deployment; None when it has them. A ready one only goes by drain and stop."""
        serving = [pod for pod in self._roster.pods(workload.api) if self._is_serving(pod, workload.revision)]
        wanted = max(replicas, sum(is_ready(pod) for pod in serving))
        present = self._deployments.get(revision_name(workload.api, workload.revision))
        return None if present is not None and present["spec"].get("replicas") == wanted else wanted

    def observe(self, api: str | None = None) -> Sequence[Replica]:
        return self._roster.replicas(api)

    async def drain(self, replica_id: str, *, for_good: bool = False) -> None:
        pod = self._pods.get(replica_id)
        if pod is None or "deletionTimestamp" in pod["metadata"] or label(pod, SERVING) == LEAVING:
            return
        await self._record(label(pod, API))
        was_serving = label(pod, SERVING) == YES
        if (address := control_address(pod)) is not None:
            try:
                await control.drain(address)
            except control.Unanswered as exc:
                log.info("%s did not hear that it drains: %s", replica_id, exc)
        await self._set_serving(pod, LEAVING if for_good else DRAINING)
        if was_serving:
            await self._add_replicas(pod, -1)
        await self._ask(pod)
        self._drains.set()
        self._on_change(label(pod, API))

    async def resume(self, replica_id: str) -> bool:
        pod = self._pods.get(replica_id)
        if pod is None or not to_replica(pod).resumable or (address := control_address(pod)) is None:
            return False
        await self._record(label(pod, API))
        try:
            is_back = await control.resume(address)
        except control.Unanswered as exc:
            log.info("%s goes on to drain: %s", replica_id, exc)
            is_back = False
        if not is_back:
            await self._set_serving(pod, LEAVING)
            return False
        # In this order: with a pod more than it wants, the Deployment might delete one that serves. The other way
        # round it may start one, which goes again before it is ready.
        await self._add_replicas(pod, +1)
        await self._set_serving(pod, YES)
        self._on_change(label(pod, API))
        return True

    async def stop(self, replica_id: str, *, kill_after_s: float) -> None:
        pod = self._pods.get(replica_id)
        if pod is not None:
            await self._record(label(pod, API))
            grace_s = math.ceil(kill_after_s) + self._settings.pre_stop_s
            await self._server.delete(PODS, replica_id, uid=pod["metadata"]["uid"], grace_s=max(1, grace_s))

    async def stop_all(self, *, kill_after_s: float) -> None:
        await asyncio.gather(*(self._forget_revision(each) for each in list(self._deployments.all())))
        pods = [pod["metadata"]["name"] for pod in self._pods.all()]
        await asyncio.gather(*(self.stop(name, kill_after_s=kill_after_s) for name in pods))
        while self._pods.all():
            self._changed.clear()
            await self._changed.wait()

    async def shortage(self, api: str, compute: Compute, *, new: int, old: int) -> str | None:
        return None  # a cluster may grow

    def logs(
        self,
        api: str,
        query: LogQuery,
        *,
        follow: bool = False,
    ) -> AsyncIterator[LogLine]:
        return self._logs.read(api, query, follow=follow)

    async def measure(self) -> Mapping[str, Measures]:
        return {}  # CPU and memory of pods are the cluster's to tell, and the operator answers no Prometheus yet

    async def find_request(self, request_id: str) -> Sightings:
        asked = [
            Asked(label(pod, API), label(pod, REVISION), pod["metadata"]["name"], address)
            for pod in self._pods.all()
            if (address := control_address(pod)) is not None
        ]
        return await find_request(asked, request_id)

    def release(self, api: str) -> None:
        """Nothing is kept that costs anything."""

    async def forget(self, api: str) -> None:
        await self._record(api)
        mine = [each for each in self._deployments.all() if label(each, API) == api]
        await asyncio.gather(*(self._forget_revision(each) for each in mine))

    async def prune(self, keep_revisions: frozenset[str]) -> int:
        unused = [
            each
            for each in self._deployments.all()
            if label(each, REVISION) not in keep_revisions and not self._has_pods(each)
        ]
        await asyncio.gather(*(self._forget_revision(each) for each in unused))
        return 0

    # --- in the cluster ----------------------------------------------------------------------------------
    async def _set_serving(self, pod: Json, value: str) -> None:
        """Of this very pod: not of another one that has got its name."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        patch = {"metadata": {"uid": uid, "labels": {SERVING: value}}}
        for _ in range(CONFLICT_TRIES):
            try:
                self._pods.learn(await self._server.merge(PODS, name, patch))
            except Refused as refused:
                if refused.code not in (404, 409):
                    raise
                current = await self._server.find(PODS, name)
                if current is None or current["metadata"]["uid"] != uid:
                    return
            else:
                return
        log.warning("the pod %s changes all the time and cannot be marked as %s", name, value)

    async def _add_replicas(self, pod: Json, difference: int) -> None:
        """Of the pod's Deployment, from whatever number it has now."""
        name = revision_name(label(pod, API), label(pod, REVISION))
        for _ in range(CONFLICT_TRIES):
            current = await self._server.find(DEPLOYMENTS, name)
            if current is None:
                return
            patch = {
                "metadata": {"resourceVersion": current["metadata"]["resourceVersion"]},
                "spec": {"replicas": max(0, current["spec"]["replicas"] + difference)},
            }
            try:
                self._deployments.learn(await self._server.merge(DEPLOYMENTS, name, patch))
            except Refused as refused:
                if refused.code != 409:
                    raise
            else:
                return
        log.warning("the Deployment %s changes all the time; the next look at it will set its replicas", name)

    async def _forget_revision(self, deployment: Json) -> None:
        metadata = deployment["metadata"]
        await self._server.delete(DEPLOYMENTS, metadata["name"], uid=metadata["uid"])
        await self._server.delete(SECRETS, metadata["name"])
        await self._server.delete(DISRUPTION_BUDGETS, metadata["name"])
        self._told.discard(metadata["name"])

    # --- the copy ----------------------------------------------------------------------------------------
    def _is_serving(self, pod: Json, revision: str) -> bool:
        is_going = "deletionTimestamp" in pod["metadata"]
        return label(pod, REVISION) == revision and label(pod, SERVING) == YES and not is_going

    def _has_pods(self, deployment: Json) -> bool:
        revision = label(deployment, REVISION)
        pods = self._roster.pods(label(deployment, API))
        return bool(deployment["spec"]["replicas"]) or any(label(pod, REVISION) == revision for pod in pods)

    def _pod_changed(self, before: Json | None, after: Json | None) -> None:
        pod = after or before
        assert pod is not None
        self._changed.set()
        if after is None:
            self._roster.forget(pod)
            self._on_change(label(pod, API))
            return
        is_new = self._roster.take(after)
        if is_ready(after) and not (before is not None and is_ready(before)):
            self._ask_soon(after)
        if label(after, SERVING) != YES:
            self._drains.set()
        if is_new:
            self._on_change(label(pod, API))

    def _ask_soon(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        if name not in self._asking:
            task = asyncio.create_task(self._ask(pod), name=f"ask {name}")
            task.add_done_callback(lambda done: self._asking.pop(name, None))
            self._asking[name] = task

    async def _ask(self, pod: Json) -> None:
        """What the replica says of itself. Who does not answer keeps what was known."""
        address = control_address(pod)
        if address is None:
            return
        try:
            stats = await control.read_stats(address)
        except control.Unanswered as exc:
            log.info("%s: %s", pod["metadata"]["name"], exc)
            return
        if self._roster.learn(pod, stats):
            self._on_change(label(pod, API))


def _without_spec(pod: Json) -> Json:
    """Who it is and how it is. What it was told we know, and who wrote which field is most of the rest."""
    return {"metadata": _without_record(pod["metadata"]), "status": pod.get("status", {})}


def _with_replicas(deployment: Json) -> Json:
    spec = {"replicas": deployment["spec"].get("replicas", 1)}
    return {"metadata": _without_record(deployment["metadata"]), "spec": spec}


def _without_record(metadata: Json) -> Json:
    return {name: value for name, value in metadata.items() if name != "managedFields"}
