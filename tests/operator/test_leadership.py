"""Who may take the lease, and when: by one's own clock alone."""

from __future__ import annotations

import pytest

from hatchway.kubernetes.resources import Json
from hatchway.operator.leadership import Sighting, Timing, claim, free_in_s, give_back, holder, sight
from tests.kubernetes.published import validate

TIMING = Timing(lease_s=15, lead_s=10, look_s=2)
NOON = 1_780_000_000.25


def a_lease(by: str = "them", version: str = "7", **spec: object) -> Json:
    made = {"holderIdentity": by, "leaseDurationSeconds": 15, "leaseTransitions": 3, "acquireTime": "then", **spec}
    return {"metadata": {"name": "hatchway-operator", "resourceVersion": version}, "spec": made}


def test_a_version_is_as_old_as_our_first_look_at_it() -> None:
    first = sight(None, a_lease(version="7"), 100)
    assert sight(first, a_lease(version="7"), 105) == first == Sighting("7", 100)
    assert sight(first, a_lease(version="8"), 105) == Sighting("8", 105)


@pytest.mark.parametrize(
    ("lease", "seen", "free_s"),
    [
        (None, None, 0),
        (a_lease(by=""), Sighting("7", 100), 0),
        ({"metadata": {"resourceVersion": "7"}}, Sighting("7", 100), 0),
        (a_lease(by="us"), Sighting("7", 100), 0),
        (a_lease(), Sighting("7", 100), 11),
        (a_lease(), Sighting("7", 89), 0),
        # However long ago its holder says that it renewed it: whose clock is right nobody knows.
        (a_lease(renewTime="1999-01-01T00:00:00.000000Z"), Sighting("7", 104), 15),
        (a_lease(leaseDurationSeconds=40), Sighting("7", 104), 40),
    ],
)
def test_it_is_free_when_nobody_has_it_or_it_did_not_change_for_as_long_as_it_lasts(
    lease: Json | None, seen: Sighting | None, free_s: float
) -> None:
    assert free_in_s(lease, seen, "us", 104, TIMING) == free_s


def test_taking_it_counts_and_stands_on_the_version_that_was_read() -> None:
    taken = claim(a_lease(), "us", NOON, TIMING)
    assert taken["metadata"]["resourceVersion"] == "7"
    assert taken["spec"] == {
        "holderIdentity": "us",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-05-28T20:26:40.250000Z",
        "renewTime": "2026-05-28T20:26:40.250000Z",
        "leaseTransitions": 4,
    }
    validate(taken)


def test_renewing_it_is_no_transition() -> None:
    renewed = claim(a_lease(by="us"), "us", NOON, TIMING)
    assert (renewed["spec"]["leaseTransitions"], renewed["spec"]["acquireTime"]) == (3, "then")


def test_the_first_one_has_no_version_to_stand_on() -> None:
    first = claim(None, "us", NOON, TIMING)
    assert (first["metadata"]["name"], first["spec"]["leaseTransitions"]) == ("hatchway-operator", 0)
    validate(first)


def test_given_back_it_is_nobodys_and_free_at_once() -> None:
    given = give_back({**claim(a_lease(), "us", NOON, TIMING)})
    validate(given)
    assert holder(given) == ""
    assert free_in_s(given, Sighting("9", 104), "them", 104, TIMING) == 0


def test_a_leader_stops_before_others_begin() -> None:
    assert Timing().lead_s < Timing().lease_s
