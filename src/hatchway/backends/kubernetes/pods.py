"""What a pod says of its replica. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hatchway.backends import Replica
from hatchway.contract import (
    EXIT_CONTRACT,
    EXIT_LOAD_FAILED,
    EXIT_OLD_PYTHON,
    EXIT_STUCK,
    EXIT_WARMUP_FAILED,
    LastWords,
    ReplicaStats,
)
from hatchway.kubernetes.names import API, CONTROL_PORT, DATA_PORT, DRAINING, REVISION, SERVING, YES, label
from hatchway.kubernetes.resources import Json
from hatchway.pod.order import EXIT_ENVIRONMENT

_FINAL_EXITS = frozenset({EXIT_LOAD_FAILED, EXIT_WARMUP_FAILED, EXIT_CONTRACT, EXIT_OLD_PYTHON})
_IMAGE_TROUBLES = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_KILLED = 137  # 128 + SIGKILL


@dataclass(frozen=True)
class Trouble:
    """What stands in a replica's way. `is_final`: starting it again would fail again."""

    reason: str = ""
    message: str = ""
    is_final: bool = False


def to_replica(pod: Json, stats: ReplicaStats | None = None) -> Replica:
    """`stats` is what the replica itself said last."""
    metadata, status = pod["metadata"], pod.get("status", {})
    container = container_of(pod)
    is_going = "deletionTimestamp" in metadata
    serving = label(pod, SERVING)
    trouble = find_trouble(pod)
    if is_going or serving != YES:
        state = "draining"
    elif is_ready(pod):
        state = "ready"
    else:
        state = "failed" if trouble.is_final or trouble.reason == "CrashLoop" else "starting"
    if state in ("ready", "draining"):
        trouble = Trouble("Stopping") if is_going else Trouble()
    return Replica(
        id=metadata["name"],
        api=label(pod, API),
        revision=label(pod, REVISION),
        state=state,  # type: ignore[arg-type]  # one of the four
        address=_at_port(status.get("podIP", ""), DATA_PORT),
        reason=trouble.reason,
        message=trouble.message,
        started_at=_seconds(container.get("state", {}).get("running", {}).get("startedAt")),
        restarts=int(container.get("restartCount", 0)),
        in_flight=0 if stats is None else stats.in_flight,
        queued=0 if stats is None else stats.queued,
        slots=None if stats is None else stats.max_concurrency,
        handler="" if stats is None else stats.handler,
        start="spawned",
        start_reason="in a pod",
        final=trouble.is_final and state == "failed",
        resumable=serving == DRAINING and not is_going,
    )


def control_address(pod: Json) -> str | None:
    """HOST:PORT; None: it has no address yet."""
    ip = pod.get("status", {}).get("podIP")
    return _at_port(ip, CONTROL_PORT) if ip else None


def is_ready(pod: Json) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in _conditions(pod))


def container_of(pod: Json, name: str = "replica", *, kind: str = "containerStatuses") -> Json:
    """What the kubelet says of a container; nothing before it has."""
    found: Json = next((each for each in pod.get("status", {}).get(kind, ()) if each["name"] == name), {})
    return found


def find_trouble(pod: Json) -> Trouble:
    """Why a pod is not ready, if more than time stands in the way."""
    unscheduled = next(
        (each for each in _conditions(pod) if each["type"] == "PodScheduled" and each["status"] == "False"), None
    )
    if unscheduled is not None and unscheduled.get("reason") == "Unschedulable":
        return Trouble("NoCapacity", unscheduled.get("message", ""))
    preparing = container_of(pod, "prepare", kind="initContainerStatuses")
    for container in (preparing, container_of(pod)):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _IMAGE_TROUBLES:
            return Trouble("ImageNotFound", waiting.get("message", ""))
        if waiting.get("reason") == "CreateContainerConfigError":
            return Trouble("SecretMissing", waiting.get("message", ""))
    end = _last_end(preparing)
    if end and end.get("exitCode"):
        message = end.get("message") or "the pod could not be prepared; its log has more"
        return Trouble("EnvironmentFailed", message, is_final=end["exitCode"] == EXIT_ENVIRONMENT)
    end = _last_end(container_of(pod))
    return _of_end(end, container_of(pod)) if end else Trouble()


def _of_end(end: Json, container: Json) -> Trouble:
    """How the replica's process ended last."""
    code, words = int(end.get("exitCode", 0)), _last_words(end.get("message", ""))
    if end.get("reason") == "OOMKilled":
        return Trouble("OutOfMemory", "the replica needed more memory than compute.mem allows", is_final=False)
    if words is not None:
        return Trouble(words.reason, words.message, is_final=code in _FINAL_EXITS)
    if code in _FINAL_EXITS:
        return Trouble("Unknown", f"the replica ended with exit code {code}", is_final=True)
    if code == EXIT_STUCK:
        return Trouble("Stuck", "a handler ran past its timeout and could not be interrupted")
    if container.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff":
        how = "was killed" if code == _KILLED else f"ended with exit code {code}"
        return Trouble("CrashLoop", f"the replica {how} {container.get('restartCount', 0)} times")
    return Trouble()


def _last_end(container: Json) -> Json | None:
    """Of a container that does not run now, or has been started again since."""
    for state in (container.get("state", {}), container.get("lastState", {})):
        if "terminated" in state:
            found: Json = state["terminated"]
            return found
    return None


def _last_words(message: str) -> LastWords | None:
    try:
        return LastWords.from_json(message)
    except (ValueError, KeyError, TypeError):
        return None


def _conditions(pod: Json) -> list[Json]:
    return pod.get("status", {}).get("conditions") or []


def _at_port(ip: str, port: int) -> str:
    """As an address of the gateway; "" before the pod has one."""
    if not ip:
        return ""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _seconds(timestamp: str | None) -> float | None:
    return None if timestamp is None else datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
