"""Replicas follow requests, down to none and back, through the real CLI, engine, Envoy and activator."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.load import requests_to
from tests.e2e.verbs import deploy, get, until
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

Write = Callable[[str, str], None]

SLOW = "import time\n\ndef predict(payload):\n    time.sleep(0.2)\n    return payload\n"
SCALED = """
name: echo
handler: {path: handler.py}
autoscaling: {min_replicas: 0, max_replicas: 3, target_in_flight: 1, window: 2s, downscale_stabilization_period: 0s}
"""


def ready(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status["replicas"]["ready"] == count


def test_replicas_follow_requests_to_zero_and_back_and_none_is_lost(shell: Shell, write: Write) -> None:
    write("handler.py", SLOW)
    write("hatchway.yaml", SCALED)
    result = deploy(shell)
    assert result["status"] == "live"
    with requests_to(result["endpoint"], per_s=12, n_clients=4) as load:
        until(shell, ready(3))
        load.wait_for(10)
    assert set(load.statuses) == {200}, load.failures
    idle = until(shell, lambda status: status["status"] == "idle")
    assert idle["replicas"]["desired"] == 0
    answer = httpx.post(result["endpoint"], json={"x": 1}, timeout=30)
    assert (answer.json(), answer.headers["x-hatchway-origin"]) == ({"x": 1}, "activator")
    assert until(shell, ready(1))["replica_list"][0]["start"] == "forked"


def test_why_tells_what_was_decided(shell: Shell, write: Write) -> None:
    write("handler.py", SLOW)
    write("hatchway.yaml", SCALED)
    endpoint = deploy(shell)["endpoint"]
    with requests_to(endpoint, per_s=12, n_clients=4):
        until(shell, ready(3))
    told = shell.run("hatchway why echo").stdout
    assert "in flight on average" in told
    assert "-> 3 replicas" in told
    steps = shell.run("hatchway why echo -o json").json()["decisions"]
    assert any(step["replicas"] == 3 and step["before"] < 3 for step in steps)


def test_requests_that_wait_for_a_replica_survive_the_engine(shell: Shell, write: Write) -> None:
    """The engine is killed while they are held; the next one starts the replica."""
    write("handler.py", SLOW)
    write("hatchway.yaml", SCALED)
    endpoint = deploy(shell)["endpoint"]
    until(shell, lambda status: status["status"] == "idle")
    os.kill(shell.run("hatchway status -o json").json()["engine"]["pid"], signal.SIGKILL)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: httpx.post(endpoint, json={"n": n}, timeout=60), range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10, [answer.text for answer in answers]
    assert [answer.json()["n"] for answer in answers] == list(range(10))


def test_a_stopped_api_holds_nothing(shell: Shell, write: Write) -> None:
    write("hatchway.yaml", SCALED)
    endpoint = deploy(shell)["endpoint"]
    shell.run("hatchway stop echo")
    until(shell, lambda status: status["status"] == "stopped" and not status["replica_list"])
    assert httpx.post(endpoint, json=1, timeout=30).status_code == 503


def test_a_template_that_is_killed_costs_no_request_and_comes_back(shell: Shell, write: Write) -> None:
    write("hatchway.yaml", SCALED.replace("min_replicas: 0", "min_replicas: 1"))
    endpoint = deploy(shell)["endpoint"]
    with requests_to(endpoint) as load:
        shell.run("hatchway scale echo 2 --for 10m")
        until(shell, ready(2))
        (template,) = [int(line.split(":")[0]) for line in shell.processes() if "--template" in line and leads(line)]
        os.kill(template, signal.SIGKILL)
        load.wait_for(50)
        write("handler.py", "def predict(payload):\n    return {'is': 'new'}\n")
        deploy(shell)
        load.wait_for(50)
    assert set(load.statuses) == {200}, load.failures
    assert load.answers[-1] == {"is": "new"}
    assert get(shell)["status"] == "live"


def leads(line: str) -> bool:
    """Whether a process is the template itself, and not a replica that was forked from it."""
    pid = line.split(":")[0]
    with open(f"/proc/{pid}/environ", "rb") as file:
        return b":template:" in file.read()
