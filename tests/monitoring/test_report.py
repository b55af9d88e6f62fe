from __future__ import annotations

from typing import Any

import pytest

from hatchway.contract import SampleTerms
from hatchway.monitoring.panes import Pane
from hatchway.monitoring.report import BINS, Compared, Judgement, Subject, make_report
from hatchway.monitoring.sketches import FieldSketch
from hatchway.monitoring.store import Baseline
from hatchway.monitoring.terms import Watched
from hatchway.spec.monitoring import FieldDrift, FieldReport, ModelReport, MonitoringReport


def a_sketch(*values: Any) -> FieldSketch:
    sketch = FieldSketch()
    sketch.update(list(values))
    return sketch


def report(
    fields: dict[str, FieldSketch], baseline: dict[str, FieldSketch] | None = None, **watched: Any
) -> MonitoringReport:
    known = None if baseline is None else Baseline("data", baseline, 10)
    subject = Subject("iris", "r1", 3600.0, Watched("r1", SampleTerms(), **watched))
    judgement = Judgement(verdict="ok" if known else "no_baseline", source="data" if known else None)
    return make_report(subject, Pane(5, 4, fields), Compared(known), judgement, None)


def field(found: MonitoringReport, name: str) -> FieldReport:
    return next(each for each in found.fields if each.name == name)


def test_numbers_have_quantiles_and_a_histogram_over_both_sides() -> None:
    found = field(report({"input.a": a_sketch(*range(100))}, {"input.a": a_sketch(*range(100, 200))}), "input.a")
    assert (found.kind, found.side, found.min, found.max, found.mean) == ("numeric", "input", 0, 99, 49.5)
    assert dict(found.quantiles)[0.5] in (49, 50)
    assert found.histogram is not None
    assert len(found.histogram.edges) == BINS + 1
    assert sum(found.histogram.counts[: BINS // 2]) == 100
    assert found.histogram.baseline is not None
    assert sum(found.histogram.baseline[BINS // 2 :]) == 100
    assert found.top is None


def test_categories_have_their_counts_beside_those_of_the_baseline() -> None:
    found = field(
        report({"output.label": a_sketch("a", "b", "a")}, {"output.label": a_sketch("b", "c")}), "output.label"
    )
    assert (found.kind, found.side) == ("categorical", "output")
    assert found.top == (('"a"', 2, 0), ('"b"', 1, 1))
    assert found.histogram is None


@pytest.mark.parametrize("values", [(1.5,), (1.5,) * 50, (1e308, -1e308), (1.0, 1.0 + 2**-52), (None, None)])
def test_every_field_can_be_reported(values: tuple[float | None, ...]) -> None:
    found = field(report({"input.a": a_sketch(*values)}, {"input.a": a_sketch(*values)}), "input.a")
    assert found.count == len(values)
    if found.histogram is not None:
        assert sum(found.histogram.counts) == len(values)
    MonitoringReport.model_validate_json(report({"input.a": a_sketch(*values)}).model_dump_json())


@pytest.mark.parametrize(
    ("fields", "watched", "model"),
    [
        (
            {"output.label": a_sketch("a", "b", "a")},
            {},
            ModelReport(type="classification", field="output.label", classes={'"a"': 2, '"b"': 1}),
        ),
        (
            {"output": a_sketch(0.5, 1.5)},
            {},
            ModelReport(type="regression", field="output", min=0.5, max=1.5, mean=1.0),
        ),
        (
            {"output.class": a_sketch(0, 1, 1), "output.label": a_sketch("x")},
            {"key": "class"},
            ModelReport(type="classification", field="output.class", classes={"0": 1, "1": 2}),
        ),
        (
            {"output": a_sketch(1, 2, 3)},
            {"model_type": "regression"},
            ModelReport(type="regression", field="output", min=1, max=3, mean=2),
        ),
        ({"output.other": a_sketch(1)}, {}, None),
        ({"output.label": a_sketch("a")}, {"key": "score"}, None),
        ({"output": a_sketch("a")}, {"model_type": "regression"}, None),
    ],
)
def test_what_the_model_predicted(fields: dict[str, FieldSketch], watched: Any, model: ModelReport | None) -> None:
    assert report(fields, **watched).model == model


def test_inputs_come_before_outputs_and_each_by_its_name() -> None:
    found = report({"output": a_sketch(1), "input.b": a_sketch(1), "input.a": a_sketch(1)})
    assert [each.name for each in found.fields] == ["input.a", "input.b", "output"]
    assert (found.seen, found.sampled, found.verdict, found.baseline.source) == (5, 4, "no_baseline", None)


def test_a_field_that_drifts_is_told_of_also_when_the_window_lacks_it() -> None:
    judgement = Judgement(verdict="drift", fields={"input.gone": FieldDrift(verdict="drift", explanation="missing")})
    subject = Subject("iris", "r1", 3600.0, Watched("r1", SampleTerms()))
    found = make_report(subject, Pane(0, 0, {}), Compared(None), judgement, None)
    assert [(one.name, one.kind, one.count) for one in found.fields] == [("input.gone", "empty", 0)]
