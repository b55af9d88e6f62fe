from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatchway.monitoring.frames import Frame, Table
from hatchway.monitoring.panes import Key, Known, Pane
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.store import (
    HOUR_S,
    HOURS_KEPT_S,
    MINUTE_S,
    MINUTES_KEPT_S,
    Acceptance,
    Baseline,
    Judged,
    PaneStore,
)

HOUR = 1_800_000 * HOUR_S // HOUR_S * HOUR_S  # the start of an hour, seconds since the epoch
DAY_S = 24 * HOUR_S


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PaneStore]:
    with PaneStore(tmp_path / "m.db") as opened:
        yield opened


def a_pane(*values: float) -> Pane:
    sketch = FieldSketch()
    sketch.update(list(values))
    return Pane(seen=len(values), sampled=len(values), fields={"input.a": sketch})


def save(store: PaneStore, start_s: int, *values: float, api: str = "iris", revision: str = "r1") -> None:
    key = Key(api, revision, MINUTE_S, start_s)
    store.save({key: a_pane(*values)}, {(api, revision): Known.of_places({"input": ["a"]})})


def mean(pane: Pane) -> float:
    numbers = pane.fields["input.a"].numeric
    assert numbers is not None
    return numbers.mean


def test_a_pane_comes_back_as_it_was_saved_last(store: PaneStore) -> None:
    save(store, HOUR, 1, 2)
    save(store, HOUR, 1, 2, 3)
    found = store.load(Key("iris", "r1", MINUTE_S, HOUR))
    assert found is not None
    assert (found.seen, found.fields["input.a"].count, mean(found)) == (3, 3, 2)
    assert store.load(Key("iris", "r2", MINUTE_S, HOUR)) is None
    assert store.known("iris", "r1").of("input") == {"a": "input.a"}


def test_some_time_is_its_panes_merged(store: PaneStore) -> None:
    for minute in range(5):
        save(store, HOUR + minute * MINUTE_S, minute)
    save(store, HOUR, 100, revision="r2")
    assert mean(store.merged("iris", "r1", HOUR + MINUTE_S, HOUR + 4 * MINUTE_S)) == 2


def test_minutes_become_hours_and_no_request_counts_twice(store: PaneStore) -> None:
    save(store, HOUR, 1)
    save(store, HOUR + 59 * MINUTE_S, 3)
    save(store, HOUR + HOUR_S, 8)
    store.roll_up(HOUR + HOUR_S + MINUTE_S)
    assert store.hours("iris", "r1") == [HOUR]
    assert store.merged("iris", "r1", HOUR, HOUR + 2 * HOUR_S).seen == 3
    assert mean(store.merged("iris", "r1", HOUR, HOUR + 2 * HOUR_S)) == 4
    store.roll_up(HOUR + HOUR_S + MINUTES_KEPT_S)
    assert store.load(Key("iris", "r1", MINUTE_S, HOUR)) is None
    assert mean(store.merged("iris", "r1", HOUR, HOUR + HOUR_S)) == 2


def test_hours_go_when_they_are_old_but_for_the_first_days_of_what_is_watched(store: PaneStore) -> None:
    for revision in ("r1", "r2"):
        for day in range(10):
            save(store, HOUR + day * DAY_S, day, revision=revision)
    store.roll_up(HOUR + 10 * DAY_S)
    store.roll_up(HOUR + 10 * DAY_S + HOURS_KEPT_S, watched={("iris", "r2")})
    assert store.hours("iris", "r1") == []
    assert store.hours("iris", "r2") == [HOUR + day * DAY_S for day in range(8)]


def test_where_there_is_too_much_baselines_lose_their_end_and_the_last_day_stays(tmp_path: Path) -> None:
    values = [i / 7 for i in range(300)]
    with PaneStore(tmp_path / "m.db") as store:
        empty = store.used_bytes()
        for revision, first_day in (("old", 0), ("r1", 10)):
            for day in range(first_day, first_day + 6):
                save(store, HOUR + day * DAY_S, *values, revision=revision)
                store.roll_up(HOUR + (day + 1) * DAY_S, {("iris", "r1")})
        used = store.used_bytes()
    with PaneStore(tmp_path / "m.db", max_bytes=empty + (used - empty) * 9 // 24) as store:
        store.roll_up(HOUR + 15 * DAY_S + HOUR_S, {("iris", "r1")})
        assert store.hours("iris", "old") == []
        kept = store.hours("iris", "r1")
        assert kept[0] == HOUR + 10 * DAY_S
        assert kept[-1] == HOUR + 15 * DAY_S
        assert HOUR + 14 * DAY_S not in kept


def test_the_week_after_an_accepted_change_stays(store: PaneStore) -> None:
    for day in range(40):
        save(store, HOUR + day * DAY_S, day)
    judged = Judged(HOUR, "{}", "{}")
    since_s = {"input.a": float(HOUR + 20 * DAY_S)}
    store.accept("iris", "r1", Acceptance(float(HOUR + 21 * DAY_S), "ada@lab", since_s), judged)
    for later_s in (40 * DAY_S, 40 * DAY_S + HOURS_KEPT_S):
        store.roll_up(HOUR + later_s, watched={("iris", "r1")})
    assert store.hours("iris", "r1") == [HOUR + day * DAY_S for day in (*range(8), *range(20, 28))]


def test_nothing_is_left_of_a_revision_whose_hours_are_gone(store: PaneStore) -> None:
    for revision in ("r1", "r2"):
        save(store, HOUR, 1, revision=revision)
        store.save_baseline("iris", revision, Baseline("data", a_pane(1).fields, 1))
        store.accept("iris", revision, Acceptance(0.0, "ada@lab", {"a": 0.0}), Judged(HOUR, "{}", "{}"))
    store.save_baseline("iris", "r3", Baseline("data", a_pane(1).fields, 1))
    for later_s in (HOUR_S, DAY_S + HOURS_KEPT_S):
        store.roll_up(HOUR + later_s, {("iris", "r2"), ("iris", "r3")})
    found = {revision: store.baseline_fields("iris", revision, "data") for revision in ("r1", "r2", "r3")}
    assert found == {"r1": set(), "r2": {"input.a"}, "r3": {"input.a"}}
    assert (store.judged("iris", "r1"), store.accepted("iris", "r1")) == (None, [])
    assert store.judged("iris", "r2") is not None


def test_in_hours_ids_are_kept_in_short(store: PaneStore) -> None:
    pane, known = Pane(), Known()
    ids = [f"user {number:05}" for number in range(500)]
    pane.add(Frame(500, 500, {"input": Table(500, {"id": ids})}), known)
    pane.settle()
    store.save({Key("iris", "r1", MINUTE_S, HOUR): pane}, {("iris", "r1"): known})
    store.roll_up(HOUR + HOUR_S)
    for width, has_ids in ((MINUTE_S, True), (HOUR_S, False)):
        (data,) = store._db.execute(
            "SELECT sketch FROM sketches JOIN panes ON panes.id = pane WHERE width_s = ?", (width,)
        ).fetchone()
        assert (b"user 0" in data) == has_ids


def test_a_deleted_api_leaves_nothing(store: PaneStore) -> None:
    save(store, HOUR, 1)
    save(store, HOUR, 1, api="other")
    store.save_baseline("iris", "r1", Baseline("data", a_pane(1).fields, 1))
    store.save_judged("iris", "r1", Judged(HOUR, "{}", "{}"))
    store.forget("iris")
    assert store.apis() == {"other"}
    assert store.baseline("iris", "r1", "data") is None
    assert store.judged("iris", "r1") is None
    assert store.known("iris", "r1").places() == {}


def test_revisions_are_told_the_newest_first(store: PaneStore) -> None:
    save(store, HOUR, 1, revision="old")
    save(store, HOUR + HOUR_S, 1, revision="new")
    assert store.revisions("iris") == ["new", "old"]


def test_what_was_saved_survives_a_kill(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from hatchway.monitoring.store import PaneStore
from tests.monitoring.test_store import HOUR, MINUTE_S, save
store = PaneStore(Path(sys.argv[1]))
for minute in range(20):
    save(store, HOUR + minute * MINUTE_S, minute)
os.kill(os.getpid(), signal.SIGKILL)
"""
    file = tmp_path / "m.db"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run([sys.executable, "-c", script, str(file)], env=environ, check=False)
    assert ended.returncode == -9
    with PaneStore(file) as store:
        assert store.merged("iris", "r1", HOUR, HOUR + HOUR_S).seen == 20


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_damaged_file_is_moved_aside(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "m.db"
    file.write_bytes(content)
    with PaneStore(file) as store:
        save(store, HOUR, 1)
        assert store.apis() == {"iris"}
    assert (tmp_path / "m.db.damaged").exists() == bool(content)


def test_a_file_of_the_release_before_is_taken_over(tmp_path: Path) -> None:
    with PaneStore(tmp_path / "m.db") as store:
        save(store, HOUR, 1)
        store._db.execute("DROP TABLE accepted")
    with PaneStore(tmp_path / "m.db") as store:
        assert store.accepted("iris", "r1") == []
        assert store.apis() == {"iris"}


def test_a_damaged_sketch_costs_one_field(store: PaneStore) -> None:
    save(store, HOUR, 1)
    store._db.execute("UPDATE sketches SET sketch = x'00'")
    found = store.load(Key("iris", "r1", MINUTE_S, HOUR))
    assert found is not None
    assert (found.seen, found.fields) == (1, {})
