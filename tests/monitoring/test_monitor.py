"""The monitor over hours, told as frames; time is passed in."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hatchway.contract import SampleTerms
from hatchway.monitoring import training_data
from hatchway.monitoring.frames import Frame, Table
from hatchway.monitoring.monitor import Monitor
from hatchway.monitoring.persistence import CONFIRMING_WINDOWS
from hatchway.monitoring.prediction_log import PredictionLogs
from hatchway.monitoring.store import HOUR_S, PaneStore
from hatchway.monitoring.terms import Watched
from hatchway.spec.monitoring import MonitoringReport
from tests.monitoring.test_store import HOUR

PER_HOUR = 600


class Bench:
    """A monitor, and traffic to it: `age` and `city` in, `label` out."""

    def __init__(self, folder: Path) -> None:
        self.store = PaneStore(folder / "m.db")
        self.monitor = Monitor(self.store, PredictionLogs(folder / "predictions"))
        self.now_s = float(HOUR)
        self.random = random.Random(7)
        self.folder = folder

    def watch(self, revision: str = "r1", **fields: Any) -> None:
        self.monitor.watch({"iris": Watched(revision, **{"terms": SampleTerms(), **fields})}, self.now_s)

    def hour(self, age: float = 40.0, revision: str = "r1") -> None:
        """An hour of requests in two frames, judged when it is over."""
        for minute in (10, 50):
            n = PER_HOUR // 2
            columns: dict[str, list[Any]] = {}
            columns |= {"age": [self.random.gauss(age, 10) for _ in range(n)], "city": self.random.choices("abc", k=n)}
            tables = {"input": Table(n, columns), "output": Table(n, {"label": self.random.choices("xy", k=n)})}
            self.monitor.take("iris", revision, Frame(n, n, tables), self.now_s + minute * 60)
        self.now_s += HOUR_S
        self.monitor.roll_up(self.now_s)
        while self.monitor.judge(self.now_s):
            pass

    def report(self, window_s: float = HOUR_S) -> MonitoringReport:
        found = self.monitor.report("iris", window_s, self.now_s)
        assert found is not None
        return found

    def restart(self) -> None:
        """Another process on the same files."""
        self.store.__exit__()
        watched = self.monitor._apis
        self.store = PaneStore(self.folder / "m.db")
        self.monitor = Monitor(self.store, PredictionLogs(self.folder / "predictions"))
        self.monitor.watch(watched, self.now_s)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.__exit__()


def write_training_data(path: Path) -> None:
    chance = random.Random(1)
    rows = [f"{chance.gauss(40, 10)},{chance.choice('abc')}" for _ in range(2000)]
    path.write_text("age,city\n" + "\n".join(rows))


def read_training_data(bench: Bench) -> None:
    for api, watched, path in bench.monitor.unread():
        bench.monitor.take_data(api, watched, training_data.read(path))


def test_a_shift_against_training_data_is_drift_once_it_lasts(bench: Bench, tmp_path: Path) -> None:
    write_training_data(tmp_path / "train.csv")
    bench.watch(baseline=str(tmp_path / "train.csv"))
    assert bench.monitor.verdicts()["iris"].verdict == "no_baseline"
    read_training_data(bench)
    assert bench.monitor.unread() == []
    bench.hour()
    assert (bench.report().verdict, bench.report().baseline.source) == ("ok", "data")
    for _ in range(CONFIRMING_WINDOWS):
        assert bench.report().verdict == "ok"
        bench.hour(age=70)
    found = bench.monitor.verdicts()["iris"]
    assert found.verdict == "drift"
    assert [field.field for field in found.fields if field.verdict == "drift"] == ["input.age"]
    report = bench.report()
    age = next(field for field in report.fields if field.name == "input.age")
    assert age.drift is not None
    assert age.drift.verdict == "drift"
    assert age.histogram is not None
    assert age.histogram.baseline is not None
    assert (sum(age.histogram.counts), sum(age.histogram.baseline)) == (PER_HOUR, 2000)
    bench.restart()
    assert bench.monitor.verdicts()["iris"] == found
    assert (bench.report().verdict, bench.report().sampled) == ("drift", PER_HOUR)


def test_the_first_day_of_a_revision_is_its_baseline(bench: Bench) -> None:
    bench.watch()
    for _ in range(23):
        bench.hour()
        assert bench.monitor.verdicts()["iris"].verdict == "no_baseline"
    bench.hour()
    assert (bench.report().verdict, bench.report().baseline.source) == ("ok", "first_period")


def test_each_hour_is_judged_once_also_over_a_restart(bench: Bench) -> None:
    bench.watch()
    bench.hour()
    bench.restart()
    assert not bench.monitor.judge(bench.now_s)


def test_a_file_that_is_no_training_data_is_a_problem_of_the_api_and_read_again_when_it_changed(
    bench: Bench, tmp_path: Path
) -> None:
    file = tmp_path / "train.csv"
    file.write_text("")
    bench.watch(baseline=str(file))
    ((api, watched, path),) = bench.monitor.unread()
    bench.monitor.take_data(api, watched, None, f"{path.name}: empty")
    assert bench.monitor.verdicts()["iris"].problems == ("iris: the baseline cannot be used: train.csv: empty",)
    assert bench.monitor.unread() == []
    write_training_data(file)
    read_training_data(bench)
    assert bench.monitor.verdicts()["iris"].problems == ()


def test_what_was_not_saved_yet_is_in_the_report_and_what_was_saved_is_there_after_a_kill(bench: Bench) -> None:
    bench.watch()
    bench.monitor.take("iris", "r1", Frame(2, 2, {"input": Table(2, {"a": [1, 2]})}), bench.now_s)
    assert bench.report().seen == 2
    bench.restart()
    bench.monitor.take("iris", "r1", Frame(1, 1, {"input": Table(1, {"a": [3]})}), bench.now_s)
    (field,) = bench.report().fields
    assert (bench.report().seen, field.count, field.mean) == (3, 3, 2)


def test_another_revision_is_a_report_of_its_own(bench: Bench) -> None:
    bench.watch()
    bench.hour()
    bench.watch("r2")
    bench.hour(revision="r2")
    assert (bench.report(2 * HOUR_S).revision, bench.report(2 * HOUR_S).seen) == ("r2", PER_HOUR)


def test_a_deleted_api_is_forgotten_and_its_replicas_are_not_heard_any_more(bench: Bench) -> None:
    bench.watch()
    bench.hour()
    bench.monitor.watch({}, bench.now_s)
    bench.monitor.take("iris", "r1", Frame(1, 1, {}), bench.now_s)
    assert bench.monitor.report("iris", HOUR_S, bench.now_s) is None
    assert bench.store.apis() == set()


def test_an_api_that_is_not_monitored_says_so(bench: Bench) -> None:
    bench.watch(terms=SampleTerms(enabled=False))
    assert bench.report().verdict == "disabled"
