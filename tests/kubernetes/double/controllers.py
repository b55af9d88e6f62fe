"""What a cluster's controllers do: Deployments to ReplicaSets to Pods, EndpointSlices, and the garbage of owners.

One pass over everything after every change: simple, and fast enough for the hundreds of objects of a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import json
import logging
from collections.abc import Iterator

from tests.kubernetes.double.api import MERGE_PATCH, Api, Options, is_ready
from tests.kubernetes.double.failures import Refused
from tests.kubernetes.double.objects import Change, key_of
from tests.kubernetes.double.schemas import Json
from tests.kubernetes.double.selectors import match_spec

log = logging.getLogger(__name__)

_HASH = "pod-template-hash"
_COST = "controller.kubernetes.io/pod-deletion-cost"
_OPTIONS = Options(manager="kube-controller-manager")


class Controllers:
    """To be used in the cluster's thread."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="controllers")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        changes: asyncio.Queue[Change | None] | None = None
        while True:
            if changes is None:
                changes = self._api.objects.watch(self._api.objects.version)
                self._pass()
            if await changes.get() is None:
                changes = None
                continue
            await asyncio.sleep(0.005)  # what comes together is looked at together
            while not changes.empty():
                if changes.get_nowait() is None:
                    changes = None
                    break
            self._pass()

    def _pass(self) -> None:
        for step in (self._deployments, self._replica_sets, self._endpoint_slices, self._garbage):
            try:
                step()
            except Refused as refused:
                log.warning("a controller was refused: %s", refused)

    # --- Deployments -----------------------------------------------------------------------------------------
    def _deployments(self) -> None:
        kind = self._api.kind("apps", "v1", "deployments")
        for deployment in self._api.objects.all(key_of(kind)):
            if "deletionTimestamp" in deployment["metadata"]:
                continue
            current = self._replica_set_of(deployment)
            owned = list(self._owned(("apps", "replicasets"), deployment))
            wanted = deployment["spec"]["replicas"]
            old = [each for each in owned if each["metadata"]["name"] != current["metadata"]["name"]]
            # Start before stop, as with maxSurge 100 %: good enough, for no Deployment of ours changes its template.
            self._scale(current, wanted)
            if current["status"].get("readyReplicas", 0) >= wanted:
                for each in old:
                    self._scale(each, 0)
            self._report(deployment, owned, current)

    def _replica_set_of(self, deployment: Json) -> Json:
        template = deployment["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:9]
        kind = self._api.kind("apps", "v1", "replicasets")
        namespace, name = deployment["metadata"]["namespace"], f"{deployment['metadata']['name']}-{digest}"
        found = self._api.objects.get(key_of(kind), (namespace, name))
        if found is not None:
            return found
        labels = {**template["metadata"]["labels"], _HASH: digest}
        selector = deployment["spec"]["selector"]
        body = {
            "metadata": {"name": name, "labels": labels, "ownerReferences": [_owner(deployment)]},
            "spec": {
                "replicas": 0,
                "selector": {**selector, "matchLabels": {**selector.get("matchLabels", {}), _HASH: digest}},
                "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
            },
        }
        created = self._api.create(kind, namespace, body, _OPTIONS)
        return {**created, "status": {}}

    def _scale(self, replica_set: Json, replicas: int) -> None:
        if replica_set["spec"]["replicas"] != replicas:
            kind = self._api.kind("apps", "v1", "replicasets")
            metadata = replica_set["metadata"]
            patch = {"spec": {"replicas": replicas}}
            self._api.patch(kind, metadata["namespace"], metadata["name"], MERGE_PATCH, patch, _OPTIONS)

    def _report(self, deployment: Json, owned: list[Json], current: Json) -> None:
        total = sum(each.get("status", {}).get("replicas", 0) for each in owned)
        ready = sum(each.get("status", {}).get("readyReplicas", 0) for each in owned)
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": total,
            "updatedReplicas": current.get("status", {}).get("replicas", 0),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, deployment["spec"]["replicas"] - ready),
        }
        self._set_status("deployments", deployment, status)

    # --- ReplicaSets -----------------------------------------------------------------------------------------
    def _replica_sets(self) -> None:
        for replica_set in self._api.objects.all(("apps", "replicasets")):
            if "deletionTimestamp" in replica_set["metadata"]:
                continue
            self._adopt_and_release(replica_set)
            pods = [pod for pod in self._owned(("", "pods"), replica_set) if _is_active(pod)]
            wanted = replica_set["spec"]["replicas"]
            for _ in range(wanted - len(pods)):
                self._make_pod(replica_set)
            for pod in sorted(pods, key=_deletion_rank)[: max(0, len(pods) - wanted)]:
                kind = self._api.kind("", "v1", "pods")
                self._api.delete(kind, pod["metadata"]["namespace"], pod["metadata"]["name"], {}, {})
            pods = [pod for pod in self._owned(("", "pods"), replica_set) if _is_active(pod)]
            status = {
                "observedGeneration": replica_set["metadata"]["generation"],
                "replicas": len(pods),
                "fullyLabeledReplicas": len(pods),
                "readyReplicas": sum(is_ready(pod) for pod in pods),
                "availableReplicas": sum(is_ready(pod) for pod in pods),
            }
            self._set_status("replicasets", replica_set, status)

    def _adopt_and_release(self, replica_set: Json) -> None:
        uid, namespace = replica_set["metadata"]["uid"], replica_set["metadata"]["namespace"]
        for pod in self._api.objects.all(("", "pods")):
            metadata = pod["metadata"]
            if metadata["namespace"] != namespace or "deletionTimestamp" in metadata:
                continue
            owners = metadata.get("ownerReferences", [])
            controller = next((each["uid"] for each in owners if each.get("controller")), None)
            fits = match_spec(metadata.get("labels", {}), replica_set["spec"]["selector"])
            if controller == uid and not fits:
                self._set_owners(pod, [each for each in owners if each["uid"] != uid])
            elif controller is None and fits:
                self._set_owners(pod, [*owners, _owner(replica_set)])

    def _set_owners(self, pod: Json, owners: list[Json]) -> None:
        patched = copy.deepcopy(pod)
        patched["metadata"]["ownerReferences"] = owners
        self._api.objects.put(self._api.kind("", "v1", "pods"), patched)

    def _make_pod(self, replica_set: Json) -> None:
        template = replica_set["spec"]["template"]
        metadata = {
            **template["metadata"],
            "generateName": replica_set["metadata"]["name"] + "-",
            "ownerReferences": [_owner(replica_set)],
        }
        body = {"metadata": metadata, "spec": template["spec"]}
        self._api.create(self._api.kind("", "v1", "pods"), replica_set["metadata"]["namespace"], body, _OPTIONS)

    # --- EndpointSlices --------------------------------------------------------------------------------------
    def _endpoint_slices(self) -> None:
        kind = self._api.kind("discovery.k8s.io", "v1", "endpointslices")
        for service in self._api.objects.all(("", "services")):
            selector = service["spec"].get("selector")
            if not selector:
                continue
            namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
            pods = [
                pod
                for pod in self._api.objects.all(("", "pods"))
                if pod["metadata"]["namespace"] == namespace
                and match_spec(pod["metadata"].get("labels", {}), {"matchLabels": selector})
                and pod.get("status", {}).get("podIP")
                and pod["status"]["phase"] == "Running"
            ]
            body = {
                "metadata": {
                    "name": f"{name}-00001",
                    "labels": {"kubernetes.io/service-name": name},
                    "ownerReferences": [_owner(service)],
                },
                "addressType": "IPv4",
                "endpoints": [_endpoint(pod) for pod in pods],
                "ports": [
                    {"name": port.get("name", ""), "port": _port(port), "protocol": "TCP"}
                    for port in service["spec"]["ports"]
                ],
            }
            self._replace(kind.plural, body, namespace)

    def _replace(self, plural: str, body: Json, namespace: str) -> None:
        kind = self._api.kind("discovery.k8s.io", "v1", plural)
        before = self._api.objects.get(key_of(kind), (namespace, body["metadata"]["name"]))
        if before is None:
            self._api.create(kind, namespace, body, _OPTIONS)
        elif (before["endpoints"], before["ports"]) != (body["endpoints"], body["ports"]):
            self._api.objects.put(kind, {**before, "endpoints": body["endpoints"], "ports": body["ports"]})

    # --- what all have in common -----------------------------------------------------------------------------
    def _set_status(self, plural: str, obj: Json, status: Json) -> None:
        kind = self._api.kind("apps", "v1", plural)
        current = self._api.objects.get(key_of(kind), (obj["metadata"]["namespace"], obj["metadata"]["name"]))
        if current is not None and current.get("status") != status:
            self._api.objects.put(kind, {**current, "status": status})

    def _owned(self, key: tuple[str, str], owner: Json) -> Iterator[Json]:
        for obj in self._api.objects.all(key):
            owners = obj["metadata"].get("ownerReferences", ())
            if any(each["uid"] == owner["metadata"]["uid"] and each.get("controller") for each in owners):
                yield obj

    def _garbage(self) -> None:
        """What has owners, and none of them is there any more, goes."""
        there = {obj["metadata"]["uid"] for _, _, obj in self._api.objects.everything()}
        for key, (namespace, name), obj in list(self._api.objects.everything()):
            owners = obj["metadata"].get("ownerReferences", ())
            is_going = "deletionTimestamp" in obj["metadata"]
            if owners and not is_going and not any(owner["uid"] in there for owner in owners):
                with contextlib.suppress(Refused):
                    self._api.delete(self._api.kind_of_key(key), namespace, name, {}, {})


def _owner(obj: Json) -> Json:
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _is_active(pod: Json) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") not in ("Succeeded", "Failed")


def _deletion_rank(pod: Json) -> tuple[object, ...]:
    """As a ReplicaSet ranks its pods: without a node, pending, not ready, cheap, then young ones go first."""
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}
    return (
        bool(pod["spec"].get("nodeName")),
        phases.get(pod["status"].get("phase", "Pending"), 0),
        is_ready(pod),
        int(pod["metadata"].get("annotations", {}).get(_COST, "0")),
        -int(pod["metadata"]["resourceVersion"]),
    )


def _endpoint(pod: Json) -> Json:
    is_going = "deletionTimestamp" in pod["metadata"]
    metadata = pod["metadata"]
    target = {"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": is_ready(pod) and not is_going,
            "serving": is_ready(pod),
            "terminating": is_going,
        },
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": target,
    }


def _port(port: Json) -> int:
    return int(port["targetPort"]) if isinstance(port["targetPort"], int) else int(port["port"])
