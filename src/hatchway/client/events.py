"""Answers that go on, read line by line: server-sent events and lines of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hatchway.errors import from_dict
from hatchway.spec.status import ApiStatus, LogLine


@dataclass(frozen=True)
class Deleted:
    """The API that was watched is gone."""


class Events:
    """Server-sent events, line by line."""

    def __init__(self) -> None:
        self._event = ""
        self._data: list[str] = []

    def feed(self, line: str) -> ApiStatus | LogLine | Deleted | None:
        """The event that a line completes; None for the rest. Raises the error that the engine sent."""
        if line.startswith("event:"):
            self._event = line[6:].strip()
        elif line.startswith("data:"):
            self._data.append(line[5:].strip())
        elif not line and self._event:
            event, data = self._event, "\n".join(self._data)
            self._event, self._data = "", []
            if event == "status":
                return ApiStatus.model_validate_json(data)
            if event == "log":
                return LogLine.model_validate_json(data)
            if event == "deleted":
                return Deleted()
            if event == "error":
                raise from_dict(json.loads(data))
        return None


def log_line(text: str) -> LogLine | None:
    """None for the empty lines that keep a stream alive. Raises the error that the engine put at the end of one."""
    if not text.strip():
        return None
    found = json.loads(text)
    if "error" in found and "replica" not in found:
        raise from_dict(found["error"])
    return LogLine.model_validate(found)
