"""An API's status, its requests and the verdicts on its fields, as the facts that alerts are decided on. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hatchway.alerts.decide import Facts, Failure, Traffic
from hatchway.spec.status import ApiStatus, ReplicaStatus

LOOPING = ("CrashLoop", "OutOfMemory")  # reasons of replicas that end again and again


def to_facts(api: ApiStatus, traffic: Traffic | None, drift: Mapping[str, str] | None) -> Facts:
    """`drift`: field -> verdict."""
    failure = _failure(api)
    replicas = _counted(api)
    return Facts(
        is_wanted=api.status not in ("stopped", "deleting"),
        traffic=traffic,
        is_updating=failure is None and _state(api, "Updated") != "true",
        failure=failure,
        restarts={replica.id: replica.restarts for replica in replicas},
        loops=tuple(_loop(replica) for replica in replicas if _is_looping(replica)),
        drift=drift,
    )


def _failure(api: ApiStatus) -> Failure | None:
    for condition in api.conditions:
        if condition.type in ("Updated", "GatewayAccepted") and condition.state == "false":
            first_line = condition.message.strip().split("\n")[0]
            message = ": ".join(part for part in (condition.reason, first_line) if part)
            return Failure(api.revision, message, is_serving=api.replicas.ready > 0 or api.status == "idle")
    return None


def _counted(api: ApiStatus) -> list[ReplicaStatus]:
    """Replicas whose ends count as crashes: what becomes of those of an update, the update tells."""
    is_settled = _state(api, "Updated") == "true"
    return [one for one in api.replica_list if is_settled or one.revision != api.revision]


def _state(api: ApiStatus, type: str) -> str:
    return next((condition.state for condition in api.conditions if condition.type == type), "unknown")


def _is_looping(replica: ReplicaStatus) -> bool:
    return replica.state in ("starting", "failed") and replica.reason in LOOPING and replica.restarts > 0


def _loop(replica: ReplicaStatus) -> str:
    return f"replica {replica.id}: {replica.reason}: {replica.message.strip().split(chr(10))[0]}"
