"""How the command line prints: table, JSON or YAML; a terminal or a pipe, decided once per command.

Results go to stdout; notes, progress and errors go to stderr, so that `-o json` is parseable whatever happens.
Colour and animation are for terminals only; NO_COLOR, COLUMNS and TERM=dumb are respected (by rich and here).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from hatchway.errors import HatchwayError

# Control characters but tab and line end, and marks that change the direction of text.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

GAP = "   "  # between the columns of a table
SMALLEST_COLUMN = 12  # a column is not shortened below this to fit a narrow terminal

STATUS_STYLES = {
    "live": "green",
    "ready": "green",
    "true": "green",
    "updating": "yellow",
    "starting": "yellow",
    "draining": "yellow",
    "deleting": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "false": "red",
    "stopped": "dim",
    "idle": "cyan",
}


class Format(StrEnum):
    table = "table"
    json = "json"
    yaml = "yaml"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="How to print the result.")]


@dataclass(frozen=True)
class Cell:
    """A table cell or a piece of a line; `style` is shown on a terminal that has colours."""

    text: str
    style: str = ""


class Output:
    """Where a command prints. Made once per command by `Output.open`."""

    def __init__(self, form: Format, stdout: TextIO, stderr: TextIO) -> None:
        self.form = form
        self._stdout = stdout
        self._stderr = stderr

    @classmethod
    def open(cls, form: Format = Format.table) -> Output:
        return cls(form, sys.stdout, sys.stderr)

    @property
    def is_table(self) -> bool:
        return self.form is Format.table

    @cached_property
    def console(self) -> Console:
        return _console(self._stdout)

    @cached_property
    def notes(self) -> Console:
        """Stderr: for what is not the result."""
        return _console(self._stderr)

    def data(self, value: object) -> None:
        """Print models, lists and dicts as JSON or YAML, whole."""
        plain = to_plain(value)
        if self.form is Format.yaml:
            import yaml

            text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        else:
            text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
        self._write(text)

    def item(self, value: object) -> None:
        """Print one element of a stream: a line of JSON, or a YAML document."""
        plain = to_plain(value)
        if self.form is Format.yaml:
            import yaml

            self._write("---\n" + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
        else:
            self._write(json.dumps(plain, ensure_ascii=False) + "\n")

    def body(self, content_type: str, chunks: Iterable[bytes]) -> None:
        """Print an answer as it comes: bytes unchanged, but never binary ones on a terminal."""
        is_text = content_type.startswith("text/") or "json" in content_type or not content_type
        if self.console.is_terminal and not is_text:
            size = sum(len(chunk) for chunk in chunks)
            self.note(f"the answer is {format_bytes(size)} of {content_type}; redirect it to a file")
            return
        last = b"\n"
        for chunk in chunks:
            self._stdout.buffer.write(chunk)
            self._stdout.buffer.flush()
            last = chunk or last
        if is_text and not last.endswith(b"\n"):
            self._write("\n")

    def line(self, *parts: str | Cell) -> None:
        self.console.print(to_text(*parts), soft_wrap=True)

    def print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True)

    def note(self, *parts: str | Cell) -> None:
        self.notes.print(to_text(*parts), soft_wrap=True)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str | Cell]], indent: str = "") -> None:
        for text in self.table_lines(headers, rows, indent):
            self.print(text)

    def table_lines(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[str | Cell]],
        indent: str = "",
        expendable: Sequence[str] = (),
    ) -> list[Text]:
        """Aligned columns. Fitted to a terminal's width: `expendable` ones go first, then cells are shortened."""
        width = self.console.width if self.console.is_terminal else None
        titles = [[Cell(header, "dim") for header in headers]] if headers else []
        table = [*titles, *rows]
        left = list(headers)
        for header in expendable:
            if width is None or line_width(table) + len(indent) <= width:
                break
            column = left.index(header)
            del left[column]
            table = [[*row[:column], *row[column + 1 :]] for row in table]
        return aligned(table, width, indent)

    def error(self, error: HatchwayError) -> None:
        """What is wrong, each problem on its line, then what to do."""
        self.note(Cell("error: ", "bold red"), error.message)
        for problem in getattr(error, "problems", ()):
            if problem not in error.message:
                self.note("  ", problem)
        if error.hint:
            self.note(Cell("hint: ", "bold"), error.hint)

    def _write(self, text: str) -> None:
        self._stdout.write(text)
        self._stdout.flush()


def to_plain(value: object) -> Any:
    """Pydantic models, at any depth of lists and dicts, as plain values."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    if isinstance(value, dict):
        return {str(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    return value


def to_text(*parts: str | Cell) -> Text:
    from rich.text import Text

    text = Text()
    for part in parts:
        cell = part if isinstance(part, Cell) else Cell(part)
        text.append(harmless(cell.text), cell.style or None)
    return text


def aligned(rows: Sequence[Sequence[str | Cell]], width: int | None, indent: str = "") -> list[Text]:
    """Rows as lines with aligned columns; the widest columns give way until a line fits into `width`."""
    from rich.text import Text

    texts = [[to_text(cell) for cell in row] for row in rows]
    widths = [max(text.cell_len for text in column) for column in zip(*texts, strict=True)]
    if width is not None:
        widths = _fit(widths, width - len(indent) - len(GAP) * (len(widths) - 1))
    lines = []
    for row in texts:
        row[:1] = [_without_middle(text, widths[0]) for text in row[:1]]
        for text, cells in zip(row, widths, strict=True):
            text.truncate(cells, overflow="ellipsis", pad=True)
        line = Text(indent) + Text(GAP).join(row)
        line.rstrip()
        if width is not None:
            line.truncate(width, overflow="ellipsis")  # still too long: a line that wraps is harder to read
        lines.append(line)
    return lines


def _without_middle(text: Text, cells: int) -> Text:
    """A name that is too long, with its beginning and its end: those of siblings often differ at the end."""
    if text.cell_len <= cells or cells < SMALLEST_COLUMN or not text.plain.isascii():
        return text
    tail = (cells - 1) // 2
    return text[: cells - 1 - tail] + "…" + text[-tail:]


def line_width(rows: Sequence[Sequence[str | Cell]]) -> int:
    """What a table takes when nothing is shortened, in cells of a terminal."""
    widths = [max(to_text(cell).cell_len for cell in column) for column in zip(*rows, strict=True)]
    return sum(widths) + len(GAP) * (len(widths) - 1)


def status_cell(word: str) -> Cell:
    return Cell(word, STATUS_STYLES.get(word, ""))


def format_bytes(count: int | None) -> str:
    """ "12 MiB": three digits at most; "" for an unknown number."""
    if count is None:
        return ""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"


def format_age(started: str | None, now: float) -> str:
    """ISO 8601 `started` as an age: 27s, 4m, 2h, 3d; "" when unknown."""
    from datetime import datetime

    if not started:
        return ""
    try:
        seconds = max(0, int(now - datetime.fromisoformat(started).timestamp()))
    except ValueError:
        return started
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def format_moment(moment: str, now: float) -> str:
    """ISO 8601 `moment` on the clock of this place: "14:05", with the date when it is half a day or more from `now`."""
    from datetime import datetime

    try:
        local = datetime.fromisoformat(moment).astimezone()
    except ValueError:
        return moment
    is_near = abs(local.timestamp() - now) < 12 * 3600
    return local.strftime("%H:%M" if is_near else "%Y-%m-%d %H:%M")


def harmless(text: str) -> str:
    """Without what drives a terminal or turns its text around: errors and reasons hold what users' code says."""
    return text if text.isprintable() else _CONTROLS.sub("", text)


def printable(lines: Iterable[str]) -> Iterable[str]:
    """Without control characters but tabs: what a handler prints must not drive the user's terminal."""
    for line in lines:
        yield "".join(char for char in line if char == "\t" or char.isprintable())


def _fit(widths: list[int], available: int) -> list[int]:
    widths = list(widths)
    while sum(widths) > available and max(widths) > SMALLEST_COLUMN:
        widest = widths.index(max(widths))
        widths[widest] -= 1
    return widths


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)
