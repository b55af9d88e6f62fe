"""From what a handler returns to an answer: a plain one to be sent at once, or something that is still to be run."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from hatchway.replica.connection import ExtraHeaders
from hatchway.replica.serialise import to_json

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
BYTES = b"application/octet-stream"
JSON_LINES = b"application/x-ndjson"


@dataclass(frozen=True)
class Plain:
    """An answer that is complete."""

    content_type: bytes
    body: bytes
    status: int = 200
    extra: ExtraHeaders | None = None


@dataclass(frozen=True)
class Pieces:
    """A generator of the handler's, sync or async, whose items are sent as they come."""

    generator: Any


@dataclass(frozen=True)
class Foreign:
    """A response object of Starlette's (by shape): an ASGI application that sends itself."""

    response: Any


Answer = Plain | Pieces | Foreign


def to_answer(result: Any) -> Answer:
    """Raises NotSerialisable."""
    if isinstance(result, (dict, list)):
        return Plain(JSON, to_json(result))
    if isinstance(result, str):
        return Plain(TEXT, result.encode("utf-8", "replace"))
    if isinstance(result, (bytes, bytearray, memoryview)):
        return Plain(BYTES, bytes(result))
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        return Pieces(result)
    if callable(result) and hasattr(result, "status_code") and hasattr(result, "raw_headers"):
        return Foreign(result)
    return Plain(JSON, to_json(result))


def to_piece(item: Any) -> tuple[bytes, bytes]:
    """(content type, bytes) of one item of a stream. Raises NotSerialisable."""
    if isinstance(item, str):
        return TEXT, item.encode("utf-8", "replace")
    if isinstance(item, (bytes, bytearray, memoryview)):
        return BYTES, bytes(item)
    return JSON_LINES, to_json(item) + b"\n"
