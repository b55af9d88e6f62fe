"""The controller's memory in the cluster, on the double: written first, read by the next leader, never by two."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from hatchway.kubernetes.api_server import ApiServer, Refused
from hatchway.kubernetes.connection import connect_to
from hatchway.kubernetes.definition import realtime_api_definition
from hatchway.kubernetes.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, REALTIME_APIS, Json
from hatchway.operator.memory import ClusterMemory, TakenOver
from hatchway.operator.records import record_name
from hatchway.store.sqlite import IN_MEMORY, ApiRecord, Event, Store
from tests.kubernetes.double import Cluster, a_cluster
from tests.operator.test_records import all_of, fill


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with a_cluster() as cluster:
        yield cluster


@pytest.fixture
async def server(cluster: Cluster) -> AsyncIterator[ApiServer]:
    made = ApiServer(connect_to(cluster.url, cluster.token), page=1)
    yield made
    await made.close()


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(IN_MEMORY) as store:
        fill(store)
        yield store


def memory(server: ApiServer, store: Store, owner: Json | None = None) -> ClusterMemory:
    return ClusterMemory(server, store, lambda api: owner)


async def a_resource(server: ApiServer) -> Json:
    await server.apply(realtime_api_definition())
    body = {"apiVersion": REALTIME_APIS.api_version, "kind": REALTIME_APIS.kind, "metadata": {"name": "iris"}}
    return await server.apply({**body, "spec": {"handler": {"path": "handler.py"}}})


async def what_the_next_one_knows(server: ApiServer, api: str = "iris") -> list[object]:
    with Store(IN_MEMORY) as found:
        await memory(server, found).load()
        return all_of(found, api)


def an_edit(store: Store) -> ApiRecord:
    record = store.api("iris")
    assert record is not None
    edited = replace(record, generation=record.generation + 1)
    store.save_api(edited)
    return edited


def writes(cluster: Cluster) -> list[str]:
    return [f"{each.method} {each.path.rpartition('/')[2]}" for each in cluster.requests if each.method != "GET"]


async def test_the_next_leader_starts_from_what_was_written(server: ApiServer, store: Store) -> None:
    fill(store, "other")
    ours = memory(server, store)
    await ours.write_all()
    assert await what_the_next_one_knows(server) == all_of(store)
    assert await what_the_next_one_knows(server, "other") == all_of(store, "other")


async def test_only_what_matters_is_written_at_once_and_the_rest_with_it_or_at_its_leisure(
    cluster: Cluster, server: ApiServer, store: Store
) -> None:
    ours = memory(server, store)
    await ours.write("iris")
    n_writes = len(writes(cluster))
    for _ in range(3):
        store.add_event(Event("iris", 7.0, "Noise", "nothing was done"))
        await ours.write("iris")
    assert len(writes(cluster)) == n_writes
    await ours.write("iris", whole=True)
    await ours.write("iris", whole=True)
    an_edit(store)
    await ours.write("iris")
    assert writes(cluster)[n_writes:] == ["PUT iris.hatchway", "PUT iris.hatchway"]
    assert await what_the_next_one_knows(server) == all_of(store)


async def test_files_come_before_the_record_that_names_them_and_go_after_it(
    cluster: Cluster, server: ApiServer, store: Store
) -> None:
    ours = memory(server, store)
    await ours.write("iris")
    assert writes(cluster) == ["POST controllerrevisions", "POST controllerrevisions", "POST configmaps"]
    store.remove_revisions("iris", ["r1"])
    await ours.write("iris")
    assert writes(cluster)[3:] == ["PUT iris.hatchway", "DELETE iris-r1"]


@pytest.mark.parametrize("survivors", range(4))
async def test_a_crash_at_any_write_leaves_the_old_state_or_the_new_one(
    cluster: Cluster, server: ApiServer, store: Store, survivors: int
) -> None:
    """The first `survivors` writes reach the cluster, and no more."""
    left = [1_000]

    def may_write() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionAbortedError

    connection = connect_to(cluster.url, cluster.token)
    dying = memory(ApiServer(connection, may_write=may_write), store)
    await dying.write("iris")
    before = all_of(store)
    record, revision = store.api("iris"), store.revision("r2", "iris")
    assert record is not None
    assert revision is not None
    store.save_deploy(replace(record, revision="r3", generation=9), replace(revision, id="r3"))
    store.remove_revisions("iris", ["r1"])
    left[0] = survivors
    with contextlib.suppress(ConnectionAbortedError):
        await dying.write("iris")
    await connection.http.aclose()
    assert await what_the_next_one_knows(server) in (before, all_of(store))
    assert (await what_the_next_one_knows(server) == all_of(store)) == (survivors >= 2)


async def test_records_go_with_their_resource_also_with_one_that_takes_the_name(
    cluster: Cluster, server: ApiServer, store: Store
) -> None:
    first = await a_resource(server)
    await memory(server, store, first).write("iris")
    assert {each["metadata"]["ownerReferences"][0]["uid"] for each in records(cluster)} == {first["metadata"]["uid"]}
    cluster.call(cluster.stop_controllers)  # its garbage is still to be collected
    await server.delete(REALTIME_APIS, "iris")
    second = await a_resource(server)
    with Store(IN_MEMORY) as found:
        ours = memory(server, found, second)
        await ours.load()
        await ours.write("iris")
    assert {each["metadata"]["ownerReferences"][0]["uid"] for each in records(cluster)} == {second["metadata"]["uid"]}
    assert await what_the_next_one_knows(server) == all_of(store)


async def test_of_an_api_that_is_forgotten_nothing_is_left(cluster: Cluster, server: ApiServer, store: Store) -> None:
    ours = memory(server, store)
    await ours.write("iris")
    store.remove_api("iris")
    await ours.write("iris")
    await ours.write("iris")
    assert records(cluster) == []


async def test_a_leader_that_finds_a_record_of_somebody_else_ends(server: ApiServer, store: Store) -> None:
    ours = memory(server, store)
    await ours.write_all()
    running = asyncio.create_task(ours.run())
    with Store(IN_MEMORY) as others:
        theirs = memory(server, others)
        await theirs.load()
        an_edit(others)
        await theirs.write("iris")
        an_edit(store)
        an_edit(store)
        with pytest.raises(TakenOver):
            await ours.write("iris")
        with pytest.raises(TakenOver):  # also of what nobody else wrote
            await ours.write("other")
        with pytest.raises(TakenOver):
            await running
        assert await what_the_next_one_knows(server) == all_of(others)


@pytest.mark.parametrize("code", [409, 500])
async def test_a_write_whose_answer_was_lost_was_ours(
    cluster: Cluster, server: ApiServer, store: Store, code: int
) -> None:
    ours = memory(server, store)
    await ours.write("iris")
    edited = an_edit(store)
    current = await server.get(CONFIG_MAPS, record_name("iris"))

    async def lose_the_answer() -> None:
        """Our write has reached the server; we do not know it, and send it again."""
        with Store(IN_MEMORY) as copy:
            twin = memory(server, copy)
            await twin.load()
            copy.save_api(edited)
            await twin.write("iris")

    await lose_the_answer()
    assert (await server.get(CONFIG_MAPS, record_name("iris")))["metadata"] != current["metadata"]
    cluster.fault(code=code, method="PUT")
    await ours.write("iris")
    an_edit(store)
    await ours.write("iris")
    assert await what_the_next_one_knows(server) == all_of(store)


async def test_a_record_that_somebody_removed_is_written_again(
    cluster: Cluster, server: ApiServer, store: Store
) -> None:
    ours = memory(server, store)
    await ours.write("iris")
    await server.delete(CONFIG_MAPS, record_name("iris"))
    an_edit(store)
    await ours.write("iris")
    assert await what_the_next_one_knows(server) == all_of(store)


async def test_a_damaged_record_costs_its_api_its_history_and_no_other_anything(
    server: ApiServer, store: Store
) -> None:
    fill(store, "other")
    await memory(server, store).write_all()
    await server.merge(CONFIG_MAPS, record_name("iris"), {"binaryData": {"record.json.gz": "AAAA"}})
    assert await what_the_next_one_knows(server, "other") == all_of(store, "other")
    with Store(IN_MEMORY) as found:
        ours = memory(server, found)
        await ours.load()
        assert found.api("iris") is None
        fill(found)  # deployed anew
        await ours.write("iris")
        assert await what_the_next_one_knows(server) == all_of(found)


async def test_what_is_only_in_memory_is_saved_first(server: ApiServer, store: Store) -> None:
    def save(api: str) -> None:
        store.remember(f"scaling:{api}", json.dumps({"memory": {"replicas": 8}}))

    await ClusterMemory(server, store, lambda api: None, save).write("iris")
    assert await what_the_next_one_knows(server) == all_of(store)


async def test_what_cannot_be_written_is_told_before_anything_is_done_about_it(
    cluster: Cluster, server: ApiServer, store: Store
) -> None:
    cluster.fault(code=403, method="POST")
    with pytest.raises(Refused):
        await memory(server, store).write("iris")


def records(cluster: Cluster) -> list[Json]:
    found = [*cluster.all("", CONFIG_MAPS.plural), *cluster.all("apps", CONTROLLER_REVISIONS.plural)]
    return [each for each in found if "hatchway" in each["metadata"].get("labels", {}).values()]
