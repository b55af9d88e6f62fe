"""Drift in a home that runs: told, explained, accepted and taken back; other limits hold without new replicas."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from queue import Queue
from typing import Any

import pytest

from hatchway.monitoring.frames import Frame, Table
from hatchway.monitoring.panes import Key, Known, Pane
from hatchway.monitoring.store import HOUR_S, PaneStore
from hatchway.settings import Settings
from tests.e2e.test_monitoring import report_when
from tests.e2e.verbs import condition, deploy, get, kill_engine, marked, until
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

WAIT_S = 90
HANDLER = "def predict(payload):\n    return payload['age'] > 50\n"
YAML = """
name: echo
handler: {path: handler.py, function: predict}
monitoring:
  baseline: training.csv
  alerts: {webhook: "${ALERT_URL}"}
"""


def kill_monitor(shell: Shell) -> None:
    (monitor,) = marked(shell, "monitor")
    os.kill(monitor.identity.pid, signal.SIGKILL)


def remember_hours(shell: Shell, revision: str, age: float) -> None:
    """As if requests had come in each of the last hours; a monitor that starts judges them."""
    chance, end_s = random.Random(5), int(time.time()) // HOUR_S * HOUR_S
    with PaneStore(Settings.from_environment(shell.environ).monitoring_dir / "monitoring.db") as store:
        for start_s in range(end_s - 5 * HOUR_S, end_s, HOUR_S):
            pane, known = Pane(), Known()
            ages = [chance.gauss(age, 10) for _ in range(500)]
            pane.add(Frame(500, 500, {"input": Table(500, {"age": ages})}), known)
            pane.settle()
            store.save({Key("echo", revision, HOUR_S, start_s): pane}, {("echo", revision): known})


def drift_is(status: dict[str, Any], state: str) -> bool:
    return any(each["type"] == "Drift" and each["state"] == state for each in status["conditions"])


def test_drift_is_told_accepted_and_taken_back(
    shell: Shell, write: Callable[[str, str], None], receiver: tuple[str, Queue[Any]]
) -> None:
    url, got = receiver
    (shell.folder / ".env").write_text(f"ALERT_URL={url}\n")
    chance = random.Random(4)
    write("training.csv", "age\n" + "\n".join(str(chance.gauss(40, 10)) for _ in range(2000)))
    write("handler.py", HANDLER)
    write("hatchway.yaml", YAML)
    deploy(shell)
    report_when(shell, lambda report: report.baseline.source == "data")
    remember_hours(shell, get(shell)["revision"], age=70)
    kill_monitor(shell)

    raised = got.get(timeout=WAIT_S)
    assert raised["status"] == "firing"
    assert raised["alerts"][0]["labels"]["alertname"] == "Drift"
    assert "input.age" in condition(get(shell), "Drift")["message"]
    assert "drift of input.age since" in shell.run("hatchway why echo").stdout

    assert "input.age" in shell.run("hatchway accept echo").stdout
    assert got.get(timeout=WAIT_S)["status"] == "resolved"
    assert "so there is nothing to accept" in shell.run("hatchway accept echo", expect=1).stderr
    kill_monitor(shell)
    kill_engine(shell)
    report = report_when(shell, lambda report: bool(report.baseline.accepted))
    assert report.verdict == "no_baseline"
    assert f"by {report.baseline.accepted[0].by}" in shell.run("hatchway get echo").stdout

    shell.run("hatchway accept echo --undo")
    until(shell, lambda status: drift_is(status, "true"))

    pids = {replica["pid"] for replica in get(shell)["replica_list"]}
    write("hatchway.yaml", YAML + "  drift: {min_effect: 100%}\n")
    assert deploy(shell)["action"] == "configured"
    until(shell, lambda status: drift_is(status, "false"))
    assert {replica["pid"] for replica in get(shell)["replica_list"]} == pids
