"""What `hatchway dev` shows: where to call, one line per request, what became of a save. All of it on stderr."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from hatchway.cli.curl import curl_line, documented_example
from hatchway.cli.models import show_model
from hatchway.cli.output import Cell, Output, printable
from hatchway.errors import HatchwayError

if TYPE_CHECKING:
    from hatchway.backends import Workload
    from hatchway.client import ProgressEvent
    from hatchway.dev.front import Answered
    from hatchway.dev.process import DevReplica

SHOWN_CHANGES = 3
STATUS_STYLES = {2: "green", 3: "cyan", 4: "yellow", 5: "red"}  # by the first digit


class Screen:
    """The terminal of a session."""

    def __init__(self, out: Output, watched: Path) -> None:
        self._out = out
        self._watched = watched
        self._has_told_watched = False

    def loading(self, workload: Workload, changed: Collection[str]) -> None:
        why = f": {_list(changed)} changed" if changed else ""
        self._out.note(Cell(f"loading {workload.api}{why}", "dim"))

    def read(self, event: ProgressEvent) -> None:
        from hatchway.client import DownloadingPython, ModelSeen

        match event:
            case DownloadingPython():
                self._out.note(Cell(f"downloading Python {event.version}", "dim"))
            case ModelSeen():
                show_model(self._out, event.model, event.skews, is_trusted=event.is_trusted)

    def building(self, line: str) -> None:
        self._out.note(Cell(f"  {line}", "dim"))

    def ready(self, replica: DevReplica, port: int, took_s: float, *, is_first: bool) -> None:
        workload = replica.workload
        if not is_first:
            self._out.note(Cell(f"{workload.api} is loaded again", "green"), Cell(f"  {took_s:.1f} s", "dim"))
            return
        url = f"http://127.0.0.1:{port}{workload.spec.endpoint}".rstrip("/")
        self._out.note(
            Cell(f"{workload.api} is ready", "bold green"),
            f"  {url}",
            Cell(f"  {replica.title}, Python {workload.interpreter.version}, {took_s:.1f} s", "dim"),
        )
        spec = {"handler": workload.spec.handler.model_dump(mode="json")}
        self._out.note(f"  {curl_line(url, spec, documented_example(replica.document))}")
        if not self._has_told_watched:
            self._has_told_watched = True
            self._out.note(Cell(f"  watching {self._watched}; Ctrl-C ends", "dim"))

    def failed(self, name: str, error: Exception, *, still_answers: bool) -> None:
        why = f": {getattr(error, 'reason', error)}"
        if isinstance(error, HatchwayError):
            self._out.error(error)
            why = ""
        rest = "what was loaded before still answers" if still_answers else "no request is answered"
        who = f"{name} cannot be loaded" if name else "the project cannot be read"
        self._out.note(Cell(f"{who}{why}", "red"), f"; {rest}. Waiting for the next save.")

    def ended(self, name: str, reason: str) -> None:
        self._out.note(Cell(f"{name} has ended: {reason}", "red"), ". Waiting for the next save.")

    def passed_over(self, changed: Collection[str]) -> None:
        self._out.note(
            Cell(
                f"{_list(changed)} changed while loading, and is left at that; .hatchwayignore leaves files out", "dim"
            )
        )

    def answered(self, answered: Answered) -> None:
        status = str(answered.status) if answered.status else "left"
        style = STATUS_STYLES.get(answered.status // 100, "dim")
        took = f"{answered.took_s * 1000:.1f} ms"
        (what,) = printable([f"{answered.method} {answered.target}"])  # a request must not drive the terminal
        self._out.note(f"{what}  ", Cell(status, style), Cell(f"  {took}", "dim"))

    def stopping(self) -> None:
        self._out.note(Cell("\nstopping", "dim"))  # the terminal has shown ^C on this line


def _list(paths: Collection[str]) -> str:
    shown = sorted(paths)[:SHOWN_CHANGES]
    more = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
