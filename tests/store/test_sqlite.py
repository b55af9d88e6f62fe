"""Real files, real crashes: what was answered as saved is there afterwards."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hatchway.errors import StorageError
from hatchway.spec.revision import Interpreter, ProjectFile, Source
from hatchway.store import sqlite
from hatchway.store.sqlite import ApiRecord, Deed, Event, RevisionRecord, RevisionSummary, Scaled, Store

SOURCE = Source(
    files=(ProjectFile(path="handler.py", mode=0o644, size=3, sha256="ab" * 32),),
    interpreter=Interpreter(
        executable="/usr/bin/python3", version="3.11.7", abi="cpython-311-x86_64", packages=("a==1",)
    ),
    git_commit="1234567",
)


def an_api(name: str = "iris", revision: str = "r1", generation: int = 1) -> ApiRecord:
    document = {"name": name, "handler": {"path": "handler.py", "env": {"KEY": "${SECRET}"}}, "größe": [1, 2.5, None]}
    scaled = Scaled(3, until=2000.5, by="ada@lab")
    return ApiRecord(name, "RealtimeAPI", document, revision, "running", generation, 1000.5, "r0", ("a", "b"), scaled)


def a_revision(id: str = "r1", api: str = "iris", created_at: float = 1.0) -> RevisionRecord:
    return RevisionRecord(id, api, {"name": api}, SOURCE, "digest", created_at)


def a_deed(api: str = "iris", **fields: Any) -> Deed:
    usual: dict[str, Any] = {"at": 1.0, "action": "deployed", "by": "ada@lab", "revision": "r1", "changes": ("x", "y")}
    return Deed(api, **{**usual, **fields})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "engine.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as store:
        yield store


def test_what_was_deployed_is_read_back_by_the_next_engine(path: Path) -> None:
    with Store(path) as store:
        store.save_deploy(an_api(), a_revision())
    with Store(path) as store:
        assert store.apis() == [an_api()]
        assert store.api("iris") == an_api()
        assert store.revision("r1", "iris") == a_revision()


def test_unknown_things_are_none_or_empty(store: Store) -> None:
    assert store.api("x") is None
    assert store.revision("r", "x") is None
    assert store.recall("x") is None
    assert store.revisions("x") == []
    assert store.events("x") == []


def test_apis_come_by_name_and_an_edit_replaces(store: Store) -> None:
    store.save_api(an_api("b"))
    store.save_api(an_api("a"))
    store.save_api(dataclasses.replace(an_api("b"), generation=2, wanted="stopped"))
    assert [(api.name, api.generation, api.wanted) for api in store.apis()] == [
        ("a", 1, "running"),
        ("b", 2, "stopped"),
    ]


def test_revisions_come_newest_first_and_a_repeated_one_moves_up(store: Store) -> None:
    for id, created_at in (("r1", 1.0), ("r2", 2.0), ("r3", 2.0)):
        store.save_deploy(an_api(revision=id), a_revision(id, created_at=created_at))
    assert [r.id for r in store.revisions("iris")] == ["r3", "r2", "r1"]
    store.save_deploy(an_api(revision="r1"), a_revision("r1", created_at=3.0))
    assert [r.id for r in store.revisions("iris")] == ["r1", "r3", "r2"]


def test_revisions_in_short(store: Store) -> None:
    source = SOURCE.model_copy(update={"git_commit": "abc"})
    for number, found in ((1, SOURCE), (2, source)):
        revision = a_revision(f"r{number}", created_at=float(number))
        store.save_deploy(an_api(), dataclasses.replace(revision, source=found))
    assert store.revision_summaries("iris") == [
        RevisionSummary("r2", 2.0, "abc", None),
        RevisionSummary("r1", 1.0, SOURCE.git_commit, None),
    ]
    assert store.revision_summaries("other") == []


def test_a_revision_id_is_unique_within_its_api_only(store: Store) -> None:
    store.save_deploy(an_api("a", "same"), a_revision("same", "a"))
    store.save_deploy(an_api("b", "same"), a_revision("same", "b"))
    store.remove_revisions("a", ["same", "never was"])
    assert store.revision("same", "a") is None
    assert store.revision("same", "b") == a_revision("same", "b")


def test_a_removed_api_leaves_nothing(store: Store) -> None:
    for name in ("a", "b"):
        store.save_deploy(an_api(name), a_revision(api=name))
        store.add_event(Event(name, 1.0, "Deployed", "r1"))
    store.remove_api("a")
    assert [api.name for api in store.apis()] == ["b"]
    assert store.revisions("a") == []
    assert store.events("a") == []
    assert store.events("b") == [Event("b", 1.0, "Deployed", "r1")]


def test_events_are_bounded_per_api(store: Store, path: Path) -> None:
    store.add_event(Event("quiet", 0.0, "Created", ""))
    for number in range(sqlite.EVENTS_KEPT + 20):
        store.add_event(Event("noisy", float(number), "Restarted", "x"))
    kept = store.events("noisy", limit=10_000)
    assert [event.at for event in kept[:2]] == [219.0, 218.0]
    assert len(kept) == sqlite.EVENTS_KEPT
    assert len(store.events("noisy", limit=3)) == 3
    assert len(store.events("quiet")) == 1


def test_small_facts_are_kept_and_replaced(store: Store) -> None:
    store.remember("gateway_port", "8484")
    store.remember("gateway_port", "8485")
    assert store.recall("gateway_port") == "8485"


def test_the_file_is_private_and_durable(store: Store, path: Path) -> None:
    store.save_api(an_api())
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_failed_deploy_saves_neither_half(store: Store) -> None:
    broken = dataclasses.replace(an_api(), generation="not a number")  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        store.save_deploy(broken, a_revision())
    assert store.apis() == []
    assert store.revisions("iris") == []
    store.save_deploy(an_api(), a_revision())  # and the store is usable


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="newer Hatchway") as caught:
        Store(path)
    assert str(path) in caught.value.message
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    "content", [b"this is not a database, but it is long enough to look at" * 20, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_damaged_file_is_named_with_what_to_do(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StorageError, match="damaged") as caught:
        Store(path)
    assert str(path) in caught.value.message
    assert "away" in (caught.value.hint or "")


def test_a_damaged_row_is_a_storage_error(store: Store) -> None:
    store.save_api(an_api())
    store._db.execute("UPDATE apis SET document = '{'")
    with pytest.raises(StorageError, match="damaged"):
        store.apis()


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file") as caught:
        Store(tmp_path / "nowhere" / "engine.db")
    assert "HATCHWAY_HOME" in (caught.value.hint or "")


def test_a_full_disk_is_a_storage_error_and_loses_nothing_saved(store: Store) -> None:
    store.save_api(an_api("small"))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite answers as on a full disk: SQLITE_FULL
    with pytest.raises(StorageError, match="full") as caught:
        store.save_api(dataclasses.replace(an_api("big"), document={"x": "y" * 1_000_000}))
    assert "prune" in (caught.value.hint or "")
    assert [api.name for api in store.apis()] == ["small"]


def test_a_really_full_disk_is_a_storage_error_and_loses_nothing_saved(small_disk: Path) -> None:
    with Store(small_disk / "engine.db") as store:
        store.save_api(an_api("small"))
        with pytest.raises(StorageError, match="cannot write") as caught:
            store.save_api(dataclasses.replace(an_api("big"), document={"x": "y" * 2_000_000}))
        assert "prune" in (caught.value.hint or "")
        assert [api.name for api in store.apis()] == ["small"]


WRITER = """
import sys
from pathlib import Path
from hatchway.spec.revision import Source
from hatchway.store.sqlite import ApiRecord, RevisionRecord, Store
store = Store(Path(sys.argv[1]))
source = Source.model_validate_json(sys.argv[2])
number = 0
while True:
    number += 1
    document = {"padding": "x" * 20000}
    api = ApiRecord("iris", "RealtimeAPI", document, f"r{number}", "running", number, 1.0)
    store.save_deploy(api, RevisionRecord(f"r{number}", "iris", document, source, "", float(number)))
    print(number, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 23])
def test_a_killed_writer_loses_nothing_it_acknowledged(path: Path, acknowledged: int) -> None:
    arguments = [sys.executable, "-c", WRITER, str(path), SOURCE.model_dump_json()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(acknowledged):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
    with Store(path) as store:
        (api,) = store.apis()
        assert api.generation >= acknowledged
        assert [r.id for r in store.revisions("iris")] == [f"r{n}" for n in range(api.generation, 0, -1)]


def test_a_copy_of_the_folder_at_any_moment_opens(store: Store, path: Path, tmp_path: Path) -> None:
    store.save_deploy(an_api(), a_revision())
    shutil.copytree(path.parent, tmp_path / "copy")  # with its -wal file, as after a power cut
    with Store(tmp_path / "copy" / "engine.db") as copy:
        assert copy.apis() == [an_api()]


def test_what_was_done_is_kept_newest_first_and_bounded(store: Store) -> None:
    for number in range(sqlite.DEEDS_KEPT + 5):
        store.add_deed(a_deed(at=float(number)))
    store.add_deed(a_deed("other"))
    kept = store.deeds("iris")
    assert len(kept) == sqlite.DEEDS_KEPT
    assert kept[0] == a_deed(at=204.0)
    assert kept[1] == a_deed(at=203.0, outcome="replaced", settled_at=204.0)
    store.remove_api("iris")
    assert store.deeds("iris") == []
    assert store.deeds("other") == [a_deed("other")]


def test_only_what_is_pending_is_settled(store: Store) -> None:
    store.add_deed(a_deed(at=1.0))
    store.settle_deed("iris", "live", 4.0)
    store.settle_deed("iris", "failed", 9.0, reason="ImportError", message="too late")
    store.add_deed(a_deed(at=10.0))
    store.add_deed(a_deed(at=11.0, action="scaled", outcome="done"))  # takes nobody's place
    store.settle_deed("iris", "failed", 12.0, reason="ImportError", message="no torch")
    assert store.deeds("iris") == [
        a_deed(at=11.0, action="scaled", outcome="done"),
        a_deed(at=10.0, outcome="failed", settled_at=12.0, reason="ImportError", message="no torch"),
        a_deed(at=1.0, outcome="live", settled_at=4.0),
    ]


def test_a_revision_remembers_when_it_was_last_live(store: Store) -> None:
    store.save_deploy(an_api(), a_revision())
    assert store.revisions("iris")[0].live_at is None
    live = dataclasses.replace(an_api(), live_revision="r1")
    store.save_live(live, 7.0)
    assert store.api("iris") == live
    assert store.revisions("iris")[0].live_at == 7.0


def test_in_which_order_revisions_were_live_does_not_go_by_the_clock(store: Store) -> None:
    for id in ("r1", "r2"):
        store.save_deploy(an_api(), dataclasses.replace(a_revision(), id=id))
    for id, at in (("r1", 7.0), ("r2", 5.0)):
        store.save_live(dataclasses.replace(an_api(), live_revision=id), at)
    assert {one.id: one.lived for one in store.revisions("iris")} == {"r1": 1, "r2": 2}
    store.save_live(dataclasses.replace(an_api(), live_revision="r1"), 6.0)
    assert {one.id: one.lived for one in store.revisions("iris")} == {"r1": 3, "r2": 2}


def test_the_order_of_former_releases_is_that_of_their_clock(path: Path) -> None:
    with sqlite3.connect(path, isolation_level=None) as db:
        for statements in sqlite.MIGRATIONS[:3]:
            for statement in statements:
                db.execute(statement)
        for id, live_at in (("r1", 9.0), ("r2", None), ("r3", 4.0)):
            values = (id, SOURCE.model_dump_json(), live_at)
            db.execute("INSERT INTO revisions VALUES ('iris', ?, '{}', ?, '', 1.0, ?)", values)
        db.execute("PRAGMA user_version = 3")
    db.close()
    with Store(path) as store:
        assert {one.id: one.lived for one in store.revisions("iris")} == {"r1": 2, "r2": 0, "r3": 1}


def test_a_home_of_the_first_release_is_brought_up_to_date(path: Path) -> None:
    with sqlite3.connect(path, isolation_level=None) as db:
        for statement in sqlite.MIGRATIONS[0]:
            db.execute(statement)
        db.execute("INSERT INTO apis VALUES ('iris', 'RealtimeAPI', '{}', 'r2', 'running', 3, 5.0, 'r1')")
        for number, id in enumerate(("r1", "r2"), 1):
            db.execute(
                "INSERT INTO revisions VALUES ('iris', ?, '{}', ?, '', ?)", (id, SOURCE.model_dump_json(), number)
            )
        db.execute("PRAGMA user_version = 1")
    db.close()
    with Store(path) as store:
        assert store.apis() == [ApiRecord("iris", "RealtimeAPI", {}, "r2", "running", 3, 5.0, "r1")]
        assert [(one.id, one.live_at) for one in store.revisions("iris")] == [("r2", None), ("r1", 1.0)]
        assert store.deeds("iris") == []
