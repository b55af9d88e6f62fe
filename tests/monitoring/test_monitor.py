"""The monitor over hours, told as frames; time is passed in."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hatchway.contract import SampleTerms
from hatchway.monitoring import training_data
from hatchway.monitoring.accepting import NothingToAccept, NothingToUndo, Word
from hatchway.monitoring.frames import Frame, Table
from hatchway.monitoring.monitor import Monitor
from hatchway.monitoring.persistence import CONFIRMING_WINDOWS
from hatchway.monitoring.prediction_log import PredictionLogs
from hatchway.monitoring.report import to_iso
from hatchway.monitoring.store import HOUR_S, PaneStore
from hatchway.monitoring.terms import DriftTerms, Watched
from hatchway.spec.monitoring import FieldDrift, MonitoringReport
from tests.monitoring.test_store import HOUR

PER_HOUR = 600
BEGAN = to_iso(HOUR)


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
        self.judge()

    def judge(self) -> int:
        """Everything that is due; how many windows that were."""
        n = 0
        while (due := self.monitor.due()) is not None:
            self.monitor.keep(due, self.monitor.look(due, self.store))
            n += 1
        return n

    def report(self, window_s: float = HOUR_S) -> MonitoringReport:
        found = self.monitor.report("iris", window_s, self.now_s)
        assert found is not None
        return found

    def drift(self, name: str) -> FieldDrift:
        found = next(field.drift for field in self.report().fields if field.name == name)
        assert found is not None
        return found

    def word(self, by: str = "ada@lab") -> Word:
        return Word(by, self.now_s)

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
    bench.monitor.roll_up(bench.now_s)
    assert bench.monitor.due() is None


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


def test_training_data_of_which_no_request_has_a_column_is_a_problem(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text("Age,City\n1,a\n")
    bench.watch(baseline=str(file))
    read_training_data(bench)
    assert bench.monitor.verdicts()["iris"].problems == ()
    bench.hour()
    (problem,) = bench.monitor.verdicts()["iris"].problems
    assert problem == (
        "iris: no column of train.csv is a field that requests or answers have: it is read as input.Age, input.City; "
        "they have input.age, input.city, output.label"
    )


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


def drifting(bench: Bench, tmp_path: Path) -> None:
    """Three hours in a row that differ from training data."""
    write_training_data(tmp_path / "train.csv")
    bench.watch(baseline=str(tmp_path / "train.csv"))
    read_training_data(bench)
    for _ in range(CONFIRMING_WINDOWS):
        bench.hour(age=70)
    assert bench.report().verdict == "drift"


def test_an_accepted_change_clears_the_verdict_and_is_the_baseline_of_its_fields(bench: Bench, tmp_path: Path) -> None:
    drifting(bench, tmp_path)
    assert bench.drift("input.age").since == BEGAN
    found = bench.monitor.accept("iris", None, bench.word())
    assert (found.fields, found.by, found.since) == (("input.age",), "ada@lab", BEGAN)
    for _ in range(2):
        told = bench.monitor.verdicts()["iris"]
        assert (told.verdict, {field.field: field.verdict for field in told.fields}) == (
            "ok",
            {"input.age": "no_baseline", "input.city": "ok", "output.label": "no_baseline"},
        )
        report = bench.report()
        assert (report.baseline.source, report.baseline.accepted) == ("data", (found,))
        age = next(field for field in report.fields if field.name == "input.age")
        assert age.histogram is not None
        assert age.histogram.baseline is not None
        assert sum(age.histogram.baseline) == CONFIRMING_WINDOWS * PER_HOUR, "the hours since it began"
        bench.restart()
    for _ in range(24):
        bench.hour(age=70)
        assert bench.report().verdict == "ok"
    assert bench.drift("input.age").verdict == "ok"


def test_what_was_accepted_can_be_taken_back_and_is_drift_again_at_once(bench: Bench, tmp_path: Path) -> None:
    drifting(bench, tmp_path)
    bench.monitor.accept("iris", ["input.age"], bench.word())
    bench.hour(age=70)
    assert bench.report().verdict == "ok"
    found = bench.monitor.undo("iris", bench.word("bob@lab"))
    assert found.undone_by == "bob@lab"
    assert bench.judge() == 4
    assert bench.report().verdict == "drift"
    assert bench.report().baseline.accepted == (found,)
    with pytest.raises(NothingToUndo):
        bench.monitor.undo("iris", bench.word())


def test_an_accepted_change_holds_for_the_next_revision_unless_it_has_other_training_data(
    bench: Bench, tmp_path: Path
) -> None:
    drifting(bench, tmp_path)
    accepted = bench.monitor.accept("iris", None, bench.word())
    bench.watch("r2", baseline=str(tmp_path / "train.csv"))
    read_training_data(bench)
    for _ in range(26):
        bench.hour(age=70, revision="r2")
        assert bench.report().verdict == "ok"
    (found,) = bench.report().baseline.accepted
    assert (found.at, found.by, found.fields) == (accepted.at, accepted.by, accepted.fields)
    assert bench.drift("input.age").verdict == "ok"
    with (tmp_path / "train.csv").open("a") as file:
        file.write("\n41,a")
    bench.watch("r3", baseline=str(tmp_path / "train.csv"))
    read_training_data(bench)
    for _ in range(CONFIRMING_WINDOWS):
        bench.hour(age=70, revision="r3")
    assert (bench.report().verdict, bench.report().baseline.accepted) == ("drift", ())


def test_nothing_is_judged_before_training_data_is_read(bench: Bench, tmp_path: Path) -> None:
    write_training_data(tmp_path / "train.csv")
    bench.watch(baseline=str(tmp_path / "train.csv"))
    bench.hour()
    assert bench.monitor.verdicts()["iris"].fields == ()
    read_training_data(bench)
    assert bench.judge() == 1


def test_only_what_drifts_can_be_accepted(bench: Bench, tmp_path: Path) -> None:
    bench.watch()
    with pytest.raises(NothingToAccept, match="drifting: none"):
        bench.monitor.accept("iris", None, bench.word())
    drifting(bench, tmp_path)
    with pytest.raises(NothingToAccept, match=r"input\.city; drifting: input\.age"):
        bench.monitor.accept("iris", ["input.age", "input.city"], bench.word())
    assert bench.report().verdict == "drift"
    bench.watch(baseline=str(tmp_path / "train.csv"), terms=SampleTerms(enabled=False))
    with pytest.raises(NothingToAccept):
        bench.monitor.accept("iris", None, bench.word())
    assert bench.report().verdict == "disabled"


def test_other_rules_judge_the_last_hours_again(bench: Bench, tmp_path: Path) -> None:
    drifting(bench, tmp_path)
    baseline = str(tmp_path / "train.csv")
    bench.watch(baseline=baseline, drift=DriftTerms(min_effect=0.99))
    assert bench.report().verdict == "drift", "until it is known better"
    assert bench.judge() == CONFIRMING_WINDOWS
    assert bench.report().verdict == "ok"
    bench.watch(baseline=baseline)
    assert bench.judge() == CONFIRMING_WINDOWS
    assert bench.report().verdict == "drift"


def test_windows_of_some_hours_are_judged_when_all_of_their_hours_are_over(bench: Bench, tmp_path: Path) -> None:
    write_training_data(tmp_path / "train.csv")
    bench.watch(baseline=str(tmp_path / "train.csv"), drift=DriftTerms(window_s=4 * HOUR_S))
    read_training_data(bench)
    bench.now_s += -bench.now_s % (4 * HOUR_S)
    for _ in range(3):
        for _ in range(3):
            bench.hour()
            assert bench.monitor.verdicts()["iris"].fields == () or bench.drift("input.age").n_current == 4 * PER_HOUR
        bench.hour()
        assert bench.drift("input.age").n_current == 4 * PER_HOUR


def test_the_score_is_above_one_exactly_while_a_field_drifts(bench: Bench, tmp_path: Path) -> None:
    write_training_data(tmp_path / "train.csv")
    bench.watch(baseline=str(tmp_path / "train.csv"))
    read_training_data(bench)
    scores = []
    for age in (40, 70, 70, 70, 40):
        bench.hour(age=age)
        found = {field.field: field.score or 0 for field in bench.monitor.verdicts()["iris"].fields}
        scores.append(found["input.age"] > 1)
        assert found["input.city"] < 1
    assert scores == [False, False, False, True, True]


def test_what_was_found_by_what_does_not_hold_any_more_is_not_kept(bench: Bench, tmp_path: Path) -> None:
    drifting(bench, tmp_path)
    bench.now_s += HOUR_S
    bench.monitor.take("iris", "r1", Frame(1, 1, {"input": Table(1, {"age": [1]})}), bench.now_s - 1)
    bench.monitor.roll_up(bench.now_s)
    due = bench.monitor.due()
    assert due is not None
    found = bench.monitor.look(due, bench.store)
    bench.monitor.accept("iris", None, bench.word())
    bench.monitor.keep(due, found)
    assert bench.report().verdict == "ok"
    assert bench.judge() == 1
