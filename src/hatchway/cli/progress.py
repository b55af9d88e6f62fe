"""What a deploy shows while it goes on: a live region on a terminal, a line per change in a pipe, nothing for JSON.

    ⠹ iris            starting   Loading   3.1 s     one line per API, redrawn; the handler's log lines above it
    iris: starting Loading                           the same in a pipe

`Progress` is told what happens in plain words; `reporter` puts the client's events into them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from hatchway.cli.output import Cell, Output, aligned, format_bytes, printable, status_cell, to_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from hatchway.client import ProgressEvent

WORTH_A_LINE_BYTES = 16 * 1024 * 1024  # smaller files are read and stored before anybody could read the line
REFRESHES_PER_S = 10
ROOM_FOR_INTERRUPT = len("^C")  # a terminal shows it at the end of the last row, which must not wrap: it is redrawn
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_SPINNER = "|/-\\"
SETTLED = {"live": "✓", "idle": "✓", "stopped": "✓", "failed": "✗"}
PLAIN_SETTLED = {"live": "+", "idle": "+", "stopped": "+", "failed": "x"}


class Progress(Protocol):
    def step(self, text: str, detail: str = "") -> None:
        """What is done before an API can start: reading files, sending them. `detail` changes often."""

    def warn(self, text: str) -> None:
        """What the user should know, though it goes on."""

    def phase(self, api: str, phase: str, reason: str) -> None:
        """An API's status, as often as it is known."""

    def log(self, api: str, replica: str, message: str) -> None:
        """A line of a handler."""

    def paused(self) -> AbstractContextManager[object]:
        """While it lasts nothing is redrawn: somebody is asked something."""


@dataclass
class Row:
    phase: str
    reason: str
    since: float
    settled: float | None = None  # when it became live or failed


class Silent(AbstractContextManager["Silent"]):
    """For JSON and YAML."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        return None

    def step(self, text: str, detail: str = "") -> None: ...

    def warn(self, text: str) -> None: ...

    def phase(self, api: str, phase: str, reason: str) -> None: ...

    def log(self, api: str, replica: str, message: str) -> None: ...

    def paused(self) -> AbstractContextManager[object]:
        return nullcontext()


class Speakers:
    """Who said a line: the replica's id (which begins with its API's name) once an API has more than one."""

    def __init__(self) -> None:
        self._replicas: dict[str, set[str]] = {}

    def prefix(self, api: str, replica: str, *, one_api: bool) -> str:
        heard = self._replicas.setdefault(api, set())
        heard.add(replica)
        if len(heard) > 1:
            return f"{replica} | "
        return "| " if one_api else f"{api} | "


class Lines(AbstractContextManager["Lines"]):
    """For a pipe: a line per change, none repeated."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._shown: dict[str, tuple[str, str]] = {}
        self._speakers = Speakers()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        return None

    def step(self, text: str, detail: str = "") -> None:
        if self._shown.get("") != (text, ""):
            self._shown[""] = (text, "")
            self._out.note(text)

    def warn(self, text: str) -> None:
        self._out.note(Cell("warning: ", "bold yellow"), text)

    def phase(self, api: str, phase: str, reason: str) -> None:
        if self._shown.get(api) != (phase, reason):
            self._shown[api] = (phase, reason)
            self._out.note(f"{api}: {phase}{' ' if reason else ''}{reason}")

    def log(self, api: str, replica: str, message: str) -> None:
        prefix = self._speakers.prefix(api, replica, one_api=False)
        for line in printable(message.split("\n")):
            self._out.note(prefix, line)

    def paused(self) -> AbstractContextManager[object]:
        return nullcontext()


class Region(AbstractContextManager["Region"]):
    """For a terminal: a line per API that is redrawn, log lines running above."""

    def __init__(self, out: Output, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.live import Live

        self._out = out
        self._clock = clock
        self._started = clock()
        self._step = "deploying"
        self._rows: dict[str, Row] = {}
        self._speakers = Speakers()
        self._unicode = out.notes.encoding.lower().startswith("utf")
        self._live: Live = Live(
            console=out.notes,
            get_renderable=self.render,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,  # the result takes its place
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._live.stop()

    def step(self, text: str, detail: str = "") -> None:
        self._step = f"{text} {detail}"

    def warn(self, text: str) -> None:
        self._out.note(Cell("warning: ", "bold yellow"), text)

    def phase(self, api: str, phase: str, reason: str) -> None:
        now = self._clock()
        row = self._rows.setdefault(api, Row(phase, reason, now))
        row.phase, row.reason = phase, reason
        if phase not in SETTLED:
            row.settled = None
        elif row.settled is None:
            row.settled = now

    def log(self, api: str, replica: str, message: str) -> None:
        prefix = self._speakers.prefix(api, replica, one_api=len(self._rows) < 2)
        for line in printable(message.split("\n")):
            self._out.note(Cell(prefix, "dim"), Cell(line, "dim"))

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def render(self) -> RenderableType:
        from rich.console import Group

        now = self._clock()
        frames = SPINNER if self._unicode else PLAIN_SPINNER
        frame = frames[int((now - self._started) * REFRESHES_PER_S) % len(frames)]
        marks = SETTLED if self._unicode else PLAIN_SETTLED
        if not self._rows:
            return to_text(Cell(frame, "cyan"), " ", self._step)
        rows: list[list[str | Cell]] = []
        for name, row in self._rows.items():
            elapsed = (row.settled or now) - row.since
            mark = marks.get(row.phase, frame)
            rows.append(
                [
                    Cell(f"{mark} {name}", status_cell(row.phase).style),
                    status_cell(row.phase),
                    Cell(row.reason, "dim"),
                    Cell(f"{elapsed:.1f} s", "dim"),
                ]
            )
        return Group(*aligned(rows, self._out.notes.width - ROOM_FOR_INTERRUPT))


def reporter(progress: Progress) -> Callable[[ProgressEvent], None]:
    """What the client reports, told to `progress`."""
    from hatchway.client import DownloadingPython, Hashing, LocalPackages, LogSeen, StatusSeen, Uploading

    def report(event: ProgressEvent) -> None:
        match event:
            case Hashing(done, total) if total > WORTH_A_LINE_BYTES:
                progress.step(f"reading {format_bytes(total)} of project files", f"{100 * done // total} %")
            case DownloadingPython(version):
                progress.step(f"downloading Python {version}")
            case LocalPackages(api, names):
                progress.warn(
                    f"{api} runs on {', '.join(names)} as installed from this machine's files: "
                    "a change there makes no new revision"
                )
            case Uploading(name, size) if size > WORTH_A_LINE_BYTES:
                progress.step(f"storing {name} ({format_bytes(size)})")
            case StatusSeen(status):
                progress.phase(status.name, status.status, status.reason)
            case LogSeen(api, line):
                progress.log(api, line.replica, line.message)

    return report


def open_progress(out: Output) -> Silent | Lines | Region:
    if out.notes.is_terminal and not out.notes.is_dumb_terminal:
        return Region(out)
    return Lines(out) if out.is_table else Silent()
