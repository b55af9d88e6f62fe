"""Everything a replica says, as one JSON record per line with the keys of contract.py.

Prints, log records and our own lines all end here; each is written with one os.write, so that lines of threads and
processes that append to the same file never mix. The id of the request that was being answered comes from a context
variable that also reaches the threads of sync handlers.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import sys
import threading
import time
import traceback
from contextvars import ContextVar
from types import TracebackType

import orjson

from hatchway.contract import LOG_LEVEL, LOG_MESSAGE, LOG_REQUEST_ID, LOG_STREAM, LOG_TIME, LOG_TRACE_ID

LONGEST_MESSAGE_CHARS = 64 * 1024

current_request_id: ContextVar[str | None] = ContextVar("hatchway_request_id", default=None)
current_trace_id: ContextVar[str | None] = ContextVar("hatchway_trace_id", default=None)  # None: it is not traced


class Log:
    """Writes records to a file descriptor. A log that cannot be written never breaks a request."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(
        self, level: str, stream: str, message: str, request_id: str | None = None, trace_id: str | None = None
    ) -> None:
        """One record; a message above 64 KiB becomes several."""
        for start in range(0, len(message) or 1, LONGEST_MESSAGE_CHARS):
            record = {LOG_TIME: _timestamp(time.time()), LOG_LEVEL: level, LOG_STREAM: stream}
            if request_id is not None:
                record[LOG_REQUEST_ID] = request_id
            if trace_id is not None:
                record[LOG_TRACE_ID] = trace_id
            record[LOG_MESSAGE] = message[start : start + LONGEST_MESSAGE_CHARS]
            self._append(_encode(record))

    def say(self, level: str, message: str, request_id: str | None = None, trace_id: str | None = None) -> None:
        """A line of our own."""
        self.write(level, "replica", message, request_id, trace_id)

    def redirect(self, fd: int) -> None:
        """Write there from now on; whoever holds this log does, too."""
        os.dup2(fd, self._fd, inheritable=False)

    def _append(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError:
            return  # the disk is full or the file is gone


class LineWriter(io.TextIOBase):
    """Stands in for sys.stdout or sys.stderr: whole lines become records. A carriage return ends a line too."""

    def __init__(self, log: Log, stream: str, level: str, fd: int) -> None:
        super().__init__()
        self._log = log
        self._stream = stream
        self._level = level
        self._fd = fd
        self._partial = threading.local()  # unfinished line, and the request that began it
        self.buffer = _Bytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # io declares an attribute
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # io declares an attribute
        return "replace"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def reconfigure(self, **options: object) -> None:
        """Programs set the encoding of their output; ours is fixed."""

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        request_id, trace_id = current_request_id.get(), current_trace_id.get()
        pending: str = getattr(self._partial, "text", "")
        if pending and self._partial.request_id != request_id:
            self.flush()
            pending = ""
        *lines, rest = (pending + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for line in lines:
            if line:
                self._log.write(self._level, self._stream, line, request_id, trace_id)
        self._partial.text, self._partial.request_id, self._partial.trace_id = rest, request_id, trace_id
        if len(rest) >= LONGEST_MESSAGE_CHARS:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Write an unfinished line: what a process printed must not be lost when it dies."""
        pending: str = getattr(self._partial, "text", "")
        if pending:
            self._partial.text = ""
            self._log.write(self._level, self._stream, pending, self._partial.request_id, self._partial.trace_id)


class _Bytes(io.RawIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, text: LineWriter) -> None:
        super().__init__()
        self._text = text

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def write(self, data: object, /) -> int:
        content = bytes(data)  # type: ignore[call-overload]  # any buffer
        self._text.write(content.decode("utf-8", "replace"))
        return len(content)

    def flush(self) -> None:
        self._text.flush()


class RecordHandler(logging.Handler):
    """Turns log records of any library into ours."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except Exception:  # noqa: BLE001 (a bad format string of the user's must not fail the request)
            self.handleError(record)
            return
        level = record.levelname if record.levelname in _LEVELS else _nearest_level(record.levelno)
        self._log.write(level, "logging", message, current_request_id.get(), current_trace_id.get())


def take_records(log: Log, level: str) -> None:
    """What `logging` is told goes to `log`; a crash of the interpreter shows where its threads were."""
    handler = RecordHandler(log)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    faulthandler.enable(file=2)


def install(level: str) -> Log:
    """Take over stdout, stderr, logging and uncaught exceptions of this process."""
    log = Log(os.dup(1))
    sys.stdout = LineWriter(log, "stdout", "INFO", 1)
    sys.stderr = LineWriter(log, "stderr", "WARNING", 2)
    take_records(log, level)

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            name = args.thread.name if args.thread else "?"
            text = format_exception(args.exc_type, args.exc_value, args.exc_traceback)
            message = f"Exception in thread {name}:\n{text}"
            log.write("ERROR", "stderr", message, current_request_id.get(), current_trace_id.get())

    threading.excepthook = uncaught_in_thread
    return log


def leave_logging_to_the_user() -> None:
    """If the user's code put its own handlers on the root logger, ours would write every record twice."""
    root = logging.getLogger()
    if any(not isinstance(handler, RecordHandler) for handler in root.handlers):
        root.handlers = [handler for handler in root.handlers if not isinstance(handler, RecordHandler)]


def format_exception(kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> str:
    """The traceback as text, without our own frames at its beginning."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OUR_FOLDER):
        trace = trace.tb_next
    return "".join(traceback.format_exception(kind, value, trace)).rstrip("\n")


_OUR_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR"})


def _nearest_level(number: int) -> str:
    if number >= logging.ERROR:
        return "ERROR"
    if number >= logging.WARNING:
        return "WARNING"
    return "INFO" if number >= logging.INFO else "DEBUG"


def _timestamp(now: float) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{seconds}.{int(now * 1000) % 1000:03d}Z"


def _encode(record: dict[str, str]) -> bytes:
    try:
        return orjson.dumps(record) + b"\n"
    except TypeError:  # lone surrogates
        clean = {key: value.encode("utf-8", "backslashreplace").decode() for key, value in record.items()}
        return orjson.dumps(clean) + b"\n"
