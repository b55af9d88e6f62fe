"""HTTP over the engine's unix socket with what Python itself has, for programs that block.

A command spends its time on importing, and an HTTP library of its own would be a large part of that. Each question
has a connection of its own: on a unix socket it costs next to nothing, and none is ever found dead when it is used.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from hatchway.client.calls import Call, Stream
from hatchway.client.connection import ANSWER_TIMEOUT_S, HOST, gone, raise_for, too_late

T = TypeVar("T")


class UnixHttp:
    """`headers` go with every request."""

    def __init__(self, path: Path, headers: Mapping[str, str]) -> None:
        self._path = path
        self._headers = headers

    def send(self, call: Call[T]) -> T:
        """Raises EngineUnavailable, TimedOut, or the error that the answer tells of."""
        headers = {**self._headers, **call.headers}
        with self._ask(call.method, call.path, headers, call.json, call.timeout_s) as (_, answer):
            body = answer.read()
        return call.result(answer.status, body)

    def items(self, stream: Stream[T]) -> Iterator[T | None]:
        """What the lines of an answer that goes on say. Raises like `send`."""
        target = f"{stream.path}?{urlencode(stream.params)}"
        with self._ask("GET", target, self._headers, None, ANSWER_TIMEOUT_S) as (sock, answer):
            if answer.status >= 300:
                raise_for(answer.status, answer.read())
            if stream.is_endless:
                sock.settimeout(None)
            while line := answer.readline():
                yield stream.read(line.decode().rstrip("\r\n"))

    @contextmanager
    def _ask(
        self, method: str, target: str, headers: Mapping[str, str], content: Any, timeout_s: float
    ) -> Iterator[tuple[socket.socket, HTTPResponse]]:
        body = None if content is None else json.dumps(content).encode()
        if body is not None:
            headers = {**headers, "content-type": "application/json"}
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(timeout_s)
                sock.connect(str(self._path))
                connection = HTTPConnection(HOST)
                connection.sock = sock
                connection.request(method, target, body, {**headers, "connection": "close"})
                with closing(connection.getresponse()) as answer:
                    yield sock, answer
        except TimeoutError as exc:
            raise too_late() from exc
        except (OSError, HTTPException) as exc:
            raise gone() from exc
