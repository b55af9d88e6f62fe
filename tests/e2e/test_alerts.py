"""A receiver in a home that runs: an update that fails, an engine that is killed, and an API that is mended."""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import Queue
from typing import Any

import httpx
import pytest

from tests.e2e.verbs import deploy, kill_engine
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

WAIT_S = 60
YAML = """
name: echo
handler: {path: handler.py, function: predict}
monitoring: {alerts: {webhook: "${ALERT_URL}", min_requests: 5}}
"""
GOOD = """
def predict(payload):
    if payload == "fail":
        raise ValueError("as asked")
    return payload
"""
BROKEN = "raise RuntimeError('no such model')\n"


def test_an_api_in_trouble_tells_its_webhook_once(
    shell: Shell, write: Callable[[str, str], None], receiver: tuple[str, Queue[Any]]
) -> None:
    url, got = receiver
    (shell.folder / ".env").write_text(f"ALERT_URL={url}\n")
    write("hatchway.yaml", YAML)
    write("handler.py", GOOD)
    deploy(shell)
    assert "answered 204" in shell.run("hatchway alerts echo --test").stdout
    assert got.get(timeout=WAIT_S)["alerts"][0]["labels"]["alertname"] == "Test"

    write("handler.py", BROKEN)
    shell.run("hatchway deploy", expect=1)
    raised = got.get(timeout=WAIT_S)
    assert raised["status"] == "firing"
    assert raised["alerts"][0]["labels"] == {
        "alertname": "RolloutFailed", "api": "echo", "severity": "warning", "instance": os.uname().nodename,
    }  # fmt: skip
    assert "no such model" in raised["text"]

    (alert,) = shell.run("hatchway alerts -o json").json()
    assert alert["alert"] == "RolloutFailed"
    while alert["delivery"] != "sent":  # killed before it has noted that, an engine sends it again
        (alert,) = shell.run("hatchway alerts -o json").json()
    kill_engine(shell)

    write("handler.py", GOOD + "\n# mended\n")
    deploy(shell)
    resolved = got.get(timeout=WAIT_S)  # and nothing was repeated in between
    assert resolved["status"] == "resolved"
    assert resolved["alerts"][0]["fingerprint"] == raised["alerts"][0]["fingerprint"]
    assert resolved["alerts"][0]["startsAt"] == raised["alerts"][0]["startsAt"]

    url = shell.gateway_url() + "/echo"
    for _ in range(5):
        assert httpx.post(url, json="fail").status_code == 500
    errors = got.get(timeout=WAIT_S)
    assert errors["alerts"][0]["labels"]["alertname"] == "HighErrorRate"
    assert "100% of 5 requests in the last 5 minutes" in errors["text"]

    told = [shell.run(command).stdout for command in ("hatchway get echo -o json", "hatchway history echo -o json")]
    assert "${ALERT_URL}" in told[0]
    assert "hunter2" not in "".join(told) + (shell.home / "logs" / "engine.log").read_text()
    assert got.empty()
