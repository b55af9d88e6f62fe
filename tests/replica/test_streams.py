"""Streams: each piece leaves at once, what they look like, how they fail, and how they end when the client leaves."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.replica.running import Answer, Running, UnixConnection, a_replica, read_all
from tests.replica.test_calls import http_post


def read_until(sock: socket.socket, wanted: bytes) -> None:
    received = b""
    while wanted not in received:
        data = sock.recv(65536)
        assert data, received
        received += data


EVENTS = {"accept": "text/event-stream"}

HANDLER = """
import asyncio, time
from types import SimpleNamespace
from starlette.responses import StreamingResponse

class Handler:
    def handle_post(self, payload):
        return getattr(self, payload)()

    async def handle_put(self, payload):
        return getattr(self, payload)()

    def texts(self):
        yield "one\\ntwo"
        yield {"n": 3}
        yield "[DONE]"

    def values(self):
        yield {"n": 1}
        yield "[DONE]"

    def pieces(self):
        yield b"ab"
        yield b"c"

    def events(self):
        yield SimpleNamespace(data="hi", event="token", id="1", retry=None)
        yield {"n": 1}

    def nothing(self):
        return
        yield

    def written(self):
        def items():
            yield "data: one\\n\\n"
            yield {"n": 2}
            yield "data: [DONE]\\n\\n"
        return StreamingResponse(items(), media_type="text/event-stream")

    def table(self):
        return StreamingResponse(iter(["a,b\\n", "1,2\\n"]), media_type="text/csv")

    def fails(self):
        yield {"n": 1}
        raise RuntimeError("secret")

    async def fails_async(self):
        yield {"n": 1}
        raise RuntimeError("secret")

    def fails_written(self):
        return StreamingResponse(self.fails_async(), media_type="text/event-stream")

    def cannot(self):
        yield {"n": 1}
        yield object()
"""


@pytest.fixture(scope="module")
def replica() -> Iterator[Running]:
    with a_replica(HANDLER) as running:
        yield running


def ask(replica: Running, what: str, method: str = "POST", **headers: str) -> Answer:
    body = json.dumps(what).encode()
    return replica.request(method, "/", body, {"content-type": "application/json"} | headers)


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("what", "accept", "content_type", "body"),
    [
        ("texts", "*/*", "text/plain; charset=utf-8", b'one\ntwo{"n":3}\n[DONE]'),
        (
            "texts",
            "text/event-stream",
            "text/event-stream",
            b'data: one\ndata: two\n\ndata: {"n":3}\n\ndata: [DONE]\n\n',
        ),
        ("values", "*/*", "application/x-ndjson", b'{"n":1}\n"[DONE]"\n'),
        ("values", "text/event-stream, */*", "text/event-stream", b'data: {"n":1}\n\ndata: [DONE]\n\n'),
        ("pieces", "text/event-stream", "application/octet-stream", b"abc"),
        ("events", "*/*", "text/event-stream", b'event: token\nid: 1\ndata: hi\n\ndata: {"n":1}\n\n'),
        ("nothing", "*/*", "application/x-ndjson", b""),
        ("written", "*/*", "text/event-stream; charset=utf-8", b'data: one\n\ndata: {"n":2}\n\ndata: [DONE]\n\n'),
        ("table", "*/*", "text/csv; charset=utf-8", b"a,b\n1,2\n"),
    ],
)
def test_the_first_item_and_the_client_decide_what_a_stream_is(
    replica: Running, method: str, what: str, accept: str, content_type: str, body: bytes
) -> None:
    answer = ask(replica, what, method, accept=accept)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, content_type, body)


def test_events_are_not_for_caches(replica: Running) -> None:
    headers = ask(replica, "values", **EVENTS).headers
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
    assert "cache-control" not in ask(replica, "values").headers


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("what", ["fails", "fails_async", "fails_written"])
def test_a_failure_in_the_middle_of_events_is_the_last_event(replica: Running, method: str, what: str) -> None:
    before = replica.stats().errors
    answer = ask(replica, what, method, **EVENTS, **{"x-request-id": f"{what}-{method}"})
    first, error, rest = answer.body.split(b"\n\n")
    assert (first, rest) == (b'data: {"n":1}', b"")
    assert error.startswith(b"event: error\ndata: ")
    assert json.loads(error.partition(b"data: ")[2])["error"] == {
        "kind": "internal_error", "message": "internal server error", "request_id": f"{what}-{method}"
    }  # fmt: skip
    replica.until(errors=before + 1)
    assert "RuntimeError: secret" in "".join(replica.messages(request_id=f"{what}-{method}", level="ERROR"))


@pytest.mark.parametrize("what", ["fails", "fails_async", "cannot"])
def test_a_failure_in_the_middle_of_anything_else_breaks_off(replica: Running, what: str) -> None:
    with replica.connect() as sock:
        sock.sendall(http_post(json.dumps(what).encode()))
        received = b""
        with suppress(ConnectionResetError):
            while data := sock.recv(65536):
                received += data
        assert b'{"n":1}\n' in received
        assert not received.endswith(b"0\r\n\r\n")


GATED = """
import os
from starlette.responses import StreamingResponse

class Handler:
    def __init__(self, config):
        self.gate = config["gate"]

    def handle_post(self, payload):
        yield "first"
        open(self.gate).close()  # a fifo: until the test opens it as well
        yield "second"

    async def handle_put(self, payload):
        for item in self.handle_post(payload):
            yield item

    def handle_patch(self, payload):
        return StreamingResponse(self.handle_post(payload))
"""


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_each_piece_leaves_at_once(tmp_path: Path, method: str) -> None:
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    with a_replica(GATED, config={"gate": gate}) as replica:
        connection = UnixConnection(replica.launch.data_socket)
        connection.request(method, "/", b"1", {"content-type": "application/json"})
        answer = connection.getresponse()
        assert answer.read1() == b"first"
        with open(gate, "w"):
            assert answer.read() == b"second"
        connection.close()


LEFT = """
import asyncio, time
from starlette.responses import StreamingResponse

class Handler:
    def handle_post(self, payload):
        return getattr(self, payload)()

    async def handle_put(self, payload):
        return getattr(self, payload)()

    def sync(self):
        try:
            while True:
                yield "x"
                time.sleep(0.01)
        except GeneratorExit:
            print("GeneratorExit")
            raise
        finally:
            print("closed")

    async def waits(self):
        try:
            yield "x"
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            print("CancelledError")
            raise
        finally:
            await asyncio.sleep(0)
            print("closed")

    def sync_response(self):
        return StreamingResponse(self.sync())

    def waiting_response(self):
        return StreamingResponse(self.waits())
"""


@pytest.mark.parametrize(
    ("method", "what", "raised"),
    [
        (b"POST", b'"sync"', "GeneratorExit"),
        (b"POST", b'"waits"', "CancelledError"),
        (b"PUT", b'"waits"', "CancelledError"),
        (b"POST", b'"sync_response"', "GeneratorExit"),
        (b"PUT", b'"sync_response"', "GeneratorExit"),
        (b"POST", b'"waiting_response"', "CancelledError"),
        (b"PUT", b'"waiting_response"', "CancelledError"),
    ],
)
def test_a_client_that_leaves_ends_the_generator(method: bytes, what: bytes, raised: str) -> None:
    with a_replica(LEFT) as replica:
        with replica.connect() as sock:
            sock.sendall(http_post(what).replace(b"POST", method))
            read_until(sock, b"\r\nx\r\n")
        replica.until(in_flight=0, errors=0)
        replica.terminate()
        assert replica.ended() == 0
        assert replica.messages(stream="stdout") == [raised, "closed"]
        assert replica.messages(level="ERROR") == []


APP = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

async def items():
    try:
        yield "x"
        await asyncio.sleep(3600)
    finally:
        print("closed")

async def stream(request):
    return StreamingResponse(items())

app = Starlette(routes=[Route("/", stream)])
"""


def test_a_client_that_leaves_ends_the_generator_of_an_application() -> None:
    with Running({"main.py": APP}, {"app": "main:app"}) as replica:
        with replica.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            read_until(sock, b"\r\nx\r\n")
        replica.until(in_flight=0, errors=0)
        assert replica.messages(stream="stdout") == ["closed"]


def test_a_silent_generator_past_the_timeout_is_504_and_one_that_has_begun_is_not() -> None:
    handler = """
    import asyncio

    async def handle(payload):
        if payload == "begin":
            yield "begun"
        await asyncio.sleep(0.6)
        yield "done"
    """
    with a_replica(handler, timeout_s=0.3) as replica:
        assert replica.post("begin").text == "begundone"
        assert replica.post("silent").status == 504


def test_a_replica_that_is_told_to_go_ends_its_streams_first(tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    with a_replica(GATED, config={"gate": gate}) as replica, replica.connect() as sock:
        sock.sendall(http_post(b"1", b"connection: close"))
        read_until(sock, b"first")
        replica.terminate()
        while not replica.records(message="draining"):
            pass
        with open(gate, "w"):
            assert b"second" in read_all(sock)
        assert replica.ended() == 0
