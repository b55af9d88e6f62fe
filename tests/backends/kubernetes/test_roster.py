"""Replicas by API, read once from each version of their pods."""

from __future__ import annotations

from hatchway.backends.kubernetes.roster import Roster
from hatchway.contract import ReplicaStats
from hatchway.kubernetes.names import API, DRAINING
from hatchway.kubernetes.resources import Json
from tests.backends.kubernetes.test_pods import a_pod

STATS = ReplicaStats("ready", 1, 0, 3, 0, 0, 4, 100, "function predict (async)")


def named(name: str, *, api: str = "iris", uid: str = "u", **more: object) -> Json:
    pod = a_pod(**more)  # type: ignore[arg-type]  # passed on as they are
    pod["metadata"] |= {"name": name, "uid": uid, "labels": {**pod["metadata"]["labels"], API: api}}
    return pod


def test_each_api_has_its_own() -> None:
    roster = Roster()
    for name, api in (("a", "iris"), ("b", "iris"), ("c", "other")):
        assert roster.take(named(name, api=api))
    assert [each.id for each in roster.replicas("iris")] == ["a", "b"]
    assert [each.id for each in roster.replicas()] == ["a", "b", "c"]
    assert roster.replicas("none") == []


def test_only_what_changes_a_replica_is_news() -> None:
    roster = Roster()
    roster.take(named("a"))
    assert not roster.take(named("a", startTime="2026-01-31T12:00:00Z"))
    assert roster.take(named("a", ready=True))


def test_what_a_replica_says_stays_until_its_pod_is_another() -> None:
    roster = Roster()
    roster.take(named("a", ready=True))
    assert roster.learn(named("a"), STATS)
    assert not roster.learn(named("a"), STATS)
    roster.take(named("a", ready=True, startTime="2026-01-31T12:00:00Z"))
    assert roster.replicas("iris")[0].slots == 4
    roster.take(named("a", uid="another"))
    assert roster.replicas("iris")[0].slots is None
    assert not roster.learn(named("a", uid="u"), STATS)  # an answer of the one before


def test_who_drains_is_known_until_it_comes_back_or_goes() -> None:
    roster = Roster()
    roster.take(named("a", serving=DRAINING))
    roster.take(named("b", serving=DRAINING))
    roster.take(named("a"))
    assert [pod["metadata"]["name"] for pod in roster.draining()] == ["b"]
    roster.forget(named("b"))
    assert roster.draining() == []


def test_nothing_is_kept_of_who_is_gone() -> None:
    roster = Roster()
    roster.take(named("a"))
    roster.forget(named("a"))
    assert not roster.learn(named("a"), STATS)
    assert not roster.replicas()
    assert not roster.pods("iris")
