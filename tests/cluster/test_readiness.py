"""When a part of an installation runs, and what is said to stand in its way."""

from __future__ import annotations

import pytest

from hatchway.cluster.readiness import Part, part_of
from hatchway.kubernetes.resources import Json

LABELS = {"app": "operator"}
DONE = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}


def a_deployment(**status: object) -> Json:
    return {
        "metadata": {"name": "hatchway-operator", "generation": 2},
        "spec": {"replicas": 2, "selector": {"matchLabels": LABELS}},
        "status": {**DONE, **status},
    }


def a_pod(status: Json, **metadata: object) -> Json:
    return {"metadata": {"labels": {**LABELS, "more": "yes"}, **metadata}, "status": status}


def waiting(reason: str, says: str = "", **last: object) -> Json:
    state = {"waiting": {"reason": reason, "message": says}}
    return {"containerStatuses": [{"state": state, "lastState": {"terminated": last} if last else {}}]}


PULL = 'Back-off pulling image "registry/hatchway:1": not found'
PENDING = {
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]
}


def test_it_runs_when_all_replicas_of_the_newest_generation_are_available() -> None:
    assert part_of(a_deployment(), []) == Part("hatchway-operator", 2, 2, is_done=True)


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 1},
        {"availableReplicas": 1},
        {"updatedReplicas": 1},
        {"replicas": 3},  # an old one is still there
    ],
)
def test_it_is_on_its_way(status: Json) -> None:
    part = part_of(a_deployment(**status), [])
    assert not part.is_done
    assert str(part) == "hatchway-operator 2 of 2 ready: new pods take the place of old ones"


@pytest.mark.parametrize(
    ("status", "reason", "message", "hint"),
    [
        (waiting("ImagePullBackOff", PULL), "ImagePullBackOff", PULL, "--pull-secret"),
        (waiting("InvalidImageName", "no"), "InvalidImageName", "no", "--image"),
        (waiting("CrashLoopBackOff", "back-off", message="no home"), "CrashLoopBackOff", "no home", "log"),
        (waiting("CrashLoopBackOff", "back-off", exitCode=2), "CrashLoopBackOff", "exit code 2", "log"),
        (PENDING, "Unschedulable", "0/1 nodes", "storage class"),
    ],
)
def test_what_a_pod_waits_for_is_the_reason(status: Json, reason: str, message: str, hint: str) -> None:
    part = part_of(a_deployment(readyReplicas=0, availableReplicas=0), [a_pod(status)])
    assert (part.reason, part.message) == (reason, message)
    assert str(part) == f"hatchway-operator 0 of 2 ready: {reason} ({message})"
    assert hint in part.hint


def test_pods_that_go_or_are_of_others_or_only_begin_are_no_reason() -> None:
    pods = [
        a_pod(waiting("ImagePullBackOff"), deletionTimestamp="now"),
        {"metadata": {"labels": {"app": "other"}}, "status": waiting("ImagePullBackOff")},
        a_pod(waiting("ContainerCreating")),
    ]
    part = part_of(a_deployment(readyReplicas=1, availableReplicas=1), pods)
    assert (part.reason, str(part)) == ("", "hatchway-operator 1 of 2 ready")


def test_a_cluster_that_refuses_the_pods_says_why() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: cpu"}
    part = part_of(a_deployment(readyReplicas=0, replicas=0, conditions=[condition]), [])
    assert (part.reason, part.message) == ("ReplicaFailure", "exceeded quota: cpu")
