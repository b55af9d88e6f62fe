"""Every metric of Hatchway's own: the one list from which the answer to Prometheus and docs/metrics.md are made.

Names and labels stay; there may be more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "untyped"]


@dataclass(frozen=True)
class Metric:
    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


_API = ("api",)
_REPLICA = ("api", "revision", "replica")

REQUESTS = Metric(
    "hatchway_requests_total",
    "counter",
    ("api", "revision", "code"),
    "Requests that are over, by the status the caller got; 0 when the caller left before there was one.",
)
DURATION = Metric(
    "hatchway_request_duration_seconds",
    "histogram",
    _API,
    "From the first byte of a request to the last byte of its answer, at the gateway.",
)
COLD_STARTS = Metric(
    "hatchway_cold_starts_total",
    "counter",
    _API,
    "Requests that came while no replica could be reached, and were held for one.",
)
RETRIES = Metric("hatchway_retries_total", "counter", _API, "Tries of requests at a replica beyond the first one.")
REFUSALS = Metric(
    "hatchway_refusals_total", "counter", _REPLICA, "Tries that a replica refused because its queue was full."
)
IN_FLIGHT = Metric("hatchway_in_flight", "gauge", _API, "Requests under way: running, queued and held.")
QUEUED = Metric("hatchway_queued", "gauge", _API, "Of those, waiting in the queue of a replica.")
HELD = Metric("hatchway_held", "gauge", _API, "Of those, held until there is a replica.")
REPLICAS = Metric(
    "hatchway_replicas", "gauge", ("api", "state"), "Replicas that are starting, ready, draining or failed."
)
DESIRED = Metric("hatchway_replicas_desired", "gauge", _API, "Replicas there should be.")
STATUS = Metric(
    "hatchway_api_status",
    "gauge",
    ("api", "status"),
    "1, with what the API is: starting, live, updating, idle, stopped, failed or deleting.",
)
REVISION = Metric("hatchway_api_revision", "gauge", ("api", "revision"), "1, with the revision that is wanted.")
RESTARTS = Metric("hatchway_replica_restarts_total", "counter", _REPLICA, "How often a replica was started again.")
CPU = Metric(
    "hatchway_replica_cpu_seconds_total", "counter", _REPLICA, "CPU time of a replica and the processes it started."
)
RSS = Metric("hatchway_replica_resident_memory_bytes", "gauge", _REPLICA, "Their memory, shared pages counted in each.")
PSS = Metric(
    "hatchway_replica_memory_bytes",
    "gauge",
    _REPLICA,
    "Their memory, shared pages divided among those that share them.",
)
GPU_MEMORY = Metric(
    "hatchway_gpu_memory_used_bytes", "gauge", (*_REPLICA, "gpu"), "Memory in use of a GPU that a replica has reserved."
)
GPU_BUSY = Metric(
    "hatchway_gpu_utilization_ratio",
    "gauge",
    (*_REPLICA, "gpu"),
    "Share of the last moment in which that GPU worked, from 0 to 1.",
)
BATCH_SIZE = Metric("hatchway_batch_size", "histogram", _REPLICA, "Requests that one call of a handler answered.")
BATCH_WAIT = Metric(
    "hatchway_batch_wait_seconds", "histogram", _REPLICA, "How long requests waited for their batch and its call."
)
DRIFT = Metric(
    "hatchway_drift",
    "gauge",
    ("api", "field"),
    "How much of a field's values moved, in units of what is too much: above 1 exactly while it drifts.",
)
ENGINE = Metric("hatchway_engine_info", "gauge", ("version",), "1, with the version of Hatchway.")
ENGINE_START = Metric("hatchway_engine_start_time_seconds", "gauge", (), "When the engine started, since the epoch.")
ENGINE_CPU = Metric("hatchway_engine_cpu_seconds_total", "counter", (), "CPU time of the engine.")
ENGINE_MEMORY = Metric("hatchway_engine_resident_memory_bytes", "gauge", (), "Memory of the engine.")
GATEWAY_UP = Metric(
    "hatchway_gateway_up", "gauge", (), "1 when Envoy answered; with 0 the counts are as of its last answer."
)
SCRAPE = Metric("hatchway_scrape_duration_seconds", "gauge", (), "How long it took to gather all this.")

METRICS = (
    REQUESTS, DURATION, COLD_STARTS, RETRIES, REFUSALS, IN_FLIGHT, QUEUED, HELD, REPLICAS, DESIRED, STATUS, REVISION,
    RESTARTS, CPU, RSS, PSS, GPU_MEMORY, GPU_BUSY, BATCH_SIZE, BATCH_WAIT, DRIFT, ENGINE, ENGINE_START, ENGINE_CPU,
    ENGINE_MEMORY, GATEWAY_UP, SCRAPE,
)  # fmt: skip
