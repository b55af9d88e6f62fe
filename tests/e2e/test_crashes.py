"""The engine is killed at instants spread over deploys: each deploy converges, nothing is lost, no process is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest

from hatchway.keeper import CALM_AFTER_S
from tests.e2e.load import requests_to
from tests.e2e.verbs import deploy, get, marked, until
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Write = Callable[[str, str], None]

KILLS = 20
KILLS_IN_A_ROW = 4
PER_S = 20
SEED = 1906
COMMAND_START_S = 0.3  # before that a deploy has not spoken to the engine yet


def want(write: Write, version: int) -> None:
    write("hatchway.yaml", f"name: echo\nhandler: {{path: handler.py, config: {{version: {version}}}}}\n")


def kill_during_deploy(shell: Shell, after_s: float) -> None:
    """Deploy what the project is now, and kill the engine so long after that began."""
    deploying = subprocess.Popen(
        ["hatchway", "deploy"],
        cwd=shell.folder,
        env=shell.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with suppress(subprocess.TimeoutExpired):
        deploying.wait(after_s)
    for engine in marked(shell, "engine"):
        os.kill(engine.identity.pid, signal.SIGKILL)
    deploying.wait(60)


def test_an_engine_killed_at_any_instant_of_a_deploy_loses_nothing(shell: Shell, write: Write) -> None:
    want(write, 0)
    endpoint = deploy(shell)["endpoint"]
    began = time.monotonic()
    want(write, 1)
    revision = deploy(shell)["revision"]
    lasts_s = time.monotonic() - began
    instants = random.Random(SEED)
    envoys = marked(shell, "envoy")
    with requests_to(endpoint, per_s=PER_S, n_clients=2) as load:
        for version in range(2, KILLS + 2):
            if version % KILLS_IN_A_ROW == 0:  # the keeper is in no hurry with an engine that dies again and again
                load.wait_for(int(PER_S * CALM_AFTER_S))
            after_s = instants.uniform(COMMAND_START_S, 1.3 * lasts_s)
            sys.stdout.write(f"seed {SEED}, kill {version - 1}: after {after_s:.2f} of {lasts_s:.2f} s\n")
            want(write, version)
            kill_during_deploy(shell, after_s)
            if get(shell)["revision"] == revision:  # killed before the deploy was written down
                deploy(shell)
            status = until(shell, lambda found: found["status"] == "live")
            assert status["revision"] != revision
            revision = status["revision"]
            assert httpx.post(endpoint, json=1).json()["version"] == version
        assert deploy(shell)["message"] == "up to date"
        load.wait_for(20)
    assert set(load.statuses) == {200}, load.failures[:3]

    only_one_replica_is_left(shell)
    assert marked(shell, "envoy") == envoys
    assert {one["id"] for one in get(shell)["revisions"]} >= {revision}
    for leftovers in ("blobs/incoming", "revisions/.building"):
        assert list((shell.home / leftovers).iterdir()) == []


def only_one_replica_is_left(shell: Shell) -> None:
    """Old replicas may drain for a moment after an update is complete."""
    status = until(shell, lambda found: [replica["state"] for replica in found["replica_list"]] == ["ready"])
    the_one = status["replica_list"][0]
    assert [(found.identity.pid, found.mark.id) for found in marked(shell, "replica")] == [
        (the_one["pid"], the_one["id"])
    ]
    assert [len(marked(shell, role)) for role in ("keeper", "engine", "envoy")] == [1, 1, 1]
    assert [path.name for path in (shell.home / "replicas").iterdir()] == [the_one["id"]]
    assert len([path for path in shell.sockets() if path.parent.name == "r"]) == 2
