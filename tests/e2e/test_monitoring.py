"""What is known of predictions in a home that runs: exact counts, over kills of the monitor and of the engine."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pyarrow.parquet
import pytest

from hatchway import Client
from hatchway.errors import EngineUnavailable, MonitoringError
from hatchway.settings import Settings
from hatchway.spec.monitoring import FieldReport, MonitoringReport
from tests.e2e.verbs import deploy, engine_socket, get, kill_engine, marked
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

Write = Callable[[str, str], None]

HANDLER = """
class Handler:
    def __init__(self, config):
        pass

    def handle_post(self, payload):
        age = payload["age"]
        if payload.get("stream"):
            return (str(number) for number in range(10))
        payload["age"] = -1  # handlers may do that; what was sent is what is known
        return {"label": "old" if age > 50 else "young", "confidence": 0.75}
"""
YAML = "name: echo\nhandler: {path: handler.py}\nautoscaling: {min_replicas: 2}\n"


def report_when(shell: Shell, holds: Callable[[MonitoringReport], bool]) -> MonitoringReport:
    """Ask until something holds: there is no event for what comes once a second."""
    with Client(socket=engine_socket(shell)) as client:
        while True:
            try:
                report = client.monitoring("echo")
            except (MonitoringError, EngineUnavailable):
                pass
            else:
                if holds(report):
                    return report
            time.sleep(0.1)


def send(url: str, ages: range) -> None:
    with httpx.Client(timeout=30) as client:
        for age in ages:
            answer = client.post(url, json={"age": age, "email": f"{age}@example.com"})
            assert answer.status_code == 200


def field(report: MonitoringReport, name: str) -> FieldReport:
    return next(each for each in report.fields if each.name == name)


def monitor_folder(shell: Shell) -> Path:
    return Settings.from_environment(shell.environ).monitoring_dir


@pytest.fixture
def url(shell: Shell, write: Write) -> str:
    """Of the API, with two replicas."""
    write("handler.py", HANDLER)
    write("hatchway.yaml", YAML)
    return str(deploy(shell)["endpoint"])


def test_every_prediction_is_known_over_kills_and_changes_in_place(shell: Shell, write: Write, url: str) -> None:
    send(url, range(20, 80))
    report = report_when(shell, lambda report: report.sampled == 60)
    assert report.seen == 60
    age = field(report, "input.age")
    assert (age.kind, age.count, age.missing, age.min, age.max, age.mean) == ("numeric", 60, 0, 20, 79, 49.5)
    assert report.model is not None
    assert (report.model.field, report.model.classes) == ("output.label", {'"young"': 31, '"old"': 29})

    # What was saved is there after a kill, and replicas keep what nobody listens to.
    (monitor,) = marked(shell, "monitor")
    os.kill(monitor.identity.pid, signal.SIGKILL)
    send(url, range(20, 80))
    kill_engine(shell)
    send(url, range(20, 80))
    report = report_when(shell, lambda report: report.sampled == 180)
    assert field(report, "input.age").mean == 49.5
    shown = shell.run("hatchway get echo").stdout
    assert "predictions  of the last hour: no baseline yet" in shown
    assert "young 52%, old 48%" in shown

    # A log, without what is redacted, on replicas that run already.
    pids = {replica["pid"] for replica in get(shell)["replica_list"]}
    write("hatchway.yaml", YAML + "monitoring: {log: {redact: [email]}}\n")
    assert deploy(shell)["action"] == "configured"
    report_when(shell, lambda report: report.log is not None)  # and so replicas are told in the same moment
    send(url, range(20, 30))
    assert httpx.post(url, json={"age": 99, "stream": True}, timeout=30).text == "0123456789"
    report = report_when(shell, lambda report: report.sampled == 191)
    assert field(report, "output.bytes").mean == 10
    assert {replica["pid"] for replica in get(shell)["replica_list"]} == pids

    # Switched off in place, and the log is whole Parquet files once nothing more comes.
    write("hatchway.yaml", YAML + "monitoring: {enabled: false}\n")
    deploy(shell)
    report_when(shell, lambda report: report.verdict == "disabled")
    (file,) = (monitor_folder(shell) / "predictions" / "echo").glob("*")
    rows = pyarrow.parquet.read_table(file).to_pylist()
    assert sorted(json.loads(row["input"])["age"] for row in rows) == [*range(20, 30), 99]
    (streamed,) = [row for row in rows if row["output"] is None]
    assert (json.loads(streamed["input"])["age"], streamed["output_bytes"]) == (99, 10)
    rows.remove(streamed)
    assert {json.loads(row["output"])["label"] for row in rows} == {"young"}
    assert all(set(json.loads(row["input"])) == {"age"} and row["latency_s"] > 0 for row in rows)
    assert b"example.com" not in file.read_bytes()
