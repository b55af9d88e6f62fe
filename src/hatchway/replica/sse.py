"""Server-sent events: how an item of a stream is written as one. Pure.

An item may say more than its data: any object with the attributes `data`, `event`, `id` and `retry`, as the event
classes of sse-starlette and FastAPI have them, known by these so that neither is imported.
"""

from __future__ import annotations

import re
from typing import Any

from hatchway.replica.serialise import to_json

EVENT_STREAM = b"text/event-stream"

_ATTRIBUTES = ("data", "event", "id", "retry")
_LINE_END = re.compile(r"\r\n|\r|\n")
_PLAIN = (str, bytes, bytearray, memoryview, dict, list, tuple, int, float, type(None))


def is_event(item: Any) -> bool:
    return not isinstance(item, _PLAIN) and all(hasattr(item, name) for name in _ATTRIBUTES)


def encode_event(item: Any) -> bytes:
    """A string is the data as it stands, line by line; an event its fields; anything else JSON.

    Raises NotSerialisable.
    """
    if not is_event(item):
        return (_data_lines(item) + "\n").encode("utf-8", "replace")
    lines = [f": {line}\n" for line in _lines(getattr(item, "comment", None))]
    lines += [f"event: {_in_one_line(item.event)}\n"] if item.event is not None else []
    lines += [f"id: {_in_one_line(item.id)}\n"] if item.id is not None else []
    lines += [f"retry: {int(item.retry)}\n"] if item.retry is not None else []
    data = item.data if item.data is not None else getattr(item, "raw_data", None)
    lines += [_data_lines(data)] if data is not None else []
    return ("".join(lines) + "\n").encode("utf-8", "replace")


def encode_error(error: dict[str, str]) -> bytes:
    """The last event of a stream that failed: what the body of an error answer would be, under the name "error"."""
    return b"event: error\ndata: " + to_json({"error": error}) + b"\n\n"


def _data_lines(data: Any) -> str:
    text = data if isinstance(data, str) else to_json(data).decode()
    return "".join(f"data: {line}\n" for line in _LINE_END.split(text))


def _lines(text: str | None) -> list[str]:
    return [] if text is None else _LINE_END.split(text)


def _in_one_line(value: object) -> str:
    """A line end would begin a field of its own, and an id with NUL is ignored by clients."""
    return re.sub(r"[\r\n\0]", " ", str(value))
