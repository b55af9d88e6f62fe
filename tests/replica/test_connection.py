"""HTTP on the socket: framing, limits, malformed input, clients that are slow, impolite or gone."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hatchway.replica.connection import Exchange, Listener
from tests.replica.running import Running, a_replica, read_all

HANDLER = """
class Handler:
    def handle_post(self, payload):
        return payload if isinstance(payload, bytes) and len(payload) < 100 else len(payload)

    async def handle_get(self, request):
        return request.path

    async def handle_patch(self, headers):
        return ",".join(headers)

    async def handle_put(self):
        for n in range(3):
            yield str(n)
"""


@pytest.fixture(scope="module")
def replica() -> Iterator[Running]:
    with a_replica(HANDLER, max_concurrency=4, max_body_bytes=1_000_000) as running:
        yield running


def status_of(received: bytes) -> int:
    return int(received.split(b" ", 2)[1])


def test_a_connection_serves_many_requests(replica: Running) -> None:
    with replica.connect() as sock:
        for n in range(3):
            sock.sendall(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % n)
            assert sock.recv(65536).endswith(b"/%d" % n)


def test_a_chunked_body_arrives_whole(replica: Running) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert replica.raw(head + b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n").endswith(b"\r\n\r\nabcde")


def test_a_trailer_is_no_header(replica: Running) -> None:
    head = b"PATCH / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert replica.raw(head + b"0\r\nx-user: admin\r\n\r\n").endswith(b"\r\n\r\nhost,transfer-encoding")


def test_the_gateway_says_how_large_a_body_may_be_now(replica: Running) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\nx-hatchway-max-body: 4\r\n"
    assert status_of(replica.raw(head + b"content-length: 4\r\n\r\nabcd")) == 200
    assert status_of(replica.raw(head + b"content-length: 5\r\n\r\nabcde")) == 413
    assert status_of(replica.raw(head + b"transfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n")) == 413


def test_a_request_may_arrive_byte_by_byte(replica: Running) -> None:
    with replica.connect() as sock:
        for byte in b"POST /x?y HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc":
            sock.sendall(bytes([byte]))
        assert read_all(sock).endswith(b"\r\n\r\nabc")


def test_expect_100_continue_is_answered(replica: Running) -> None:
    with replica.connect() as sock:
        sock.sendall(
            b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
        )
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert read_all(sock).endswith(b"\r\n\r\nabc")


@pytest.mark.parametrize(
    "framing", [b"content-length: 1000001\r\n", b"content-length: 1000001\r\nexpect: 100-continue\r\n"]
)
def test_a_body_announced_over_the_limit_is_413_before_it_is_sent(replica: Running, framing: bytes) -> None:
    with replica.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nx-request-id: big\r\n" + framing + b"\r\n")
        received = read_all(sock)
        assert status_of(received) == 413
        assert b"x-request-id: big" in received
        assert b"1000000 bytes" in received


@pytest.mark.parametrize("framing", [b"content-length: 3000000", b"transfer-encoding: chunked"])
def test_a_client_over_the_limit_that_sends_on_gets_its_413(replica: Running, framing: bytes) -> None:
    with replica.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n")
        try:
            for _ in range(30):
                sock.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
        except ConnectionError:
            pytest.fail("the connection was closed on a client that still sent")
        assert status_of(read_all(sock)) == 413


def test_a_body_at_the_limit_is_served(replica: Running) -> None:
    assert replica.request("POST", "/", b"x" * 1_000_000).json() == 1_000_000


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_malformed_input_is_a_400_and_the_end(replica: Running, data: bytes) -> None:
    with replica.connect() as sock:
        sock.sendall(data)
        received = read_all(sock)
        assert status_of(received) == 400
        assert b'"kind":"bad_request"' in received


def test_a_good_request_before_a_bad_one_is_answered_first(replica: Running) -> None:
    with replica.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabcNONSENSE\r\n\r\n")
        received = read_all(sock)
        assert received.startswith(b"HTTP/1.1 200")
        assert b"abcHTTP/1.1 400" in received


def test_headers_without_end_are_431(replica: Running) -> None:
    with replica.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        received = b""
        sock.settimeout(0.001)
        for _ in range(100):
            sock.sendall(b"x-fill: " + b"y" * 4000 + b"\r\n")
            try:
                received = sock.recv(65536)
                break
            except TimeoutError:
                continue
        assert status_of(received) == 431


def test_half_a_request_waits_and_takes_no_slot(replica: Running) -> None:
    with replica.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc")
        assert replica.request("GET").status == 200
        replica.until(in_flight=0)


def test_an_http_1_0_stream_ends_with_the_connection(replica: Running) -> None:
    received = replica.raw(b"PUT / HTTP/1.0\r\n\r\n")
    assert b"transfer-encoding" not in received
    assert received.endswith(b"\r\n\r\n012")


def test_an_upgrade_is_answered_as_a_plain_request(replica: Running) -> None:
    with replica.connect() as sock:
        sock.sendall(b"GET /x HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n\x81\x00")
        received = read_all(sock)
        assert status_of(received) == 200
        assert received.endswith(b"/x")


def test_a_url_may_be_absolute(replica: Running) -> None:
    received = replica.raw(b"GET http://host/a/b?c HTTP/1.1\r\nhost: x\r\n\r\n")
    assert received.endswith(b"/a/b")


def test_a_thousand_idle_connections_disturb_nobody(replica: Running) -> None:
    with ExitStack() as idle:
        for _ in range(1000):
            idle.enter_context(replica.connect())
        assert replica.request("GET").status == 200


VALID = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PATCH / HTTP/1.0\r\n\r\n",
        b'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{"',
        b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 9999999\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(VALID, st.binary(max_size=40)), max_size=6), st.lists(st.integers(0, 300), max_size=5))
def test_no_input_hangs_crashes_or_is_a_500(replica: Running, parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    with replica.connect() as sock:
        try:
            for start, end in itertools.pairwise(edges):
                sock.sendall(data[start:end])
            sock.shutdown(socket.SHUT_WR)
            received = read_all(sock)
        except ConnectionError:
            received = b""  # it was told off and sent on
    assert b"HTTP/1.1 500" not in received
    assert replica.process.poll() is None
    replica.until(in_flight=0)


# --- the end of a replica ------------------------------------------------------------------------------------
class _Held(Exchange):
    """Answered when the test says so."""

    begun: ClassVar[asyncio.Queue[_Held]] = asyncio.Queue()

    def begin(self) -> None:
        self.begun.put_nowait(self)


async def test_who_comes_late_or_never_ends_a_request_does_not_keep_a_replica_that_goes(tmp_path: Path) -> None:
    listener = Listener(_Held, max_body_bytes=100)
    path = str(tmp_path / "s")
    server = await asyncio.get_running_loop().create_unix_server(listener.connect, path)
    begun, half = b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /2 HTTP/1.1\r\nhost"
    listener.close_idle()
    reader, writer = await asyncio.open_unix_connection(path)  # connected after the last look
    running, other = await asyncio.open_unix_connection(path)
    other.write(begun + half)
    held = await _Held.begun.get()
    closing = asyncio.create_task(listener.wait_empty(0.05))
    assert await reader.read() == b""
    assert not closing.done()  # a request runs, and is waited for however long it takes
    held.answer(200, b"", b"done")
    async with asyncio.timeout(20):
        with suppress(ConnectionResetError):
            assert (await running.read()).endswith(b"done")  # what was begun behind it is given up
        await closing
    writer.close()
    other.close()
    server.close()
