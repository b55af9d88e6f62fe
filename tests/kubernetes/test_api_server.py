"""Our calls of an API server: what they say, what they repeat, and what they leave to others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hatchway.kubernetes.api_server import TRIES, ApiServer, Refused, Unreachable
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.resources import DEPLOYMENTS, SECRETS, Json
from tests.kubernetes.double import Cluster


class Clock:
    """A sleep that takes no time and remembers."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def quick(cluster: Cluster, clock: Clock) -> AsyncIterator[ApiServer]:
    server = ApiServer(connect_to(cluster.url, cluster.token), chance=lambda: 1.0, sleep=clock, page=3)
    yield server
    await server.close()


def a_secret(name: str = "launch", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


async def test_an_apply_is_strict_and_under_our_name(server: ApiServer, cluster: Cluster) -> None:
    await server.apply(a_secret())
    with pytest.raises(Refused, match=r"unknown field.*typo") as refused:
        await server.apply({**a_secret(), "typo": 1})
    assert refused.value.code == 400
    assert cluster.requests[-1].query == {"fieldManager": "hatchway", "fieldValidation": "Strict"}


async def test_what_is_not_there_is_none_and_other_failures_are_not_hidden(server: ApiServer, cluster: Cluster) -> None:
    assert await server.find(SECRETS, "nothing") is None
    cluster.fault(code=403)
    with pytest.raises(Refused):
        await server.find(SECRETS, "nothing")


async def test_a_list_comes_in_pages_of_one_version(quick: ApiServer) -> None:
    for number in range(7):
        await quick.apply(a_secret(f"part-{number}"))
    pages = [page async for page in quick.pages(SECRETS)]
    found = [each for objects, _ in pages for each in objects]
    assert [len(objects) for objects, _ in pages] == [3, 3, 1]
    assert [each["metadata"]["name"] for each in found] == [f"part-{number}" for number in range(7)]
    (version,) = {version for _, version in pages}
    assert int(version) >= max(int(each["metadata"]["resourceVersion"]) for each in found)


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_a_passing_failure_is_tried_again(quick: ApiServer, cluster: Cluster, clock: Clock, code: int) -> None:
    cluster.fault(code=code, times=2)
    await quick.apply(a_secret())
    assert clock.slept == [0.1, 0.2]


async def test_the_server_says_how_long_to_wait(quick: ApiServer, cluster: Cluster, clock: Clock) -> None:
    cluster.fault(code=429, retry_after_s=7)
    await quick.apply(a_secret())
    assert clock.slept == [7]


async def test_a_connection_that_breaks_is_tried_again(quick: ApiServer, cluster: Cluster, clock: Clock) -> None:
    cluster.fault(is_cut=True, times=3)
    await quick.apply(a_secret())
    assert len(clock.slept) == 3


async def test_it_does_not_try_for_ever(quick: ApiServer, cluster: Cluster) -> None:
    fault = cluster.fault(code=500, times=100)
    with pytest.raises(Refused, match="500 InternalError"):
        await quick.apply(a_secret())
    assert fault.hits == TRIES
    cluster.stop_server()
    with pytest.raises(Unreachable):
        await quick.apply(a_secret())
    cluster.start_server()


async def test_a_conflict_is_for_the_caller_to_decide(quick: ApiServer, cluster: Cluster, clock: Clock) -> None:
    fault = cluster.fault(code=409, times=2)
    with pytest.raises(Refused) as refused:
        await quick.apply(a_secret())
    assert (refused.value.code, fault.hits, clock.slept) == (409, 1, [])


async def test_a_deletion_is_of_one_object_and_not_of_its_name(server: ApiServer) -> None:
    first = await server.apply(a_secret())
    await server.delete(SECRETS, "launch", uid="another")
    assert await server.find(SECRETS, "launch") is not None
    await server.delete(SECRETS, "launch", uid=first["metadata"]["uid"])
    await server.delete(SECRETS, "launch", uid=first["metadata"]["uid"])
    assert await server.find(SECRETS, "launch") is None


async def test_a_merge_may_be_of_one_version(server: ApiServer) -> None:
    first = await server.apply(a_secret())
    version = first["metadata"]["resourceVersion"]
    await server.merge(SECRETS, "launch", {"metadata": {"labels": {"a": "1"}}})
    with pytest.raises(Refused) as refused:
        await server.merge(SECRETS, "launch", {"metadata": {"resourceVersion": version, "labels": {"a": "2"}}})
    assert refused.value.code == 409


async def test_who_is_not_known_is_told_so_at_once(cluster: Cluster) -> None:
    lost = ApiServer(connect_to(cluster.url, "nobody"))
    with pytest.raises(Refused, match="401 Unauthorized"):
        await lost.get(DEPLOYMENTS, "web")
    await lost.close()
    assert len(cluster.requests) == 1


async def test_whether_a_write_may_go_out_is_asked_on_the_open_connection_at_each_try(cluster: Cluster) -> None:
    asked: list[int] = []

    def may_write() -> None:
        asked.append(len(cluster.requests))
        if len(asked) == 3:
            raise PermissionError("not any more")

    fenced = ApiServer(connect_to(cluster.url, cluster.token), may_write=may_write, sleep=Clock())
    cluster.stop_server()
    with pytest.raises(Unreachable):
        await fenced.apply(a_secret())
    assert asked == []  # nobody was there to send anything to
    cluster.start_server()
    cluster.fault(code=503, times=5)
    with pytest.raises(PermissionError):
        await fenced.apply(a_secret())
    assert asked == [0, 1, 2]
    assert len(cluster.requests) == 2
    await fenced.find(SECRETS, "launch")
    assert len(asked) == 3
    await fenced.close()
