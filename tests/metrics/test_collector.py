"""What a scrape says: of whom, under which labels, and what when somebody does not answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hatchway.backends import GpuUse, Measures, Replica
from hatchway.contract import MetricSeries
from hatchway.errors import GatewayError
from hatchway.gateway.served import BOUNDS_S, Served, Tally
from hatchway.gateway.stats import Load, Requests
from hatchway.metrics.catalogue import METRICS
from hatchway.metrics.collector import Collector, Sources
from hatchway.metrics.counts import Counts
from hatchway.spec.status import ReplicaState, ReplicaStatus
from tests.control_api.memory_plane import an_api

SAMPLE = re.compile(r"^(\w+)({[^ ]*})? (\S+)$", re.M)
R1 = Replica("iris-1", "iris", "r1", "ready", "/run/1", restarts=2, rss_bytes=1000, queued=4, refused=9)
LABELS = '{api="iris",revision="r1",replica="iris-1"'
BUCKETS = tuple(2 if bound >= 0.05 else 0 for bound in (*BOUNDS_S, 1e9))


class Disk:
    def remember_all(self, facts: Mapping[str, str]) -> None: ...

    def recall(self, key: str) -> str | None:
        return None


class Envoy:
    def __init__(self, **by_api: Tally) -> None:
        self.by_api, self.answers = by_api, True

    async def served(self) -> Served:
        if not self.answers:
            raise GatewayError("Envoy does not answer")
        return Served("1", self.by_api)


def collector(envoy: Envoy | None = None, measures: Mapping[str, Measures] | None = None, **changes: Any) -> Collector:
    async def measure() -> Mapping[str, Measures]:
        return measures or {}

    sources: dict[str, Any] = {
        "counts": Counts((envoy or Envoy()).served, Disk()),
        "load": lambda: None,
        "waiting": dict,
        "wanted": dict,
        "apis": list,
        "status": an_api,
        "observe": list,
        "measure": measure,
        "wall_clock": lambda: 5000.0,
        **changes,
    }
    return Collector(Sources(**sources))


async def scrape(made: Collector) -> dict[str, str]:
    return {name + labels: value for name, labels, value in SAMPLE.findall(await made.text())}


async def test_requests_are_told_by_api_revision_and_code() -> None:
    envoy = Envoy(iris=Tally({("r1", 200): 2, ("", 503): 1}, 1, 3, 150_000, BUCKETS))
    found = await scrape(collector(envoy))
    assert found['hatchway_requests_total{api="iris",revision="r1",code="200"}'] == "2"
    assert found['hatchway_requests_total{api="iris",revision="",code="503"}'] == "1"
    assert found['hatchway_request_duration_seconds_bucket{api="iris",le="0.02"}'] == "0"
    assert found['hatchway_request_duration_seconds_bucket{api="iris",le="0.05"}'] == "2"
    assert found['hatchway_request_duration_seconds_bucket{api="iris",le="+Inf"}'] == "2"
    assert found['hatchway_request_duration_seconds_sum{api="iris"}'] == "0.15"
    assert found['hatchway_cold_starts_total{api="iris"}'] == "1"
    assert found['hatchway_retries_total{api="iris"}'] == "3"
    assert found["hatchway_gateway_up"] == "1"


async def test_without_envoy_the_counts_are_those_of_its_last_answer() -> None:
    envoy = Envoy(iris=Tally({("r1", 200): 2}))
    made = collector(envoy)
    before = await scrape(made)
    envoy.answers = False
    after = await scrape(made)
    assert after["hatchway_gateway_up"] == "0"
    counted = 'hatchway_requests_total{api="iris",revision="r1",code="200"}'
    assert after[counted] == before[counted] == "2"


async def test_requests_under_way_are_told_by_where_they_wait() -> None:
    found = await scrape(
        collector(load=lambda: Load({"iris": Requests(9, 100)}), waiting=lambda: {"iris": 3}, observe=lambda: [R1])
    )
    assert found['hatchway_in_flight{api="iris"}'] == "9"
    assert found['hatchway_queued{api="iris"}'] == "4"
    assert found['hatchway_held{api="iris"}'] == "3"


async def test_an_api_is_told_by_its_status_revision_and_replicas() -> None:
    states: tuple[ReplicaState, ...] = ("ready", "ready", "failed")
    replicas = tuple(
        ReplicaStatus(id=str(n), pid=n, revision="r1", state=state, started_at=None, restarts=0, rss_bytes=None)
        for n, state in enumerate(states)
    )
    found = await scrape(
        collector(
            apis=lambda: ["iris"], status=lambda name: an_api(name, replica_list=replicas), wanted=lambda: {"iris": 4}
        )
    )
    assert found['hatchway_api_status{api="iris",status="live"}'] == "1"
    assert found['hatchway_api_revision{api="iris",revision="r1"}'] == "1"
    assert found['hatchway_replicas{api="iris",state="ready"}'] == "2"
    assert found['hatchway_replicas{api="iris",state="starting"}'] == "0"
    assert found['hatchway_replicas_desired{api="iris"}'] == "4"


async def test_a_replica_is_told_by_what_it_uses() -> None:
    use = Measures(1.5, 800, (GpuUse("GPU-1", 4096, 0.25),))
    found = await scrape(collector(measures={"iris-1": use}, observe=lambda: [R1]))
    assert found[f"hatchway_replica_cpu_seconds_total{LABELS}}}"] == "1.5"
    assert found[f"hatchway_replica_memory_bytes{LABELS}}}"] == "800"
    assert found[f"hatchway_replica_resident_memory_bytes{LABELS}}}"] == "1000"
    assert found[f"hatchway_replica_restarts_total{LABELS}}}"] == "2"
    assert found[f"hatchway_refusals_total{LABELS}}}"] == "9"
    assert found[f'hatchway_gpu_memory_used_bytes{LABELS},gpu="GPU-1"}}'] == "4096"
    assert found[f'hatchway_gpu_utilization_ratio{LABELS},gpu="GPU-1"}}'] == "0.25"


async def test_a_replica_that_could_not_be_measured_is_told_as_far_as_it_is_known() -> None:
    found = await scrape(collector(observe=lambda: [R1]))
    assert found[f"hatchway_replica_restarts_total{LABELS}}}"] == "2"
    assert f"hatchway_replica_cpu_seconds_total{LABELS}}}" not in found


async def test_what_handlers_and_batches_count_carries_the_replicas_labels() -> None:
    series = (
        MetricSeries("hatchway_batch_size", "histogram", {}, 5.0, [1.0, 4.0], [1, 1, 0]),
        MetricSeries("words", "counter", {"language": "en"}, 7.0),
    )
    made = collector(measures={"iris-1": Measures(0, 0, series=series)}, observe=lambda: [R1])
    found = await scrape(made)
    assert found[f'hatchway_batch_size_bucket{LABELS},le="4"}}'] == "2"
    assert found[f"hatchway_batch_size_count{LABELS}}}"] == "2"
    assert found[f'words{LABELS},language="en"}}'] == "7"
    assert (await made.text()).count("# TYPE hatchway_batch_size histogram") == 1


async def test_a_replica_cannot_speak_for_hatchway() -> None:
    series = (MetricSeries("hatchway_requests_total", "counter", {"code": "200"}, 1e6),)
    found = await scrape(collector(measures={"iris-1": Measures(0, 0, series=series)}, observe=lambda: [R1]))
    assert [name for name in found if name.startswith("hatchway_requests_total")] == []


async def test_a_name_that_two_apis_use_for_different_kinds_has_no_type() -> None:
    other = Replica("other-1", "other", "r2", "ready", "/run/2")
    measures = {
        "iris-1": Measures(0, 0, series=(MetricSeries("words", "counter", {}, 1.0),)),
        "other-1": Measures(0, 0, series=(MetricSeries("words", "gauge", {}, 2.0),)),
    }
    text = await collector(measures=measures, observe=lambda: [R1, other]).text()
    assert "# TYPE words untyped" in text
    assert text.count("# TYPE words ") == 1


async def test_drift_is_told_by_field() -> None:
    found = await scrape(collector(drift=lambda: {"iris": {"input.width": 1.25}}))
    assert found['hatchway_drift{api="iris",field="input.width"}'] == "1.25"


async def test_labels_are_those_of_the_catalogue() -> None:
    envoy = Envoy(iris=Tally({("r1", 200): 2}, buckets=BUCKETS))
    use = Measures(1.5, 800, (GpuUse("GPU-1", 1, 0.5),))
    found = await scrape(
        collector(
            envoy,
            {"iris-1": use},
            observe=lambda: [R1],
            apis=lambda: ["iris"],
            drift=lambda: {"iris": {"output": 0.5}},
        )
    )
    told = {metric.name: {*metric.labels} for metric in METRICS}
    for sample in found:
        name, _, labels = sample.partition("{")
        name = re.sub("_(bucket|sum|count)$", "", name)
        assert set(re.findall(r'(\w+)="', labels)) - {"le"} == told[name], sample
    missing = told.keys() - {re.sub("_(bucket|sum|count)$", "", sample.partition("{")[0]) for sample in found}
    assert missing == {"hatchway_batch_size", "hatchway_batch_wait_seconds"}  # of replicas that batch
