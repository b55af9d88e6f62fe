"""What a pod says of its replica: each way in which a cluster tells that something stands in the way."""

from __future__ import annotations

from typing import Any

import pytest

from hatchway.backends.kubernetes.pods import control_address, to_replica
from hatchway.contract import LastWords, ReplicaStats
from hatchway.kubernetes.names import DRAINING, LEAVING, SERVING, YES, replica_labels
from hatchway.kubernetes.resources import Json
from hatchway.pod.order import EXIT_ENVIRONMENT

RUNNING = {"running": {"startedAt": "2026-01-31T12:00:00Z"}}


def a_pod(
    *,
    serving: str = YES,
    state: Json | None = None,
    last: Json | None = None,
    ready: bool = False,
    restarts: int = 0,
    metadata: Json | None = None,
    **status: Any,
) -> Json:
    container = {"name": "replica", "state": state or RUNNING, "lastState": last or {}, "restartCount": restarts}
    labels = {**replica_labels("iris", "r1"), SERVING: serving}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"name": "iris-r1-x", "uid": "u", "labels": labels, **(metadata or {})},
        "status": {"podIP": "10.1.2.3", "conditions": conditions, "containerStatuses": [container], **status},
    }


def ended(code: int, *, reason: str = "Error", words: LastWords | None = None) -> Json:
    return {"terminated": {"exitCode": code, "reason": reason, "message": words.to_json() if words else ""}}


BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}


def test_a_ready_one() -> None:
    stats = ReplicaStats("ready", 1, 2, 3, 0, 0, 4, 100, "function predict (async)")
    replica = to_replica(a_pod(ready=True), stats)
    assert (replica.id, replica.api, replica.revision, replica.state) == ("iris-r1-x", "iris", "r1", "ready")
    assert (replica.address, replica.started_at) == ("10.1.2.3:8080", 1769860800.0)
    assert (replica.in_flight, replica.queued, replica.slots) == (1, 2, 4)
    assert replica.handler == "function predict (async)"


def test_addresses_of_both_families() -> None:
    pod = a_pod(podIP="fd00::1")
    assert (to_replica(pod).address, control_address(pod)) == ("[fd00::1]:8080", "[fd00::1]:8081")
    unplaced = a_pod(podIP="")
    assert (to_replica(unplaced).address, control_address(unplaced)) == ("", None)


@pytest.mark.parametrize(
    ("pod", "resumable", "reason"),
    [
        (a_pod(serving=DRAINING, ready=False), True, ""),
        (a_pod(serving=LEAVING, ready=True), False, ""),
        (a_pod(ready=True, metadata={"deletionTimestamp": "2026-01-31T12:00:00Z"}), False, "Stopping"),
        (a_pod(serving=DRAINING, metadata={"deletionTimestamp": "2026-01-31T12:00:00Z"}), False, "Stopping"),
    ],
)
def test_one_that_goes(pod: Json, resumable: bool, reason: str) -> None:
    replica = to_replica(pod)
    assert (replica.state, replica.resumable, replica.reason) == ("draining", resumable, reason)


@pytest.mark.parametrize(
    ("pod", "state", "reason", "final"),
    [
        (a_pod(), "starting", "", False),
        (a_pod(last=ended(137), restarts=1), "starting", "", False),  # killed once, and running again
        (a_pod(state=BACK_OFF, last=ended(1), restarts=3), "failed", "CrashLoop", False),
        (a_pod(state=BACK_OFF, last=ended(137, reason="OOMKilled"), restarts=3), "starting", "OutOfMemory", False),
        (a_pod(state=ended(70, words=LastWords("ImportError", "no x"))), "failed", "ImportError", True),
        (a_pod(last=ended(71, words=LastWords("WarmupFailed", "no"))), "failed", "WarmupFailed", True),
        (a_pod(state=BACK_OFF, last=ended(72)), "failed", "Unknown", True),
        (a_pod(last=ended(74, words=LastWords("Stuck", "ran on"))), "starting", "Stuck", False),
        (a_pod(state={"waiting": {"reason": "ImagePullBackOff", "message": "no"}}), "starting", "ImageNotFound", False),
        (
            a_pod(
                conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]
            ),
            "starting",
            "NoCapacity",
            False,
        ),
        (
            a_pod(initContainerStatuses=[{"name": "prepare", "state": BACK_OFF, "lastState": ended(1)}]),
            "starting",
            "EnvironmentFailed",
            False,
        ),
        (
            a_pod(initContainerStatuses=[{"name": "prepare", "state": BACK_OFF, "lastState": ended(EXIT_ENVIRONMENT)}]),
            "failed",
            "EnvironmentFailed",
            True,
        ),
        (
            a_pod(state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}),
            "starting",
            "SecretMissing",
            False,
        ),
    ],
)
def test_what_stands_in_the_way(pod: Json, state: str, reason: str, final: bool) -> None:
    replica = to_replica(pod)
    assert (replica.state, replica.reason, replica.final) == (state, reason, final)


def test_trouble_of_the_past_is_forgotten_by_who_is_ready() -> None:
    replica = to_replica(a_pod(ready=True, last=ended(137, reason="OOMKilled"), restarts=2))
    assert (replica.state, replica.reason, replica.restarts) == ("ready", "", 2)
