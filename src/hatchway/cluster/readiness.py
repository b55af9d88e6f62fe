"""Whether the parts of an installation run, and what stands in their way. Pure: from Deployments and their pods."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from hatchway.kubernetes.names import COMPONENT
from hatchway.kubernetes.resources import Json

# What a container waits for, and what helps.
_HINTS = {
    "ImagePullBackOff": "the nodes cannot pull the image: check its name, and --pull-secret for a private registry",
    "ErrImagePull": "the nodes cannot pull the image: check its name, and --pull-secret for a private registry",
    "ErrImageNeverPull": "the image is not on the node, and may not be pulled: load it there",
    "InvalidImageName": "this is not the name of an image: check --image",
    "CreateContainerConfigError": "a Secret or ConfigMap of the pod is missing: run `hatchway cluster install` again",
    "CrashLoopBackOff": "it starts and ends: see its log",
    "Unschedulable": "no node takes the pod: free CPU and memory, add a node, or look at the claim's storage class",
    "ReplicaFailure": "the cluster refuses the pod: a quota or a policy of the namespace stands in the way",
}


@dataclass(frozen=True)
class Part:
    """A Deployment of the installation. `reason` is a word, `message` what the cluster says; "" while all is well."""

    name: str
    ready: int
    wanted: int
    is_done: bool
    reason: str = ""
    message: str = ""

    @property
    def hint(self) -> str:
        return _HINTS.get(self.reason, "")

    def __str__(self) -> str:
        told = f"{self.reason} ({self.message})" if self.message else self.reason
        if not told and not self.is_done and self.ready >= self.wanted:
            told = "new pods take the place of old ones"
        return f"{self.name} {self.ready} of {self.wanted} ready{f': {told}' if told else ''}"


def part_of(deployment: Json, pods: Collection[Json]) -> Part:
    """`pods` may be those of other Deployments too."""
    spec, status, metadata = deployment["spec"], deployment.get("status", {}), deployment["metadata"]
    wanted, ready = int(spec.get("replicas", 1)), int(status.get("readyReplicas", 0))
    is_seen = int(status.get("observedGeneration", 0)) >= int(metadata.get("generation", 0))
    is_new = int(status.get("updatedReplicas", 0)) == int(status.get("replicas", 0)) == wanted
    is_done = is_seen and is_new and int(status.get("availableReplicas", 0)) >= wanted
    part = Part(metadata["name"], ready, wanted, is_done)
    if is_done:
        return part
    labels = spec["selector"]["matchLabels"]
    own = [pod for pod in pods if labels.items() <= pod["metadata"].get("labels", {}).items()]
    for reason, message in (*_of_deployment(status), *(each for pod in own for each in _of_pod(pod))):
        return Part(part.name, ready, wanted, is_done, reason, message)
    return part


def is_part(deployment: Json) -> bool:
    """Replicas' Deployments are no part of an installation."""
    return deployment["metadata"].get("labels", {}).get(COMPONENT) in ("operator", "gateway")


def _of_deployment(status: Json) -> Iterator[tuple[str, str]]:
    for condition in status.get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield "ReplicaFailure", condition.get("message", "")


def _of_pod(pod: Json) -> Iterator[tuple[str, str]]:
    if "deletionTimestamp" in pod["metadata"]:
        return
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _HINTS:
            ended = container.get("lastState", {}).get("terminated", {})
            words = ended.get("message") or (f"exit code {ended['exitCode']}" if "exitCode" in ended else "")
            yield waiting["reason"], (words or waiting.get("message", "")).strip()
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield condition.get("reason", "Unschedulable"), condition.get("message", "")
