"""Heads of requests from clients, and what the gateway would make of them. Pure.

A connection carries one request: what follows its head is passed on unread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from hatchway.contract import (
    HEADER_API,
    HEADER_ATTEMPT,
    HEADER_ENDPOINT,
    HEADER_MAX_BODY,
    HEADER_ORIGIN,
    HEADER_REQUEST_ID,
    MAX_REQUEST_ID_CHARS,
)

MAX_HEAD_BYTES = 64 * 1024
HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(rb"(?:\A|\r\n\r\n)HTTP/1\.[01] (\d{3})\b")

_REQUEST_ID = HEADER_REQUEST_ID.encode()
# Only a gateway says these.
_GATEWAYS = frozenset(
    name.encode() for name in (HEADER_API, HEADER_ATTEMPT, HEADER_ENDPOINT, HEADER_MAX_BODY, HEADER_ORIGIN)
)


@dataclass(frozen=True)
class RequestHead:
    """The first lines of a request. `target` is a path with its query: "/iris?verbose=1"."""

    method: str
    target: str
    version: str
    fields: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def parse(cls, head: bytes) -> RequestHead:
        """`head` is without the empty line. Raises ValueError when it is no HTTP."""
        line, *rest = head.split(b"\r\n")
        method, target, version = line.decode("latin-1").split(" ")
        if not method.isalpha() or not version.startswith("HTTP/1."):
            raise ValueError(f"not a request of HTTP/1.1: {line[:100]!r}")
        fields = []
        for text in rest:
            name, colon, value = text.partition(b":")
            if not colon or not name or name != name.strip():
                raise ValueError(f"not a header: {text[:100]!r}")
            fields.append((name.lower(), value.strip()))
        return cls(method, _origin_form(target), version, tuple(fields))

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def request_id(self) -> str:
        """The client's, or "" when it gives none that can be used."""
        text = dict(self.fields).get(_REQUEST_ID, b"").decode("latin-1")
        return text if text.isascii() and text.isprintable() and len(text) <= MAX_REQUEST_ID_CHARS else ""

    def to_replica(self, endpoint: str, client: str) -> bytes:
        """The head as a replica behind the gateway gets it, without `endpoint`, and with nothing to follow it."""
        rest = self.target[len(endpoint.rstrip("/")) :]
        target = rest if rest.startswith("/") else f"/{rest}"
        replaced = set(_GATEWAYS)
        added = [(HEADER_ENDPOINT.encode(), endpoint.encode()), (b"x-forwarded-for", client.encode())]
        if not any(name == b"upgrade" for name, _ in self.fields):
            replaced.add(b"connection")
            added.append((b"connection", b"close"))
        kept = [(name, value) for name, value in self.fields if name not in replaced]
        lines = [f"{self.method} {target} {self.version}".encode("latin-1")]
        return b"\r\n".join([*lines, *(b"%b: %b" % field for field in [*kept, *added]), b"", b""])


def find_endpoint(path: str, endpoints: Iterable[str]) -> str | None:
    """The longest endpoint that matches whole segments of `path`, as at the gateway: /iris is not in /iris2."""
    fitting = [one for one in endpoints if one == "/" or path == one or path.startswith(f"{one}/")]
    return max(fitting, key=len, default=None)


def make_error(status: HTTPStatus, kind: str, message: str, request_id: str) -> bytes:
    """A whole answer of our own, in the form of all errors that callers see."""
    body = json.dumps({"error": {"kind": kind, "message": message, "request_id": request_id}}).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-request-id: {request_id}",
        "connection: close",
        "",
        "",
    )
    return "\r\n".join(head).encode() + body


def status_of(answer: bytes) -> int | None:
    """The status of an answer that begins so, after interim ones such as 100; None when it is not there yet."""
    statuses = (int(found[1]) for found in _STATUS.finditer(answer))
    return next((status for status in statuses if status >= 200 or status == HTTPStatus.SWITCHING_PROTOCOLS), None)


def _origin_form(target: str) -> str:
    """`/path?query`, also of a request that names the whole URL."""
    if target.startswith("/"):
        return target
    _, scheme, rest = target.partition("://")
    slash = rest.find("/")
    return rest[slash:] if scheme and slash >= 0 else "/"
