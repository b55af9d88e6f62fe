"""What `hatchway.deploy()` shows while it goes on: one line that is rewritten in a notebook, else as the commands."""

from __future__ import annotations

import html
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Self

from hatchway.cli.output import Format, Output, printable
from hatchway.cli.progress import Lines, Region, Silent, open_progress

MAX_LOG_LINES = 12  # of the handler, the last ones


def is_notebook() -> bool:
    """Whether what we print can be rewritten by a front end: a Jupyter kernel runs us."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def open_output() -> Output:
    """Everything is a note, on stderr, so that a script's own output stays its own."""
    return Output(Format.table, sys.stdout, sys.stderr)


def open_shown(out: Output) -> Silent | Lines | Region | Cell:
    return Cell() if is_notebook() else open_progress(out)


class Cell(AbstractContextManager["Cell"]):
    """One output of a notebook's cell, rewritten in place: no widgets, so that it needs no extension."""

    def __init__(self) -> None:
        self._display: Any = None
        self._began = time.monotonic()
        self._mark = "⏳"
        self._line = "deploying …"
        self._warnings: list[str] = []
        self._logs: list[str] = []

    def __enter__(self) -> Self:
        display: Any = sys.modules["IPython"].display.display
        self._display = display(self._content(), raw=True, display_id=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self._mark, self._logs = "✓", []
            self._line += f", {time.monotonic() - self._began:.1f} s"
            self._show()

    def step(self, text: str, detail: str = "") -> None:
        self._line = f"{text} {detail}".rstrip()
        self._show()

    def warn(self, text: str) -> None:
        self._warnings.append(text)
        self._show()

    def phase(self, api: str, phase: str, reason: str) -> None:
        self._line = f"{api}: {phase} {reason}".rstrip()
        self._show()

    def log(self, api: str, replica: str, message: str) -> None:
        self._logs = [*self._logs, *printable(message.split("\n"))][-MAX_LOG_LINES:]
        self._show()

    def paused(self) -> AbstractContextManager[object]:
        return nullcontext()

    def _show(self) -> None:
        self._display.update(self._content(), raw=True)

    def _content(self) -> dict[str, str]:
        said = [f"! {line}" for line in self._warnings] + [f"| {line}" for line in self._logs]
        lines = [f"{self._mark} {self._line}", *said]
        styled = [
            html.escape(lines[0]),
            *(f"<span style='opacity:.6'>{html.escape(line)}</span>" for line in lines[1:]),
        ]
        return {"text/plain": "\n".join(lines), "text/html": f"<pre>{'<br>'.join(styled)}</pre>"}
