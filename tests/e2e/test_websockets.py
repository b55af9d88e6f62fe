"""WebSockets of a FastAPI application, through the real CLI, engine, Envoy, activator and replicas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.e2e.test_life import Write
from tests.e2e.verbs import deploy, get, until
from tests.shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

APP = """
from fastapi import FastAPI, WebSocket

VERSION = 1
app = FastAPI()

@app.websocket("/talk")
async def talk(socket: WebSocket):
    await socket.accept()
    await socket.send_json([VERSION, socket.url.path, socket.query_params.get("q")])
    while True:
        await socket.send_text(await socket.receive_text())
"""
YAML = """
name: talk
handler: {app: main:app}
networking: {endpoint: /talks}
update_strategy: {drain_timeout: 5s}
"""
TO_ZERO = "autoscaling: {min_replicas: 0, window: 2s, downscale_stabilization_period: 0s}\n"


def open_socket(endpoint: str) -> ClientConnection:
    return connect(f"{endpoint.replace('http:', 'ws:')}/talk?q=1", open_timeout=60)


def hello(socket: ClientConnection) -> list[Any]:
    found: list[Any] = json.loads(socket.recv(timeout=60))
    return found


def echoed(socket: ClientConnection, text: str) -> bool:
    socket.send(text)
    return socket.recv(timeout=60) == text


def test_a_socket_outlives_an_update_until_the_drain_timeout(shell: Shell, write: Write) -> None:
    write("main.py", APP)
    write("hatchway.yaml", YAML)
    endpoint = deploy(shell)["endpoint"]
    with open_socket(endpoint) as old:
        assert hello(old) == [1, "/talks/talk", "1"]
        write("main.py", APP.replace("VERSION = 1", "VERSION = 2"))
        shell.run("hatchway deploy --no-wait")
        until(shell, lambda status: len(status["replica_list"]) == 2, "talk")
        assert echoed(old, "while the new replica comes up")
        until(shell, lambda status: any(one["state"] == "draining" for one in status["replica_list"]), "talk")
        with open_socket(endpoint) as new:
            assert hello(new)[0] == 2
            assert echoed(old, "while the old replica drains")
            with pytest.raises(ConnectionClosedError) as caught:
                old.recv(timeout=60)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1012  # service restart
            assert echoed(new, "after it is gone")


def test_a_socket_wakes_an_idle_api_and_keeps_it_awake(shell: Shell, write: Write) -> None:
    write("main.py", APP)
    write("hatchway.yaml", YAML + TO_ZERO)
    endpoint = deploy(shell)["endpoint"]
    until(shell, lambda status: status["status"] == "idle" and not status["replica_list"], "talk")
    with open_socket(endpoint) as socket:
        assert hello(socket) == [1, "/talks/talk", "1"]
        with open_socket(endpoint) as other:  # by now without the activator
            assert hello(other)[0] == 1
        assert echoed(socket, "by way of the activator")
        assert get(shell, "talk")["replicas"]["ready"] == 1
    until(shell, lambda status: status["status"] == "idle", "talk")


def test_a_handler_that_is_no_application_says_so(shell: Shell) -> None:
    endpoint = deploy(shell)["endpoint"]
    with pytest.raises(InvalidStatus) as caught:
        connect(endpoint.replace("http:", "ws:"))
    assert caught.value.response.status_code == 400
    assert json.loads(caught.value.response.body)["error"]["kind"] == "no_websocket"
