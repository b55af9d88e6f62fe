"""When gateways have what is wanted, and when all of them have let go of a replica."""

from __future__ import annotations

import pytest

from hatchway.gateway.agreement import Expected, Sums, has_taken, open_requests
from hatchway.gateway.readings import Host, Hosts, Versions
from hatchway.gateway.routes import Endpoint
from hatchway.gateway.stats import Load, Requests

A, B = "10.0.0.1:8080", "10.0.0.2:8080"
EXPECTED = Expected("v2", (Endpoint(A), Endpoint(B, is_draining=True)))
TAKEN = Versions({"iris": "v2"})
ACTIVATOR = {"./act.sock": Host()}


@pytest.mark.parametrize(
    ("hosts", "versions", "is_taken"),
    [
        ({A: Host(), B: Host(2, is_leaving=True)}, TAKEN, True),
        ({A: Host()}, TAKEN, True),  # one that is left may be gone already
        ({A: Host(), B: Host()}, TAKEN, False),
        ({B: Host(is_leaving=True)}, TAKEN, False),
        ({A: Host()}, Versions({"iris": "v1"}), False),
        ({}, Versions(), False),
    ],
)
def test_a_gateway_has_the_newest_when_it_routes_and_sends_as_expected(
    hosts: dict[str, Host], versions: Versions, is_taken: bool
) -> None:
    assert has_taken("iris", EXPECTED, {"iris": {**ACTIVATOR, **hosts}}, versions) is is_taken


def test_an_api_is_removed_when_nothing_is_routed_to_it() -> None:
    assert not has_taken("iris", None, {}, TAKEN)
    assert has_taken("iris", None, {"iris": {A: Host()}}, Versions())


def test_a_replica_is_let_go_of_when_no_gateway_sends_to_it_or_waits_for_it() -> None:
    sends: Hosts = {"iris": {A: Host()}}
    left: Hosts = {"iris": {A: Host(is_leaving=True)}}
    waits: Hosts = {"iris": {A: Host(2, is_leaving=True)}}
    assert open_requests([A], [left, {}]).get(A, 0) == 0
    assert open_requests([A], [left, sends]) == {A: 1}
    assert open_requests([A], [waits, sends]) == {A: 3}


def test_a_gateway_that_does_not_answer_may_send_anywhere() -> None:
    assert open_requests([A, B], [{"iris": {A: Host(is_leaving=True)}}, None]) == {A: 1, B: 1}


def load(in_flight: int, total: int) -> Load:
    return Load({"iris": Requests(in_flight, total)})


def test_totals_add_up_and_never_fall() -> None:
    sums = Sums()
    sums.learn("one", load(1, 10))
    sums.learn("two", load(2, 5))
    assert sums.by_api() == {"iris": Requests(3, 15)}
    sums.learn("two", load(0, 1))  # its Envoy was started again
    assert sums.by_api() == {"iris": Requests(1, 16)}
    sums.forget("one")
    assert sums.by_api() == {"iris": Requests(0, 16)}


def test_nothing_is_in_flight_at_a_gateway_that_was_given_up() -> None:
    sums = Sums()
    sums.learn("one", load(3, 10))
    sums.silence("one")
    assert sums.by_api() == {"iris": Requests(0, 10)}
