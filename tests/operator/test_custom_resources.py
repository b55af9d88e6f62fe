"""What stands in a custom resource as a deploy, and what is observed as its status."""

from __future__ import annotations

import pytest

from hatchway.errors import Conflict, InvalidSpec
from hatchway.kubernetes.resources import Json
from hatchway.operator.custom_resources import to_document, to_status
from hatchway.spec.status import ApiStatus, Condition, ReplicaCounts
from tests.backends.builders import this_interpreter

SOURCE = {"files": [], "interpreter": this_interpreter().model_dump(mode="json")}
NOW = "2026-01-31T12:00:00Z"


def a_resource(*, status: Json | None = None, **spec: object) -> Json:
    return {
        "metadata": {"name": "iris", "generation": 3},
        "spec": {"handler": {"path": "handler.py"}, "source": SOURCE, **spec},
        "status": status or {},
    }


def seen(**fields: object) -> ApiStatus:
    made: dict[str, object] = {
        "name": "iris",
        "kind": "RealtimeAPI",
        "status": "live",
        "reason": "",
        "revision": "r1",
        "endpoint": "http://gateway/iris",
        "replicas": ReplicaCounts(desired=2, ready=1),
        "in_flight": 0,
        "conditions": (Condition(type="Ready", state="true"),),
        "replica_list": (),
        "spec": {},
        "revisions": (),
    }
    return ApiStatus.model_validate({**made, **fields})


def conditions(status: Json) -> dict[str, Json]:
    return {each["type"]: each for each in status["conditions"]}


def test_what_is_written_is_deployed_under_the_name_of_the_resource() -> None:
    document = to_document(a_resource(compute={"cpu": 2}))
    assert document.document == {
        "name": "iris",
        "kind": "RealtimeAPI",
        "handler": {"path": "handler.py"},
        "compute": {"cpu": 2},
    }
    assert document.source.interpreter == this_interpreter()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"source": None}, "no spec.source"),
        ({"source": {"files": [{"path": "a"}]}}, "damaged"),
    ],
)
def test_what_cannot_be_run_is_refused_and_not_ignored(spec: Json, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        to_document(a_resource(**spec))


def test_the_status_is_what_is_observed() -> None:
    status = to_status(a_resource(), seen(), None, NOW)
    assert (status["phase"], status["replicas"], status["readyReplicas"]) == ("live", 2, 1)
    assert (status["revision"], status["endpoint"], status["observedGeneration"]) == ("r1", "http://gateway/iris", 3)
    assert {name: each["status"] for name, each in conditions(status).items()} == {"Accepted": "True", "Ready": "True"}
    assert all(each["reason"] for each in status["conditions"])  # Kubernetes asks for one


def test_an_edit_that_was_refused_says_why_beside_what_goes_on_running() -> None:
    problem = InvalidSpec("the specification is wrong", problems=("compute.cpu: must be more",))
    status = to_status(a_resource(), seen(), problem, NOW)
    assert (status["phase"], status["reason"]) == ("live", "InvalidSpec")
    assert status["message"] == "the specification is wrong; compute.cpu: must be more"
    found = conditions(status)
    assert (found["Accepted"]["status"], found["Ready"]["status"]) == ("False", "True")


def test_what_never_ran_is_not_ready() -> None:
    assert to_status(a_resource(), None, None, NOW)["phase"] == "starting"
    status = to_status(a_resource(), None, Conflict("taken"), NOW)
    assert (status["phase"], conditions(status)["Ready"]["status"]) == ("failed", "False")


def test_the_time_of_a_condition_is_that_of_its_last_change() -> None:
    first = to_status(a_resource(), seen(), None, NOW)
    later = to_status(a_resource(status=first), seen(), Conflict("taken"), "2026-01-31T13:00:00Z")
    times = {name: each["lastTransitionTime"] for name, each in conditions(later).items()}
    assert times == {"Accepted": "2026-01-31T13:00:00Z", "Ready": NOW}
    assert to_status(a_resource(status=first), seen(), None, "2026-01-31T13:00:00Z") == first
