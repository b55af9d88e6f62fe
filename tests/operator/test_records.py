"""What is remembered of an API as objects of a cluster: they fit, are accepted, and what comes back is what was."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from hatchway.errors import StorageError
from hatchway.kubernetes.resources import Json
from hatchway.operator.records import (
    DECISIONS_KEPT,
    MAX_BYTES,
    essence,
    join,
    make_files,
    make_record,
    owner_of,
    read_record,
)
from hatchway.store.sqlite import IN_MEMORY, ApiRecord, Deed, Event, RevisionRecord, Scaled, Store
from tests.store.test_sqlite import SOURCE

OWNER = {"apiVersion": "hatchway.dev/v1alpha1", "kind": "RealtimeAPI", "metadata": {"name": "iris", "uid": "u-1"}}


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(IN_MEMORY) as store:
        yield store


def fill(store: Store, api: str = "iris") -> None:
    """Something of everything that is kept of an API."""
    document: dict[str, Any] = {"name": api, "handler": {"path": "handler.py"}, "größe": [1, None]}
    for number in (1, 2):
        record = ApiRecord(api, "RealtimeAPI", document, f"r{number}", "running", number, 1000.5, "r1", ("pod-1",))
        store.save_deploy(record, RevisionRecord(f"r{number}", api, document, SOURCE, "digest", float(number)))
        store.add_deed(Deed(api, float(number), "deployed", "ada", f"r{number}", "1234567", ("files changed",)))
    store.save_live(ApiRecord(api, "RealtimeAPI", document, "r2", "running", 3, 1001.5, "r2", (), SCALED), at=5.0)
    store.settle_deed(api, "live", 5.0)
    store.add_event(Event(api, 5.0, "Live", "revision r2 is live"))
    store.add_decision(api, 6.0, '{"replicas": 3}')
    store.remember(f"failure:{api}", '{"revision": "r1"}')
    store.remember(f"scaling:{api}", json.dumps({"memory": {"replicas": 3, "averages": [1]}, "at": 6.0}))


SCALED = Scaled(3, 2000.5, "ada")


def all_of(store: Store, api: str = "iris") -> list[object]:
    facts = [store.recall(f"{key}:{api}") for key in ("failure", "scaling")]
    kept = (store.api(api), store.revisions(api), store.deeds(api), store.events(api), store.decisions(api))
    return [*kept, *facts]


def through_the_cluster(store: Store, api: str = "iris") -> Json:
    state = store.dump(api)
    revisions = [row["id"] for row in state["revisions"]]
    files = {each: make_files(api, each, store.files(api, each), 1, OWNER)["data"]["files"] for each in revisions}
    return dict(join(read_record(json.loads(json.dumps(make_record(api, state, OWNER)))), files))


def test_the_next_leader_knows_what_the_former_one_knew(store: Store) -> None:
    fill(store)
    fill(store, "other")
    store.remember("failure:", "of nobody")
    with Store(IN_MEMORY) as next_one:
        next_one.restore(through_the_cluster(store))
        assert all_of(next_one) == all_of(store)
        assert [record.name for record in next_one.apis()] == ["iris"]
        assert next_one.recall("failure:other") is None


def test_what_is_not_known_leaves_nothing(store: Store) -> None:
    store.remember("failure:iris", "of an API that is gone")
    assert store.dump("iris") == {}


def test_another_release_may_have_written_it(store: Store) -> None:
    fill(store)
    kept = through_the_cluster(store)
    (row,) = kept["apis"]
    newer = {**kept, "apis": [{**row, "colour": "blue"}], "moods": [{"api": "iris"}]}
    older = {**kept, "apis": [{name: value for name, value in row.items() if name != "outdated"}]}
    for written in (newer, older):
        with Store(IN_MEMORY) as next_one:
            next_one.restore(written)
            assert all_of(next_one) == all_of(store)


def test_a_revision_whose_files_are_gone_is_not_known_any_more(store: Store) -> None:
    fill(store)
    state, files = read_record(make_record("iris", store.dump("iris"), OWNER)), store.files("iris", "r2")
    assert [row["id"] for row in join(state, {"r2": files})["revisions"]] == ["r2"]
    assert join(state, {"r1": files}) == {}  # the wanted one: deployed anew from its resource


def test_every_published_kubernetes_takes_them(store: Store) -> None:
    from tests.kubernetes.published import validate

    fill(store)
    for owner in (OWNER, None):
        record = make_record("iris", store.dump("iris"), owner)
        files = make_files("iris", "r1", store.files("iris", "r1"), 1, owner)
        for obj in (record, files):
            validate(obj)
            assert owner_of(obj) == ("u-1" if owner else "")


def test_it_stays_small_whatever_happens_to_an_api(store: Store) -> None:
    fill(store)
    noise = random.Random(7)
    for number in range(300):
        text = noise.randbytes(2000).hex()  # does not compress
        store.add_event(Event("iris", float(number), "Noise", text))
        store.add_deed(Deed("iris", float(number), "deployed", "ada", "r2", None, (text,)))
        store.add_decision("iris", float(number), json.dumps(text))
    record = make_record("iris", store.dump("iris"), OWNER)
    assert len(json.dumps(record)) < 2 * MAX_BYTES
    state = read_record(record)
    assert [row["id"] for row in state["revisions"]] == ["r1", "r2"]
    assert state["deeds"][-1]["at"] == 299.0  # the newest stay
    assert len(state["decisions"]) < DECISIONS_KEPT


def test_what_cannot_be_made_smaller_is_refused_with_a_way_out(store: Store) -> None:
    fill(store)
    record = store.api("iris")
    assert record is not None
    config = random.Random(7).randbytes(MAX_BYTES).hex()
    huge = ApiRecord("iris", "RealtimeAPI", {**record.document, "config": config}, "r2", "running", 4, 1.0)
    store.save_api(huge)
    with pytest.raises(StorageError, match="iris does not fit"):
        make_record("iris", store.dump("iris"), OWNER)


@pytest.mark.parametrize("content", ["", "bm8=", "H4sIAAAAAAACA6tWSizIVLKKjtVRUAIALQ=="])
def test_a_record_that_we_did_not_write_is_told_of(content: str) -> None:
    record = {"metadata": {"name": "iris.hatchway"}, "binaryData": {"record.json.gz": content}}
    with pytest.raises(StorageError, match=r"iris\.hatchway is damaged"):
        read_record(record)


def test_the_essence_is_what_must_not_be_forgotten(store: Store) -> None:
    fill(store)
    before = essence(store.dump("iris"))
    store.add_decision("iris", 7.0, "{}")
    store.add_event(Event("iris", 7.0, "Noise", "nothing to act on"))
    store.remember("scaling:iris", json.dumps({"memory": {"replicas": 3, "averages": [2]}, "at": 7.0}))
    assert essence(store.dump("iris")) == before
    store.remember("scaling:iris", json.dumps({"memory": {"replicas": 4, "averages": [2]}, "at": 8.0}))
    assert essence(store.dump("iris")) != before
