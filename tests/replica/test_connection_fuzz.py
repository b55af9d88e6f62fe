"""No input, however cut, is answered wrongly, twice, not at all or with a 500; see parser_drive for the rules."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hatchway.replica.connection import MAX_HEAD_BYTES
from tests.replica.parser_drive import MAX_BODY_BYTES, Seen, run

REQUEST = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-Request-Id: r\r\nContent-Length: 3\r\n\r\nabc"
SEEDS = [
    REQUEST,
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\ntrailer: t\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"PUT / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1001,
    b"POST / HTTP/1.1\r\nhost: x\r\nx-hatchway-max-body: 2\r\ncontent-length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00",
    b"POST / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc",
    b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\nabc",
    b"GET http://x/y HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
]
TOKENS = [
    *(b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\xff", b"\xc3\xa9", b"x" * 300),
    *(b"content-length: 5\r\n", b"content-length: \r\n", b"1_0", b"+1", b"0x1", b"0\r\n\r\n"),
    *(b"transfer-encoding: chunked\r\n", b"transfer-encoding: identity\r\n", b"expect: 100-continue\r\n"),
    *(b"connection: close\r\n", b"upgrade: websocket\r\n", b"HTTP/1.0", b"HTTP/2.0"),
]


@st.composite
def inputs(draw: st.DrawFn) -> bytes:
    """Requests one after another, some of them damaged."""
    parts = []
    for request in draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=5)):
        text = request
        for _ in range(draw(st.integers(0, 2))):
            at = draw(st.integers(0, len(text)))
            kept = at + draw(st.integers(0, 4))
            text = text[:at] + draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=3))) + text[kept:]
        parts.append(text)
    return b"".join(parts)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


MANY = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(data=st.one_of(inputs(), st.binary(max_size=200)), places=st.lists(st.integers(0, 2000), max_size=8))
def test_where_the_input_is_cut_does_not_matter(loop: Any, data: bytes, places: list[int]) -> None:
    assert run(cut(data, places), loop) == run([data], loop)


@MANY
@given(data=inputs(), places=st.lists(st.integers(0, 2000), max_size=4))
def test_slow_answers_are_the_same_answers(loop: Any, data: bytes, places: list[int]) -> None:
    assert run(cut(data, places), loop, is_slow=True) == run([data], loop)


@pytest.mark.parametrize("data", SEEDS, ids=range(len(SEEDS)))
def test_each_kind_of_request_may_come_byte_by_byte(loop: Any, data: bytes) -> None:
    data = REQUEST + data + REQUEST
    assert run([bytes([byte]) for byte in data], loop) == run([data], loop)


def one(loop: Any, data: bytes) -> Seen:
    return run([data], loop)


@pytest.mark.parametrize(
    "fields",
    [
        b"content-length: 3\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 3\r\n",
        b"content-length: 3\r\ncontent-length: 4\r\n",
        b"content-length: 3, 4\r\n",
        b"content-length: +3\r\n",
        b"content-length: 0x3\r\n",
        b"content-length: 3 4\r\n",
        b"content-length : 3\r\n",
        b"transfer-encoding: chunked, gzip\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding : chunked\r\n",
        b"x: a\0b\r\n",
        b"x: a\rb\r\n",
        b" folded: x\r\n",
    ],
)
def test_what_another_parser_could_read_otherwise_is_refused(loop: Any, fields: bytes) -> None:
    """A body that two parsers end in different places lets one client write another one's requests."""
    seen = one(loop, b"POST / HTTP/1.1\r\nhost: x\r\n" + fields + b"\r\nabc0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
    assert seen.answers == [(400, b"bad_request")]
    assert seen.requests == []


@pytest.mark.parametrize("size", [b"", b"-1", b"+3", b"0x3", b"3 3", b" 3", b"g", b"ffffffffffffffffffff", b"3\n"])
def test_a_bad_size_of_a_chunk_is_refused(loop: Any, size: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert one(loop, head + size + b"\r\nabc\r\n0\r\n\r\n").answers == [(400, b"bad_request")]


@pytest.mark.parametrize("n_bytes", [MAX_HEAD_BYTES - 100, MAX_HEAD_BYTES + 100, 10 * MAX_HEAD_BYTES])
@pytest.mark.parametrize("step", [1000, 64 * 1024, 2**30])
def test_headers_have_the_same_limit_however_they_come(loop: Any, n_bytes: int, step: int) -> None:
    data = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * n_bytes + b"\r\n\r\n"
    seen = run([data[at : at + step] for at in range(0, len(data), step)], loop)
    assert seen.answers == ([(200, b"")] if n_bytes < MAX_HEAD_BYTES else [(431, b"headers_too_large")])


def test_a_body_of_many_chunks_has_the_limit_of_one(loop: Any) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    fits, exceeds = b"1\r\nx\r\n" * MAX_BODY_BYTES, b"1\r\nx\r\n" * (MAX_BODY_BYTES + 1)
    assert one(loop, head + fits + b"0\r\n\r\n").answers == [(200, b"x" * MAX_BODY_BYTES)]
    assert one(loop, head + exceeds + b"0\r\n\r\n").answers == [(413, b"body_too_large")]
