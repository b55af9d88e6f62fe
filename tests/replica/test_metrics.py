from __future__ import annotations

import itertools
import json
import math
import sys
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatchway.contract import CONTROL_METRICS, MetricSeries
from hatchway.replica.metrics import DEFAULT_BOUNDS, MAX_TAG_CHARS, Counter, Gauge, Histogram, Metrics, MetricsClient
from tests.replica.running import a_replica


class Recorder:
    """A client, what it recorded and what it warned of."""

    def __init__(self, max_series: int = 1000) -> None:
        self.metrics = Metrics()
        self.warnings: list[str] = []
        self.client = MetricsClient(self.metrics, self.warnings.append, max_series)

    def values(self) -> dict[tuple[str, str], float]:
        return {(each.name, json.dumps(each.tags)): each.value for each in self.metrics.read()}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_a_counter_adds_up_and_a_gauge_keeps_the_last(recorder: Recorder) -> None:
    recorder.client.increment("hits")
    recorder.client.increment("hits", 2.5)
    recorder.client.gauge("depth", 7)
    recorder.client.gauge("depth", 3)
    assert recorder.values() == {("hits", "{}"): 3.5, ("depth", "{}"): 3}


def test_tags_in_any_order_and_of_any_type_are_one_series(recorder: Recorder) -> None:
    recorder.client.increment("hits", tags={"model": "a", "shard": 1})
    recorder.client.increment("hits", tags={"shard": "1", "model": "a"})
    recorder.client.increment("hits", tags={"model": "b"})
    assert recorder.values() == {("hits", '{"model": "a", "shard": "1"}'): 2, ("hits", '{"model": "b"}'): 1}


def test_a_long_value_of_a_tag_is_cut(recorder: Recorder) -> None:
    recorder.client.increment("hits", tags={"text": "x" * 5000})
    assert [len(each.tags["text"]) for each in recorder.metrics.read()] == [MAX_TAG_CHARS]


@given(st.lists(st.floats(-10, 2e6)))
def test_each_value_is_in_the_bucket_whose_bound_is_the_first_not_below_it(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    edges = [-math.inf, *DEFAULT_BOUNDS, math.inf]
    expected = [sum(low < value <= high for value in values) for low, high in itertools.pairwise(edges)]
    assert histogram.buckets == expected
    assert histogram.count == len(values)
    assert histogram.sum == pytest.approx(math.fsum(values))


def test_histograms_of_replicas_add_up() -> None:
    one, other, both = Histogram((1, 2, 4)), Histogram((1, 2, 4)), Histogram((1, 2, 4))
    for histogram, values in [(one, (0.5, 3)), (other, (2, 2, 9)), (both, (0.5, 3, 2, 2, 9))]:
        for value in values:
            histogram.observe(value)
    assert [a + b for a, b in zip(one.buckets, other.buckets, strict=True)] == both.buckets


@pytest.mark.parametrize("make", [Counter, Histogram])
def test_no_thread_loses_a_value(make: Callable[[], Counter | Histogram]) -> None:
    series = make()
    record = series.add if isinstance(series, Counter) else series.observe

    def record_many() -> None:
        for _ in range(5000):
            record(1.0)

    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # else they hardly ever meet
    try:
        threads = [threading.Thread(target=record_many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(former)
    assert series.read()["value"] == 20_000


def test_too_many_values_of_tags_are_not_recorded_and_warned_of_once() -> None:
    recorder = Recorder(max_series=2)
    for user in range(5):
        recorder.client.increment("hits", tags={"user": user})
    recorder.client.increment("hits", tags={"user": 0})
    assert list(recorder.values().values()) == [2, 1]
    assert len(recorder.warnings) == 1
    assert "hits: a replica keeps 2 combinations" in recorder.warnings[0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_not_recorded_and_warned_of_once(recorder: Recorder, value: float) -> None:
    recorder.client.histogram("score", value)
    recorder.client.histogram("score", value)
    recorder.client.histogram("score", 1)
    assert [each.buckets.count(1) for each in recorder.metrics.read()] == [1]
    assert recorder.warnings == ["score: values that are not finite are not recorded"]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (lambda client: client.increment("my.hits"), "'my_hits' instead of 'my.hits'"),
        (lambda client: client.increment(""), "a metric's name is"),
        (lambda client: client.increment("hatchway_hits"), "Hatchway's own"),
        (lambda client: client.increment("hits", tags={"le": 1}), "'le' cannot be a tag"),
        (lambda client: client.increment("hits", tags={"a-b": 1}), "'a-b' cannot be a tag"),
        (lambda client: client.increment("hits", -1), "a counter only grows"),
        (lambda client: client.gauge("known", 1), "known is a counter, and cannot be a gauge as well"),
        (lambda client: client.gauge("known", 1, tags={"a": 1}), "known is a counter, and cannot be a gauge as well"),
    ],
)
def test_a_mistake_is_told_at_once_and_records_nothing(
    recorder: Recorder, record: Callable[[MetricsClient], None], words: str
) -> None:
    recorder.client.increment("known")
    with pytest.raises(ValueError, match=r".") as caught:
        record(recorder.client)
    assert words in str(caught.value)
    assert recorder.values() == {("known", "{}"): 1}


def test_a_series_of_our_own_is_read_beside_them(recorder: Recorder) -> None:
    sizes = recorder.metrics.add("hatchway_batch_size", Histogram((1, 2)))
    recorder.metrics.add("hatchway_level", Gauge())
    sizes.observe(2)
    assert recorder.metrics.read()[0] == MetricSeries(
        "hatchway_batch_size", "histogram", {}, value=2, bounds=[1, 2], buckets=[0, 1, 0]
    )


HANDLER = """
class Handler:
    def __init__(self, metrics_client):
        self.metrics = metrics_client

    def handle_post(self, payload):
        self.metrics.increment("rows", len(payload), tags={"kind": "iris"})
        self.metrics.histogram("score", 0.3)
        self.metrics.gauge("level", value=4)
        self.metrics.increment("rows", float("nan"))
"""


def test_a_replica_tells_what_its_handler_recorded() -> None:
    with a_replica(HANDLER) as replica:
        replica.post([1, 2, 3])
        replica.post([1])
        rows, score, level = replica.control(CONTROL_METRICS).json()["metrics"]
        assert rows == {
            "name": "rows", "kind": "counter", "tags": {"kind": "iris"}, "value": 4, "bounds": [], "buckets": []
        }  # fmt: skip
        assert (score["kind"], score["value"], sum(score["buckets"])) == ("histogram", 0.6, 2)
        assert (level["kind"], level["value"]) == ("gauge", 4)
        assert replica.messages(level="WARNING") == ["rows: values that are not finite are not recorded"]
