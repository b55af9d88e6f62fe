"""The log of a replica that a person watches, as under `hatchway dev`: plain lines on the terminal.

stdout and stderr stay what they are: prints appear as printed, and a debugger has the terminal to itself.
"""

from __future__ import annotations

import io
import os
import sys

from hatchway.replica.logs import Log, take_records

_COLOURS = {"ERROR": "\x1b[31m", "WARNING": "\x1b[33m", "DEBUG": "\x1b[2m"}
_RESET = "\x1b[0m"


class PlainLog(Log):
    """Writes "LEVEL message" for records; of our own lines only what went wrong."""

    def __init__(self, fd: int, *, is_coloured: bool) -> None:
        super().__init__(fd)
        self._is_coloured = is_coloured

    def write(
        self, level: str, stream: str, message: str, request_id: str | None = None, trace_id: str | None = None
    ) -> None:
        if stream == "replica" and level in ("INFO", "DEBUG"):
            return  # what the replica is about to do: whoever started it says so
        text = message if stream == "replica" else f"{level:<8}{message}"
        if self._is_coloured and level in _COLOURS:
            before, line_end, last = text.rpartition("\n")  # of a traceback, the last line says what happened
            text = f"{before}{line_end}{_COLOURS[level]}{last}{_RESET}"
        self._append(f"{text}\n".encode(errors="backslashreplace"))


def install(level: str) -> Log:
    """Log records, and what the replica has to say, go to stderr."""
    log = PlainLog(os.dup(2), is_coloured=has_colours())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # in a pipe, prints would wait for the buffer to fill
    take_records(log, level)
    return log


def has_colours() -> bool:
    return os.isatty(2) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
