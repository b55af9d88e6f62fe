"""The live list of `get --watch`: a row per API, as many as the terminal has room for. Pure."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING

from hatchway.cli.charts import format_ms, format_rate, sparkline
from hatchway.cli.looks import Board
from hatchway.cli.output import STATUS_STYLES, Cell, aligned, line_width, status_cell, to_text
from hatchway.cli.screen import Size

if TYPE_CHECKING:
    from rich.text import Text

    from hatchway.spec.status import ApiStatus
    from hatchway.spec.timeline import Sparkline, Timeline

SPARK_WIDTHS = (40, 20, 10)  # the widest that fits
NOW_S = 10.0  # of a rate that is called the present one
ERRORS_S = 300.0  # over which errors are counted
BAD_ERROR_SHARE = 0.01
VERDICT_STYLES = {"ok": "green", "drift": "bold yellow"}
DRIFT_WORDS = {"true": "drift", "false": "ok"}  # what the condition says
HEADERS = ("NAME", "STATUS", "REPLICAS", "REQUESTS/S", "", "P95", "5XX", "DRIFT", "REVISION", "REASON")
EXPENDABLE = ("REVISION", "REASON", "P95", "DRIFT")  # in this order, when the terminal is narrow


def board_lines(board: Board, size: Size, now: float) -> list[Text]:
    if not board.apis:
        return [to_text("nothing is deployed; start with: hatchway init, hatchway deploy")]
    room = max(1, size.height - 3)  # a line of counts, one of titles, and one to say what has no room
    shown = select(board, room)
    left_out = len(board.apis) - len(shown)
    lines = [_counts(board, size, now), *_table(board, shown, size.width)]
    if left_out:
        lines.append(to_text(Cell(f"… and {left_out} more", "dim")))
    return lines


def select(board: Board, room: int) -> list[ApiStatus]:
    """Those that fit, by name: first whoever is in trouble, then whoever is asked most."""
    if len(board.apis) <= room:
        return list(board.apis)

    def interest(api: ApiStatus) -> tuple[bool, float, str]:
        is_calm = api.status in ("live", "idle", "stopped") and not api.reason
        return is_calm, -rate_now(board.sparklines.get(api.name)), api.name

    return sorted(sorted(board.apis, key=interest)[:room], key=lambda api: api.name)


def rate_now(timeline: Sparkline | Timeline | None) -> float:
    """Requests a second, on average over the last seconds."""
    if timeline is None or not timeline.requests_per_s:
        return 0.0
    steps = max(1, round(NOW_S / timeline.step_s))
    recent = timeline.requests_per_s[-steps:]
    return sum(recent) / len(recent)


def error_share(timeline: Sparkline | Timeline | None) -> float | None:
    """Of the requests of the last minutes; None when there were none."""
    if timeline is None:
        return None
    steps = max(1, round(ERRORS_S / timeline.step_s))
    requests = sum(timeline.requests_per_s[-steps:])
    return sum(timeline.errors_per_s[-steps:]) / requests if requests else None


def error_cell(share: float | None) -> Cell:
    if share is None:
        return Cell("")
    style = "bold red" if share >= BAD_ERROR_SHARE else "yellow" if share else "dim"
    return Cell(f"{100 * share:.2g}%", style)


def latest(values: Sequence[float | None]) -> float | None:
    """The last one that is known."""
    return next((value for value in reversed(values) if value is not None), None)


def _counts(board: Board, size: Size, now: float) -> Text:
    phases: Counter[str] = Counter(api.status for api in board.apis)
    parts: list[str | Cell] = [Cell(f"{len(board.apis)} API{'s' * (len(board.apis) != 1)}", "bold")]
    for phase, style in STATUS_STYLES.items():
        if phases[phase]:
            parts += ["  ", Cell(f"{phases[phase]} {phase}", style)]
    if board.alerts:
        parts += ["  ", Cell(f"{len(board.alerts)} alert{'s' * (len(board.alerts) != 1)}", "bold red")]
    return with_clock(to_text(*parts), size, now)


def with_clock(line: Text, size: Size, now: float) -> Text:
    """The time of day at the right, if there is room."""
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    gap = size.width - line.cell_len - len(clock)
    if gap > 1:
        line.append(" " * gap + clock, "dim")
    return line


def _table(board: Board, shown: Sequence[ApiStatus], width: int) -> list[Text]:
    """As many columns as fit, then as wide a line of requests as fits."""
    dropped: list[str] = []
    while True:
        for spark_width in SPARK_WIDTHS:
            table = _columns(board, shown, spark_width, dropped)
            if line_width(table) <= width:
                return aligned(table, width)
        if len(dropped) == len(EXPENDABLE):
            return aligned(table, width)  # names give way
        dropped.append(EXPENDABLE[len(dropped)])


def _columns(
    board: Board, shown: Sequence[ApiStatus], spark_width: int, dropped: Sequence[str]
) -> list[list[str | Cell]]:
    """The table with its titles, without empty columns and those that are dropped."""
    rows = [_row(board, api, spark_width) for api in shown]
    kept = [
        header not in dropped and any(cell.text if isinstance(cell, Cell) else cell for cell in column)
        for header, column in zip(HEADERS, zip(*rows, strict=True), strict=True)
    ]
    titles: list[str | Cell] = [Cell(header, "dim") for header in HEADERS]
    return [[*compress(row, kept)] for row in (titles, *rows)]


def _row(board: Board, api: ApiStatus, spark_width: int) -> list[str | Cell]:
    spark, timeline = board.sparklines.get(api.name), board.timelines.get(api.name)
    p95 = latest(timeline.p95_ms) if timeline is not None and rate_now(spark) else None
    verdict = next((DRIFT_WORDS.get(one.state, "") for one in api.conditions if one.type == "Drift"), "")
    counts = api.replicas
    return [
        Cell(api.name, "bold"),
        status_cell(api.status),
        Cell(f"{counts.ready}/{counts.desired}", "yellow" if counts.ready < counts.desired else ""),
        "" if spark is None else Cell(sparkline(spark.requests_per_s, spark_width), "cyan"),
        format_rate(rate_now(spark)) if spark is not None else "",
        "" if p95 is None else format_ms(p95),
        error_cell(error_share(spark)),
        Cell(verdict, VERDICT_STYLES.get(verdict, "dim")),
        Cell(api.revision, "dim"),
        api.reason,
    ]
