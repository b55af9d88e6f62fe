"""A receiver in a home that runs: an update that fails, an engine that is killed, and an API that is mended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import orjson
import pytest

from tests.e2e.verbs import deploy, kill_engine
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

WAIT_S = 60
YAML = """
name: echo
handler: {path: handler.py}
monitoring: {alerts: {webhook: "${ALERT_URL}"}}
"""
BROKEN = "raise RuntimeError('no such model')\n"


@pytest.fixture
def receiver() -> Iterator[tuple[str, Queue[Any]]]:
    """Its address, and what it was sent."""
    got: Queue[Any] = Queue()

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.put(orjson.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hooks/hunter2", got
    server.shutdown()
    server.server_close()


def test_an_api_in_trouble_tells_its_webhook_once(
    shell: Shell, write: Callable[[str, str], None], receiver: tuple[str, Queue[Any]]
) -> None:
    url, got = receiver
    (shell.folder / ".env").write_text(f"ALERT_URL={url}\n")
    write("hatchway.yaml", YAML)
    good = (shell.folder / "handler.py").read_text()
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

    (shell.folder / "handler.py").write_text(good + "\n# mended\n")
    deploy(shell)
    resolved = got.get(timeout=WAIT_S)  # and nothing was repeated in between
    assert resolved["status"] == "resolved"
    assert resolved["alerts"][0]["fingerprint"] == raised["alerts"][0]["fingerprint"]
    assert resolved["alerts"][0]["startsAt"] == raised["alerts"][0]["startsAt"]

    told = [shell.run(command).stdout for command in ("hatchway get echo -o json", "hatchway history echo -o json")]
    assert "${ALERT_URL}" in told[0]
    assert "hunter2" not in "".join(told) + (shell.home / "logs" / "engine.log").read_text()
    assert got.empty()
