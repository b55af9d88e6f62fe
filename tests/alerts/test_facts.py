from __future__ import annotations

from typing import Any

from hatchway.alerts.decide import Failure
from hatchway.alerts.facts import to_facts
from hatchway.spec.status import Condition, ReplicaCounts, ReplicaStatus
from tests.control_api.memory_plane import an_api

FAILED = Condition(type="Updated", state="false", reason="ImportError", message="no nope\n  Traceback ...")


def a_replica(id: str = "iris-1", **fields: Any) -> ReplicaStatus:
    defaults = {"id": id, "pid": 1, "revision": "r1", "state": "ready", "started_at": None, "restarts": 0}
    return ReplicaStatus.model_validate({**defaults, "rss_bytes": None, **fields})


def test_a_settled_api_has_nothing_to_tell() -> None:
    facts = to_facts(an_api(replica_list=(a_replica(restarts=2),)), None, None)
    assert (facts.is_wanted, facts.is_updating, facts.failure, facts.loops) == (True, False, None, ())
    assert facts.restarts == {"iris-1": 2}


def test_a_failed_update_is_told_by_its_first_line_and_by_who_still_answers() -> None:
    serving = an_api(revision="r2", conditions=(FAILED,))
    assert to_facts(serving, None, None).failure == Failure("r2", "ImportError: no nope", is_serving=True)
    dead = an_api(revision="r2", conditions=(FAILED,), replicas=ReplicaCounts(desired=1, failed=1), status="failed")
    assert to_facts(dead, None, None).failure == Failure("r2", "ImportError: no nope", is_serving=False)


def test_a_gateway_that_refuses_an_api_is_a_failed_update() -> None:
    refused = Condition(type="GatewayAccepted", state="false", reason="GatewayRejected", message="bad route")
    failure = to_facts(an_api(conditions=(Condition(type="Updated", state="true"), refused)), None, None).failure
    assert failure is not None
    assert failure.message == "GatewayRejected: bad route"


def test_ends_of_an_updates_replicas_are_the_updates_business() -> None:
    new = a_replica("iris-2", revision="r2", state="failed", reason="CrashLoop", message="ended", restarts=3)
    old = a_replica("iris-1", revision="r1", restarts=1)
    updating = an_api(revision="r2", conditions=(Condition(type="Updated", state="unknown"),), replica_list=(old, new))
    facts = to_facts(updating, None, None)
    assert (facts.is_updating, facts.restarts, facts.loops) == (True, {"iris-1": 1}, ())
    settled = an_api(revision="r2", replica_list=(new,))
    assert to_facts(settled, None, None).loops == ("replica iris-2: CrashLoop: ended",)


def test_a_replica_that_is_back_does_not_loop() -> None:
    assert to_facts(an_api(replica_list=(a_replica(reason="CrashLoop", restarts=3),)), None, None).loops == ()


def test_a_stopped_api_is_not_wanted() -> None:
    assert not to_facts(an_api(status="stopped"), None, None).is_wanted
    assert not to_facts(an_api(status="deleting"), None, None).is_wanted
