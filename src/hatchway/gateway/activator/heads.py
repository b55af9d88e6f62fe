"""The heads of requests and answers, read and rewritten. Pure.

Only Envoy and our replicas write them, so they are well formed: this is no parser for strangers. Bodies are never
looked at: a connection carries one request and one answer, and what follows a head is passed on as it is.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus

from hatchway.contract import (
    HEADER_API,
    HEADER_ATTEMPT,
    HEADER_HELD,
    HEADER_OVERLOADED,
    HEADER_REQUEST_ID,
    HEADER_TIMEOUT,
    MAX_REQUEST_ID_CHARS,
)
from hatchway.gateway.activator.terms import Terms

MAX_HEAD_BYTES = 128 * 1024  # Envoy lets 60 KiB through
HEAD_END = b"\r\n\r\n"

_API, _ATTEMPT, _HELD, _OVERLOADED, _REQUEST_ID, _TIMEOUT = (
    name.encode()
    for name in (HEADER_API, HEADER_ATTEMPT, HEADER_HELD, HEADER_OVERLOADED, HEADER_REQUEST_ID, HEADER_TIMEOUT)
)

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class RequestHead:
    """A request as Envoy sent it."""

    line: bytes  # "POST /path HTTP/1.1"
    fields: Fields
    terms: Terms
    patience_s: float  # from now to the first byte of the answer; inf: no limit

    @classmethod
    def parse(cls, head: bytes) -> RequestHead:
        """`head` is without the empty line. Raises ValueError."""
        line, fields = _split(head)
        values = dict(fields)
        terms = Terms.from_header(values.get(_API, b"").decode())
        return cls(line, fields, terms, _patience_s(values.get(_TIMEOUT), terms.timeout_s))

    @property
    def request_id(self) -> str:
        return dict(self.fields).get(_REQUEST_ID, b"").decode("latin-1")[:MAX_REQUEST_ID_CHARS]

    def to_replica(self, left_s: float, *, held_s: float = 0.0, n_refused: int = 0) -> bytes:
        """What the replica is sent, with `left_s` seconds left for the answer, after waiting here for `held_s`.

        To it this is the first attempt: a later one may not be refused in the way that lets it wait here again.
        """
        replaced = {_ATTEMPT, _TIMEOUT}
        added = [(_ATTEMPT, b"1"), (_HELD, b"%.6f %d" % (held_s, n_refused))]
        if not math.isinf(left_s):
            added.append((_TIMEOUT, b"%.3f" % max(left_s, 0.001)))
        if not any(name == b"upgrade" for name, _ in self.fields):
            replaced.add(b"connection")
            added.append((b"connection", b"close"))
        return _join(self.line, [field for field in self.fields if field[0] not in replaced], added)


@dataclass(frozen=True)
class AnswerHead:
    """An answer as a replica sent it."""

    line: bytes  # "HTTP/1.1 200 OK"
    status: int
    fields: Fields

    @classmethod
    def parse(cls, head: bytes) -> AnswerHead:
        """`head` is without the empty line. Raises ValueError."""
        line, fields = _split(head)
        return cls(line, int(line.partition(b" ")[2][:3]), fields)

    @property
    def is_interim(self) -> bool:
        """Another head follows."""
        return 100 <= self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS

    @property
    def is_refusal(self) -> bool:
        """The replica is full and the handler has seen nothing of the request."""
        return self.status == HTTPStatus.SERVICE_UNAVAILABLE and any(name == _OVERLOADED for name, _ in self.fields)

    def to_caller(self) -> bytes:
        """What Envoy is sent. It must not try a refused request elsewhere: that was done here."""
        replaced = {_OVERLOADED}
        added = []
        if self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            replaced.add(b"connection")
            added.append((b"connection", b"close"))
        return _join(self.line, [field for field in self.fields if field[0] not in replaced], added)


def make_error(status: HTTPStatus, kind: str, message: str, request_id: str) -> bytes:
    """A whole answer of the activator's own, in the form of all errors that callers see."""
    body = json.dumps({"error": {"kind": kind, "message": message, "request_id": request_id}}).encode()
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        fields.append((b"retry-after", b"1"))
    return _join(b"HTTP/1.1 %d %b" % (status, status.phrase.encode()), fields, []) + body


def _patience_s(asked: bytes | None, limit_s: float) -> float:
    try:
        seconds = float(asked or "nan")
    except ValueError:
        return limit_s
    return limit_s if math.isnan(seconds) else min(limit_s, seconds)


def _split(head: bytes) -> tuple[bytes, Fields]:
    line, *rest = head.split(b"\r\n")
    fields = []
    for text in rest:
        name, _, value = text.partition(b":")
        fields.append((name.lower(), value.strip()))
    return line, tuple(fields)


def _join(line: bytes, fields: list[tuple[bytes, bytes]], added: list[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join([line, *(b"%b: %b" % field for field in [*fields, *added]), b"", b""])
