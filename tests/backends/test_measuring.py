"""What replicas use and count, measured at real processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hatchway.backends.local.gpu import NvmlDevices, read_use
from hatchway.contract import MetricSeries
from tests.backends.builders import ChangeFeed, a_workload, in_state, tell
from tests.backends.conftest import StartBackend

COUNTING = """
import time

class Handler:
    def __init__(self, config, metrics_client):
        self.metrics = metrics_client
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
        self.metrics.increment("loaded", 3, tags={"from": "disk"})

    def handle_post(self, payload):
        return payload
"""


async def test_a_replica_tells_its_metrics_and_the_kernel_what_it_uses(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend()
    workload = a_workload(project)
    (project / "handler.py").write_text(COUNTING)
    await backend.apply(workload, 1)
    (replica,) = await feed.until(in_state(backend, "ready"))
    found = (await backend.measure())[replica.id]
    assert found.cpu_s >= 0.2
    assert found.pss_bytes > 1 << 20
    assert MetricSeries("loaded", "counter", {"from": "disk"}, 3.0) in found.series
    assert found.gpus == ()


async def test_a_replica_that_does_not_answer_is_measured_from_outside(
    start_backend: StartBackend, feed: ChangeFeed, project: Path
) -> None:
    backend = await start_backend()
    await backend.apply(a_workload(project), 1)
    (replica,) = await feed.until(in_state(backend, "ready"))
    assert await tell(replica, "answer = 1") == 1
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGSTOP)
    try:
        found = (await backend.measure())[replica.id]
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    assert found.series == ()
    assert found.pss_bytes > 0


def test_every_gpu_of_this_machine_tells_its_use_and_unknown_ones_are_left_out() -> None:
    uuids = [device.uuid for device in NvmlDevices().list()]
    found = read_use([*uuids, "GPU-of-another-machine"])
    assert [use.uuid for use in found] == sorted(uuids)
    assert all(use.memory_bytes > 0 and 0 <= use.busy_ratio <= 1 for use in found)
