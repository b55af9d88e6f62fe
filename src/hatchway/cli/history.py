"""`hatchway history`: who did what to an API, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hatchway.cli.connect import engine_of
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Cell, Format, FormatOption, Output, format_moment

if TYPE_CHECKING:
    from rich.text import Text

    from hatchway.spec.status import HistoryEntry

EXAMPLES = ("hatchway history iris", "hatchway history iris -o json")

EXPENDABLE = ("COMMIT", "REVISION")
OUTCOME_STYLES = {"live": "green", "failed": "red", "pending": "yellow", "replaced": "dim"}
WITH_TIME = ("live", "failed")


def history(name: NameArgument, output: FormatOption = Format.table) -> None:
    """Show who did what to an API, when, and what became of it; the newest first."""
    out = Output.open(output)
    wanted = api_name(name)
    with engine_of(wanted, out) as client:
        entries = client.history(wanted)
    if not out.is_table:
        out.data(list(entries))
        return
    for line in history_lines(out, entries, time.time()):
        out.print(line)


def history_lines(out: Output, entries: Sequence[HistoryEntry], now: float) -> Iterator[Text]:
    """A line per entry, and one more for each further change and each line that says why it failed."""
    headers = ["WHEN", "WHO", "WHAT", "REVISION", "COMMIT", "OUTCOME", "CHANGES"]
    rows: list[list[str | Cell]] = []
    for entry in entries:
        first, *rest = [*entry.changes, *_why(entry)] or [""]
        rows.append(
            [
                format_moment(entry.at, now),
                entry.by,
                entry.action.replace("_", " "),
                entry.revision,
                (entry.git_commit or "")[:12],
                Cell(_outcome(entry), OUTCOME_STYLES.get(entry.outcome, "")),
                first,
            ]
        )
        rows.extend([*[""] * 6, line] for line in rest)
    yield from out.table_lines(headers, rows, expendable=EXPENDABLE)


def _outcome(entry: HistoryEntry) -> str:
    took = f" after {entry.took_s:.1f} s" if entry.outcome in WITH_TIME and entry.took_s is not None else ""
    return f"{entry.outcome}{took}"


def _why(entry: HistoryEntry) -> list[str]:
    return f"{entry.reason}: {entry.message}".splitlines() if entry.reason else []
