"""What Prometheus is told of requests is what their senders saw, whatever dies meanwhile."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping

import httpx
import pytest

from hatchway import Client
from tests.e2e.mixed import HANDLER, LEFT, leave, mixed
from tests.e2e.verbs import deploy, engine_socket, kill_engine, marked, until
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

YAML = """
name: echo
handler: {{path: handler.py, config: {{version: {version}}}, example: {{}}, max_queue_length: 1}}
autoscaling: {{min_replicas: 2, max_replicas: 2}}
networking: {{max_body: 1000}}
"""
REQUESTS = re.compile(r'^hatchway_requests_total{api="(.*)",revision="(.*)",code="(\d+)"} (\d+)$', re.M)


def scraped(shell: Shell) -> str:
    with Client(socket=engine_socket(shell)) as client:
        metrics = client.status().metrics
    assert metrics is not None
    return httpx.get(metrics.url, timeout=20).raise_for_status().text


def requests(text: str, api: str) -> Mapping[str, Counter[int]]:
    """Revision -> status -> requests of the API."""
    found: dict[str, Counter[int]] = {}
    for name, revision, code, count in REQUESTS.findall(text):
        if name == api:
            found.setdefault(revision, Counter())[int(code)] += int(count)
    return found


def by_code(text: str, api: str) -> Counter[int]:
    return sum(requests(text, api).values(), Counter())


def scraped_when(shell: Shell, count: int) -> str:
    """Once so many requests of the API are counted: that one is over, Envoy notes a moment later than its caller."""
    deadline = time.monotonic() + 20
    while by_code(text := scraped(shell), "echo").total() < count and time.monotonic() < deadline:
        continue
    return text


def test_every_request_counts_once_under_the_status_its_caller_saw(shell: Shell) -> None:
    (shell.folder / "handler.py").write_text(HANDLER)
    (shell.folder / "hatchway.yaml").write_text(YAML.format(version=1))
    first = deploy(shell)
    with mixed(first["endpoint"]) as client:
        client.wait_for_more(100)
        kill_engine(shell)
        client.wait_for_more(100)
        os.kill(until(shell, bool)["replica_list"][0]["pid"], signal.SIGKILL)
        client.wait_for_more(100)
        (shell.folder / "hatchway.yaml").write_text(YAML.format(version=2))
        second = deploy(shell)
        client.wait_for_more(100)
        kill_engine(shell)
        client.wait_for_more(100)
    assert client.cut_streams <= 1  # by the end of the replica that was sending it
    for _ in range(3):  # as many as there is room for: none is refused
        leave(first["endpoint"])
        client.of_api[LEFT] += 1
    text = scraped_when(shell, client.of_api.total())
    assert by_code(text, "echo") == client.of_api
    assert by_code(text, "") == client.of_none == Counter({404: client.of_none.total()})
    found = requests(text, "echo")
    assert set(found) == {"", first["revision"], second["revision"]}
    assert set(found[""]) <= {413, LEFT}  # what no replica has answered
    assert {200, 405, 413, 500, 503, LEFT} <= set(client.of_api)
    retries = re.search(r'^hatchway_retries_total{api="echo"} (\d+)$', text, re.M)
    assert retries is not None
    assert int(retries[1]) > 0
    assert_carried_on(shell, second["endpoint"], by_code(text, "echo"))


def assert_carried_on(shell: Shell, url: str, counted: Counter[int]) -> None:
    """When Envoy dies, what was counted stays counted."""
    (envoy,) = marked(shell, "envoy")
    os.kill(envoy.identity.pid, signal.SIGKILL)
    with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as http:  # until the next one listens
        status = http.post(url, json={"sleep_s": 0, "fails": False}).status_code
    counted[status] += 1
    assert by_code(scraped_when(shell, counted.total()), "echo") == counted
