"""What the sync client makes of an engine that answers, goes away in the middle, is too slow or is not there."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hatchway.client.calls import Call, Stream
from hatchway.client.http import Http
from hatchway.client.ways import HomeWay
from hatchway.errors import EngineUnavailable, NotFound, TimedOut

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

Answering = Callable[[bytes], Http]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """answering(b"...") is a client of a server that sends just that to whoever asks, and hangs up."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="hw") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "engine.sock"
        listener.bind(str(path))
        listener.listen()
        threads: list[threading.Thread] = []

        def serve(answer: bytes) -> None:
            stream, _ = listener.accept()
            with stream:
                stream.recv(65536)
                stream.sendall(answer)

        def begin(answer: bytes) -> Http:
            threads.append(threading.Thread(target=serve, args=(answer,)))
            threads[-1].start()
            return Http(HomeWay(path))

        yield begin
        for thread in threads:
            thread.join()


def a_call(timeout_s: float = 30.0) -> Call[str]:
    return Call("GET", "/v1/status", bytes.decode, timeout_s=timeout_s)


def a_stream() -> Stream[str]:
    return Stream("/v1/apis/iris/logs", str, {"follow": "1"}, is_endless=True)


def test_an_answer_is_read(answering: Answering) -> None:
    assert answering(PLAIN).send(a_call()) == "hello"


def test_lines_are_read_as_they_come_whatever_their_chunks(answering: Answering) -> None:
    chunks = b"8\r\none\ntwo\n\r\n3\r\nthr\r\n3\r\nee\n\r\n0\r\n\r\n"
    assert list(answering(CHUNKED + chunks).items(a_stream())) == ["one", "two", "three"]


def test_only_a_line_feed_ends_a_line(answering: Answering) -> None:
    text = "a\u2028b\x0bc\n".encode()
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)
    assert list(answering(CHUNKED + body).items(a_stream())) == ["a\u2028b\x0bc"]


def test_an_engine_that_goes_away_in_the_middle_is_unavailable(answering: Answering) -> None:
    lines = answering(CHUNKED + b"4\r\none\n\r\n5\r\ntw").items(a_stream())
    assert next(lines) == "one"
    with pytest.raises(EngineUnavailable):
        next(lines)


@pytest.mark.parametrize(
    "answer", [b"", PLAIN[:-1], b"not HTTP at all\r\n\r\n"], ids=["none", "cut", "another protocol"]
)
def test_what_is_no_answer_is_an_engine_that_is_unavailable(answering: Answering, answer: bytes) -> None:
    with pytest.raises(EngineUnavailable):
        answering(answer).send(a_call())


@pytest.mark.parametrize("asks", [lambda http: http.send(a_call()), lambda http: next(http.items(a_stream()))])
def test_the_error_in_an_answer_is_raised(answering: Answering, asks: Callable[[Http], object]) -> None:
    body = b'{"error": {"kind": "not_found", "message": "there is no API named iris"}}'
    head = b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n" % len(body)
    with pytest.raises(NotFound, match="no API named iris"):
        asks(answering(head + body))


def test_nobody_there_is_an_engine_that_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="not running"):
        Http(HomeWay(tmp_path / "engine.sock")).send(a_call())


def test_an_engine_that_takes_too_long_is_said_to(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="hw") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "engine.sock"
        listener.bind(str(path))
        listener.listen()  # takes the connection and never answers
        with pytest.raises(TimedOut):
            Http(HomeWay(path)).send(a_call(timeout_s=0.05))
