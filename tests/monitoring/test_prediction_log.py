from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from hatchway.contract import SampleTerms
from hatchway.monitoring import prediction_log as module
from hatchway.monitoring.frames import Frame
from hatchway.monitoring.prediction_log import ROLL_AFTER_S, ROLL_BYTES, PredictionLogs
from hatchway.monitoring.terms import Watched

NOW_S = 1_700_000_000.0
DAY_S = 86400.0


def an_entry(number: int, **fields: Any) -> dict[str, Any]:
    entry = {"request_id": f"id{number}", "at": NOW_S + number, "latency_s": 0.25, "status": 200}
    return entry | {"input": '{"a":1}', "output": "2", "input_bytes": 7, "output_bytes": 1} | fields


def a_frame(*entries: dict[str, Any], dropped: int = 0) -> Frame:
    return Frame(len(entries), len(entries), {}, entries, dropped)


def logged(folder: Path, retention_s: float = 7 * DAY_S) -> PredictionLogs:
    logs = PredictionLogs(folder)
    logs.watch({"iris": Watched("r1", SampleTerms(log=True), log_retention_s=retention_s)}, NOW_S)
    return logs


def rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "iris").glob("*.parquet"))
    return [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]


def test_a_closed_log_is_a_parquet_file_of_all_its_requests(tmp_path: Path) -> None:
    logs = logged(tmp_path)
    logs.write("iris", "r1", a_frame(an_entry(1), an_entry(2)), NOW_S)
    logs.write("iris", "r2", a_frame(an_entry(3, input=None)), NOW_S)
    logs.roll(NOW_S + 1)
    assert rows(tmp_path) == []
    logs.roll(NOW_S + ROLL_AFTER_S)
    assert [(row["request_id"], row["revision"], row["input"]) for row in rows(tmp_path)] == [
        ("id1", "r1", '{"a":1}'),
        ("id2", "r1", '{"a":1}'),
        ("id3", "r2", None),
    ]
    assert rows(tmp_path)[0]["at"].timestamp() == NOW_S + 1
    (file,) = (tmp_path / "iris").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    found = logs.report("iris")
    assert found is not None
    assert (found.files, found.bytes, found.problem) == (1, file.stat().st_size, "")


def test_what_a_killed_process_left_becomes_a_file_without_the_line_it_did_not_finish(tmp_path: Path) -> None:
    logged(tmp_path).write("iris", "r1", a_frame(an_entry(1)), NOW_S)
    (spool,) = (tmp_path / "iris").glob("*.jsonl")
    with spool.open("ab") as file:
        file.write(b'{"request_id": "id2", "at"')
    (tmp_path / "iris" / "half.new").write_bytes(b"PAR1")
    logged(tmp_path)
    assert [row["request_id"] for row in rows(tmp_path)] == ["id1"]
    assert not list((tmp_path / "iris").glob("*.jsonl"))


def test_a_long_log_is_closed_before_its_time(tmp_path: Path) -> None:
    logs = logged(tmp_path)
    for number in range(3):
        logs.write("iris", "r1", a_frame(an_entry(number, input=json.dumps("x" * (ROLL_BYTES // 2)))), NOW_S + number)
    assert len(rows(tmp_path)) == 2


@pytest.mark.parametrize(("max_bytes", "left"), [(10**9, ["id3"]), (0, [])])
def test_old_files_go_and_the_oldest_of_too_many(tmp_path: Path, max_bytes: int, left: list[str]) -> None:
    logs = PredictionLogs(tmp_path, max_bytes=max_bytes)
    logs.watch({"iris": Watched("r1", SampleTerms(log=True), log_retention_s=2 * DAY_S)}, NOW_S)
    for number, age_days in ((1, 5), (2, 3), (3, 1)):
        before = set((tmp_path / "iris").glob("*"))
        logs.write("iris", "r1", a_frame(an_entry(number)), NOW_S - age_days * DAY_S)
        logs.close()
        (file,) = set((tmp_path / "iris").glob("*")) - before
        os.utime(file, (NOW_S - age_days * DAY_S,) * 2)
    logs.roll(NOW_S)
    assert [row["request_id"] for row in rows(tmp_path)] == left


def test_an_api_without_a_log_has_none_and_a_deleted_one_loses_it(tmp_path: Path) -> None:
    logs = logged(tmp_path)
    logs.write("other", "r1", a_frame(an_entry(1)), NOW_S)
    logs.write("iris", "r1", a_frame(an_entry(1)), NOW_S)
    assert [path.name for path in tmp_path.iterdir()] == ["iris"]
    logs.watch({"iris": Watched("r1", SampleTerms())}, NOW_S)
    assert logs.report("iris") is None
    assert len(rows(tmp_path)) == 1
    logs.watch({}, NOW_S)
    assert list(tmp_path.iterdir()) == []


def test_what_was_dropped_is_told(tmp_path: Path) -> None:
    logs = logged(tmp_path)
    logs.write("iris", "r1", a_frame(an_entry(1), dropped=5), NOW_S)
    found = logs.report("iris")
    assert found is not None
    assert found.dropped == 5


def test_a_disk_that_refuses_is_a_problem_of_the_api(tmp_path: Path) -> None:
    logs = logged(tmp_path)
    (tmp_path / "iris").write_text("no folder")
    logs.write("iris", "r1", a_frame(an_entry(1)), NOW_S)
    assert "cannot be written" in logs.problem("iris")


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path) -> None:
    logs = PredictionLogs(tmp_path, import_pyarrow=lambda: None)
    logs.watch({"iris": Watched("r1", SampleTerms(log=True), log_retention_s=DAY_S)}, NOW_S)
    logs.write("iris", "r1", a_frame(an_entry(1)), NOW_S)
    assert logs.problem("iris") == module.NO_PYARROW
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_when_it_is_looked_at_ends_nothing(tmp_path: Path) -> None:
    logs = logged(tmp_path)
    logs.write("iris", "r1", a_frame(an_entry(1)), NOW_S)
    (tmp_path / "iris" / "moved.parquet").symlink_to(tmp_path / "elsewhere")
    logs.roll(NOW_S + ROLL_AFTER_S)
    assert logs.report("iris") is not None
