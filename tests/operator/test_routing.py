"""What gateways get, from a RealtimeAPI's status and its pods."""

from __future__ import annotations

import pytest

from hatchway.gateway.routes import Endpoint, Route
from hatchway.kubernetes.names import API, DRAINING, LEAVING, REVISION, SERVING, YES
from hatchway.kubernetes.resources import Json
from hatchway.operator.routing import routing_of, to_endpoint, to_route, to_routing, to_table
from hatchway.spec.api import Cors

ROUTE = Route(
    "iris",
    "/iris",
    timeout_s=2.5,
    stream_idle_timeout_s=0,
    max_body_bytes=7,
    cors=Cors(allow_origins=("https://example.com",), max_age=60),
    idempotent=True,
    max_held=3,
)


def a_pod(*, ip: str = "10.0.0.1", serving: str = YES, is_ready: bool = True, is_deleted: bool = False) -> Json:
    metadata: Json = {"name": "iris-1", "labels": {API: "iris", REVISION: "r1", SERVING: serving}}
    if is_deleted:
        metadata["deletionTimestamp"] = "2026-01-31T12:00:00Z"
    ready = [{"type": "Ready", "status": "True" if is_ready else "False"}]
    return {"metadata": metadata, "status": {"podIP": ip, "conditions": ready}}


def test_a_route_comes_back_as_it_was_written() -> None:
    assert to_route("iris", to_routing(ROUTE), []) == ROUTE


def test_requests_go_to_pods_that_are_ready_and_stay() -> None:
    assert to_endpoint(a_pod()) == Endpoint("10.0.0.1:8080", revision="r1")


@pytest.mark.parametrize(
    "pod",
    [
        a_pod(serving=DRAINING),
        a_pod(serving=LEAVING),
        a_pod(is_deleted=True),
        a_pod(is_ready=False),
    ],
)
def test_others_are_listed_and_get_nothing(pod: Json) -> None:
    found = to_endpoint(pod)
    assert found is not None
    assert found.is_draining


def test_a_pod_without_an_address_is_nowhere() -> None:
    assert to_endpoint(a_pod(ip="")) is None


def test_an_api_without_routing_is_not_routed() -> None:
    assert routing_of({"metadata": {"name": "iris"}}) is None
    assert to_route("iris", {"endpoint": "/iris"}, []) is None  # of another release


def test_of_two_that_claim_an_endpoint_the_first_has_it() -> None:
    table = to_table([Route("b", "/x"), Route("a", "/x"), Route("c", "/y")])
    assert [route.api for route in table.routes] == ["a", "c"]
