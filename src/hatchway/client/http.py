"""HTTP to a control API with what Python itself has, for programs that block.

A command spends its time on importing, and an HTTP library of its own would be a large part of that. Each question
has a connection of its own: on a unix socket it costs next to nothing, and none is ever found dead when it is used.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

from hatchway.client.calls import Call, Content, Stream
from hatchway.client.connection import ANSWER_TIMEOUT_S, raise_for
from hatchway.client.ways import Door, Way

T = TypeVar("T")

DEFAULT_PORTS = {"http": 80, "https": 443}


class Http:
    def __init__(self, way: Way) -> None:
        self._way = way

    def send(self, call: Call[T]) -> T:
        """Raises EngineUnavailable, TimedOut, or the error that the answer tells of."""
        content = call.content
        headers = dict(call.headers)
        if call.json is not None:
            text = json.dumps(call.json).encode()
            content = Content(len(text), lambda: iter((text,)))
            headers["content-type"] = "application/json"
        with self._ask(call.method, call.path, headers, content, call.timeout_s) as (_, answer):
            body = answer.read()
        return call.result(answer.status, body)

    def items(self, stream: Stream[T]) -> Iterator[T | None]:
        """What the lines of an answer that goes on say. Raises like `send`."""
        target = f"{stream.path}?{urlencode(stream.params)}"
        with self._ask("GET", target, {}, None, ANSWER_TIMEOUT_S) as (sock, answer):
            if answer.status >= 300:
                raise_for(answer.status, answer.read())
            if stream.is_endless:
                sock.settimeout(None)
            while line := answer.readline():
                yield stream.read(line.decode().rstrip("\r\n"))

    @contextmanager
    def _ask(
        self, method: str, target: str, headers: Mapping[str, str], content: Content | None, timeout_s: float
    ) -> Iterator[tuple[socket.socket, HTTPResponse]]:
        door = self._way.door()
        headers = {**self._way.headers(), **headers, "connection": "close"}
        if content is not None:
            headers["content-length"] = str(content.size_bytes)
        try:
            with connect(door, timeout_s) as sock:
                parts = urlsplit(door.url)
                connection = HTTPConnection(parts.netloc)
                connection.sock = sock
                with suppress(BrokenPipeError, ConnectionResetError):  # an answer may have come before all was sent
                    connection.request(
                        method, f"{parts.path}{target}", None if content is None else content.chunks(), headers
                    )
                with closing(connection.getresponse()) as answer:
                    yield sock, answer
        except TimeoutError as exc:
            raise self._way.too_late() from exc
        except (OSError, HTTPException) as exc:
            raise self._way.gone() from exc


def connect(door: Door, timeout_s: float) -> socket.socket:
    """Raises OSError."""
    if door.socket is not None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            sock.connect(str(door.socket))
        except OSError:
            sock.close()
            raise
        return sock
    parts = urlsplit(door.url)
    assert parts.hostname is not None
    sock = socket.create_connection((parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]), timeout_s)
    if parts.scheme != "https":
        return sock
    import ssl  # for addresses alone

    return ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
