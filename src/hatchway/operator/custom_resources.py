"""A RealtimeAPI of a cluster as a deploy, and what is observed of it as its status. Pure."""

from __future__ import annotations

from pydantic import ValidationError

from hatchway.errors import HatchwayError, InvalidSpec
from hatchway.kubernetes.names import API
from hatchway.kubernetes.resources import REALTIME_APIS, Json
from hatchway.operator.wishes import VERB_FIELDS
from hatchway.spec.deploy import ApiDocument
from hatchway.spec.revision import Source
from hatchway.spec.status import ApiStatus, Condition

FINALIZER = "hatchway.dev/replicas"  # a deleted API stays until its replicas have finished their requests

_TRUTH = {"true": "True", "false": "False", "unknown": "Unknown"}
ACCEPTED = "Accepted"  # of the conditions, the one that is about what was written, not about what runs


def to_document(resource: Json) -> ApiDocument:
    """What was written, as a deploy sends it.

    Raises InvalidSpec when it does not say which project runs.
    """
    name = resource["metadata"]["name"]
    spec = {each: value for each, value in resource["spec"].items() if each not in VERB_FIELDS}
    source = spec.pop("source", None)
    where = f"{REALTIME_APIS.kind} {name}"
    if source is None:
        raise InvalidSpec(
            f"{where} has no spec.source: it does not say which project runs",
            hint="spec.source lists the project's files, which have been uploaded to the operator",
        )
    try:
        read = Source.model_validate(source)
    except ValidationError as exc:
        problems = tuple(f"spec.source.{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in exc.errors())
        raise InvalidSpec(f"{where}: spec.source is damaged", problems=problems) from exc
    return ApiDocument(document={"name": name, "kind": REALTIME_APIS.kind, **spec}, source=read, location=where)


def to_status(
    resource: Json, seen: ApiStatus | None, problem: HatchwayError | None, now: str, routing: Json | None = None
) -> Json:
    """`seen` is None while nothing runs; `problem` is why the newest edit was not taken over; `now` is ISO 8601.

    `routing` is what gateways are told of the API; None: it is not to be routed.
    """
    generation = resource["metadata"]["generation"]
    accepted = Condition(
        type=ACCEPTED,
        state="true" if problem is None else "false",
        reason="" if problem is None else type(problem).__name__,
        message="" if problem is None else _explain(problem),
    )
    found = [accepted, *(() if seen is None else seen.conditions)]
    if seen is None:
        found.append(Condition(type="Ready", state="false", reason=accepted.reason or "Starting"))
    before = {each["type"]: each for each in resource.get("status", {}).get("conditions", ())}
    status: Json = {
        "observedGeneration": generation,
        "phase": "failed" if seen is None and problem is not None else "starting" if seen is None else seen.status,
        "reason": accepted.reason or ("" if seen is None else seen.reason),
        "message": accepted.message or ("" if seen is None else seen.message),
        "replicas": 0 if seen is None else seen.replicas.desired,
        "readyReplicas": 0 if seen is None else seen.replicas.ready,
        "selector": f"{API}={resource['metadata']['name']}",
        "conditions": [_condition(each, before.get(each.type), generation, now) for each in found],
    }
    if seen is not None:
        status |= {"revision": seen.revision, "endpoint": seen.endpoint}
    if routing is not None:
        status["routing"] = routing
    return status


def _condition(condition: Condition, before: Json | None, generation: int, now: str) -> Json:
    """The time is that of the last change of its truth, as `kubectl wait` and alerts expect."""
    state = _TRUTH[condition.state]
    is_same = before is not None and before["status"] == state
    return {
        "type": condition.type,
        "status": state,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if before is not None and is_same else now,
        "reason": condition.reason or ("AsWanted" if condition.state == "true" else "Unknown"),
        "message": condition.message,
    }


def _explain(problem: HatchwayError) -> str:
    problems = getattr(problem, "problems", ())
    return "; ".join((problem.message, *problems))
