"""Envoy's statistics as text, and what is made of them; that Envoy counts so is told in test_gateway.py."""

from __future__ import annotations

import math

from hatchway.gateway.served import BOUNDS_S, Tally, read_served, stats_config

TEXT = """cluster.api_iris.upstream_rq_retry: 4
served.microseconds.api.iris: 9000
served.requests.api..revision..code.404: 2
served.requests.api.iris.revision.activator.code.200: 3
served.requests.api.iris.revision..code.413: 1
served.requests.api.iris.revision.r1.code.200: 5
served.requests.api.my-api-2.revision.r2.code.500: 7
served.duration.api.iris: B100(1,2) B150(0,2) B1e+06(1,9) B1.5e+06(0,9)
"""


def test_an_apis_requests_are_read_by_revision_and_status() -> None:
    found = read_served(TEXT)
    assert found == {
        "iris": Tally({("", 200): 3, ("", 413): 1, ("r1", 200): 5}, 3, 4, 9000, (2, 2, 9, 9)),
        "my-api-2": Tally({("r2", 500): 7}),
        "": Tally({("", 404): 2}),
    }
    assert found["iris"].total == 9


def test_nothing_counted_yet_is_nothing() -> None:
    assert read_served("") == {}


def test_bounds_ascend_and_the_last_bucket_of_envoy_is_above_all() -> None:
    assert list(BOUNDS_S) == sorted(set(BOUNDS_S))
    buckets = stats_config()["histogram_bucket_settings"][0]["buckets"]
    assert len(buckets) == len(BOUNDS_S) + 1
    assert all(math.isclose(mine / 1e6, bound) for mine, bound in zip(buckets, BOUNDS_S, strict=False))


def test_sums_keep_every_status() -> None:
    one = Tally({("r1", 200): 1}, held=1, retries=2, microseconds=10, buckets=(1, 1))
    two = Tally({("r1", 200): 2, ("r2", 500): 3}, microseconds=5, buckets=(0, 5))
    assert one.plus(two) == Tally({("r1", 200): 3, ("r2", 500): 3}, 1, 2, 15, (1, 6))


def test_buckets_of_another_release_do_not_hide_ours() -> None:
    ours = tuple(range(len(BOUNDS_S) + 1))
    old, new = Tally(buckets=(1, 2, 3)), Tally(buckets=ours)
    assert old.plus(new).buckets == new.plus(old).buckets == ours
