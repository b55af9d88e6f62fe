"""WebSockets of ASGI applications: accepted, refused, counted, closed; and refused by handlers that are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, unix_connect

from tests.replica.running import Running, a_replica
from tests.replica.test_asgi import an_app

APP = """
import asyncio
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()

@app.websocket("/echo/{room}")
async def echo(socket: WebSocket, room: str):
    await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None)
    await socket.send_json({
        "room": room, "q": socket.query_params.get("q"), "root": socket.scope["root_path"], "path": socket.url.path,
        "agent": socket.headers["user-agent"], "id": socket.headers["x-request-id"],
    })
    try:
        while True:
            await socket.send_text((await socket.receive_text()).upper())
    except WebSocketDisconnect as exc:
        print("left with", exc.code)

@app.websocket("/listen")
async def listen(socket: WebSocket):
    await socket.accept()
    while True:
        await socket.receive_text()

@app.websocket("/boom")
async def boom(socket: WebSocket):
    raise ValueError("secret")

@app.websocket("/late_boom")
async def late_boom(socket: WebSocket):
    await socket.accept()
    raise ValueError("secret")

@app.websocket("/never")
async def never(socket: WebSocket):
    await asyncio.sleep(3600)

@app.websocket("/no")
async def no(socket: WebSocket):
    await socket.close()
"""
HANDSHAKE = (
    b"GET /listen HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# As in an environment without the library, where uvicorn takes the one that Hatchway brings.
WITHOUT_WEBSOCKETS = 'import sys\nsys.modules["websockets"] = None\n'


@pytest.fixture(params=["", WITHOUT_WEBSOCKETS], ids=["websockets", "wsproto"])
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param) + APP


@pytest.fixture
def replica(text: str) -> Iterator[Running]:
    with an_app(text) as running:
        yield running


def connect(replica: Running, path: str, **options: Any) -> ClientConnection:
    socket: ClientConnection = unix_connect(replica.launch.data_socket, f"ws://replica{path}", **options)
    return socket


def refusal(replica: Running, path: str, **options: Any) -> tuple[int, str, dict[str, str]]:
    """Status, kind of error and headers of a handshake that is not accepted."""
    with pytest.raises(InvalidStatus) as caught:
        connect(replica, path, **options)
    response = caught.value.response
    error = json.loads(response.body)["error"]["kind"] if response.body else ""
    return response.status_code, error, {name.lower(): value for name, value in response.headers.raw_items()}


def test_an_application_speaks_with_its_client(replica: Running) -> None:
    headers = {"x-request-id": "mine"}
    with connect(replica, "/echo/a?q=1", subprotocols=["chat"], additional_headers=headers) as socket:
        assert socket.response is not None
        assert socket.subprotocol == "chat"
        assert socket.response.headers["x-request-id"] == "mine"
        assert socket.response.headers["x-hatchway-revision"] == "rev1"
        told = json.loads(socket.recv())
        assert told.pop("agent").startswith("Python")
        assert told == {"room": "a", "q": "1", "root": "/shop", "path": "/shop/echo/a", "id": "mine"}
        socket.send("hello")
        assert socket.recv() == "HELLO"
        assert replica.stats().in_flight == 1
    replica.until(in_flight=0, requests=1, errors=0)
    assert replica.records(message="left with 1000")[0]["request_id"] == "mine"


def test_a_client_that_vanishes_frees_its_slot(replica: Running) -> None:
    with replica.connect() as sock:
        sock.sendall(HANDSHAKE)
        assert sock.recv(1000).startswith(b"HTTP/1.1 101")
        replica.until(in_flight=1)
    replica.until(in_flight=0)


def test_a_client_that_leaves_is_no_failure_of_the_application(replica: Running) -> None:
    with connect(replica, "/listen"):
        replica.until(in_flight=1)
    replica.until(in_flight=0, requests=1, errors=0)
    assert replica.messages(level="ERROR") == []


def test_a_failure_before_it_accepts_is_a_500_and_after_it_a_1011(replica: Running) -> None:
    status, kind, headers = refusal(replica, "/boom", additional_headers={"x-request-id": "b"})
    assert (status, kind, headers["x-request-id"]) == (500, "internal_error", "b")
    with connect(replica, "/late_boom") as socket, pytest.raises(ConnectionClosedError) as caught:
        socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1011
    replica.until(in_flight=0, errors=2)
    assert "ValueError: secret" in "".join(replica.messages(request_id="b", level="ERROR"))


def test_a_refusal_of_the_application_is_a_403(replica: Running) -> None:
    assert refusal(replica, "/no")[0] == 403
    replica.until(in_flight=0, errors=0)


def test_one_that_is_not_accepted_in_time_is_a_504(text: str) -> None:
    with an_app(text, timeout_s=0.3) as replica:
        assert refusal(replica, "/never")[:2] == (504, "timeout")
        replica.until(in_flight=0, errors=1)


def test_an_accepted_one_may_last_longer_than_the_timeout(text: str) -> None:
    with an_app(text, timeout_s=0.2, max_concurrency=1) as replica, connect(replica, "/echo/a") as socket:
        socket.recv()
        assert refusal(replica, "/echo/b")[:2] == (504, "timeout")  # it waited for the slot: the timeout has passed
        socket.send("x")
        assert socket.recv() == "X"


def test_a_full_replica_refuses_so_that_another_is_tried(text: str) -> None:
    with an_app(text, max_concurrency=1, max_queue_length=0) as replica, connect(replica, "/echo/a"):
        status, kind, headers = refusal(replica, "/echo/b")
        assert (status, kind, headers["x-hatchway-overloaded"]) == (503, "overloaded", "1")
        assert int(headers["retry-after"]) >= 1


def test_a_client_that_leaves_the_queue_is_never_served(text: str) -> None:
    with an_app(text, max_concurrency=1) as replica, connect(replica, "/echo/a"):
        with replica.connect() as second:
            second.sendall(HANDSHAKE)
            replica.until(queued=1)
        replica.until(queued=0, in_flight=1)


def test_a_replica_that_is_told_to_go_says_so_and_ends(replica: Running) -> None:
    with connect(replica, "/echo/a") as socket:
        socket.recv()
        replica.terminate()
        with pytest.raises(ConnectionClosedError) as caught:
            socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    assert replica.ended() == 0
    assert "left with 1012" in replica.messages(stream="stdout")


def test_a_message_over_the_limit_on_bodies_closes_with_1009(text: str) -> None:
    with an_app(text, max_body_bytes=1000) as replica, connect(replica, "/echo/a") as socket:
        socket.recv()
        socket.send("x" * 1001)
        with pytest.raises(ConnectionClosedError) as caught:
            socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
        replica.until(in_flight=0)


@pytest.mark.parametrize(
    "handler", ["def predict(payload):\n    return 1", "class Handler:\n    def handle_get(self):\n        return 1"]
)
def test_a_handler_that_is_no_application_says_what_can(handler: str) -> None:
    with a_replica(handler) as replica:
        assert refusal(replica, "/")[:2] == (400, "no_websocket")
        replica.until(in_flight=0)
