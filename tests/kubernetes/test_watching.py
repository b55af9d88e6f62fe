"""A copy of the objects of one kind stays current, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from hatchway.kubernetes.api_server import ApiServer
from hatchway.kubernetes.resources import SECRETS, Json
from hatchway.kubernetes.watching import Watch
from tests.kubernetes.double import Cluster
from tests.kubernetes.test_api_server import a_secret

PATIENCE_S = 20.0


@dataclass
class Story:
    """What a watch told, and its copy."""

    watch: Watch = field(init=False)
    told: list[tuple[str, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, before: Json | None, after: Json | None) -> None:
        kind = "came" if before is None else "went" if after is None else "changed"
        name = (after or before or {})["metadata"]["name"]
        self.told.append((kind, name))
        self.changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    def names(self) -> set[str]:
        return {obj["metadata"]["name"] for obj in self.watch.all()}


@pytest.fixture
async def story(server: ApiServer) -> AsyncIterator[Story]:
    """Of all secrets with the label `ours`, begun when one of them exists."""
    await server.apply(labelled("first"))
    await server.apply(a_secret("not-ours"))
    story = Story()
    story.watch = Watch(server, SECRETS, story.tell, labels="ours")
    task = asyncio.create_task(story.watch.run())
    await story.watch.complete()
    yield story
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def labelled(name: str, **data: str) -> Json:
    secret = a_secret(name, **data)
    secret["metadata"]["labels"] = {"ours": "yes"}
    return secret


def n_lists(cluster: Cluster) -> int:
    return sum(each.method == "GET" and "watch" not in each.query for each in cluster.requests)


async def test_it_begins_with_what_is_there_and_tells_what_comes(server: ApiServer, story: Story) -> None:
    assert story.told == [("came", "first")]
    await server.apply(labelled("second"))
    await server.apply(labelled("second", a="1"))
    await server.delete(SECRETS, "second")
    await story.until(lambda: len(story.told) == 4)
    assert story.told[1:] == [("came", "second"), ("changed", "second"), ("went", "second")]


async def test_what_loses_its_label_goes(server: ApiServer, story: Story) -> None:
    await server.merge(SECRETS, "first", {"metadata": {"labels": {"ours": None}}})
    await story.until(lambda: ("went", "first") in story.told)


async def test_a_broken_stream_goes_on_where_it_was_without_a_list(
    server: ApiServer, story: Story, cluster: Cluster
) -> None:
    await asyncio.to_thread(cluster.await_watch)
    lists = n_lists(cluster)
    assert cluster.drop_watches() > 0
    await server.apply(labelled("second"))
    await story.until(lambda: ("came", "second") in story.told)
    assert n_lists(cluster) == lists
    assert story.told.count(("came", "first")) == 1


async def test_it_outlives_a_restart_of_the_server(server: ApiServer, story: Story, cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.await_watch)
    cluster.stop_server()
    cluster.start_server()
    await server.apply(labelled("second"))
    await story.until(lambda: ("came", "second") in story.told)


async def test_when_the_past_is_forgotten_it_lists_and_tells_what_it_missed(
    server: ApiServer, story: Story, cluster: Cluster
) -> None:
    await asyncio.to_thread(cluster.await_watch)
    cluster.fault(is_cut=True, path="watch", times=3)
    cluster.drop_watches()
    await server.apply(labelled("second"))
    await server.delete(SECRETS, "first")
    cluster.compact()
    await story.until(lambda: story.names() == {"second"})
    assert ("went", "first") in story.told


@pytest.mark.parametrize("code", [410, 500, 429])
async def test_a_refused_watch_begins_anew(server: ApiServer, story: Story, cluster: Cluster, code: int) -> None:
    await asyncio.to_thread(cluster.await_watch)
    fault = cluster.fault(code=code, path="watch", times=2)
    cluster.drop_watches()
    await server.apply(labelled("second"))
    await story.until(lambda: story.names() == {"first", "second"})
    await server.apply(labelled("third"))
    await story.until(lambda: ("came", "third") in story.told)
    assert fault.hits > 0


async def test_an_answer_to_a_write_is_known_before_the_watch_tells(server: ApiServer, story: Story) -> None:
    written = await server.apply(labelled("second"))
    story.watch.learn(written)
    assert story.names() == {"first", "second"}
    await server.delete(SECRETS, "second")
    await story.until(lambda: ("went", "second") in story.told)
    story.watch.learn(written)  # late: it is gone
    assert story.names() == {"first"}
    assert story.told.count(("came", "second")) == 1
