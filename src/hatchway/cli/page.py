"""The live page of `get NAME --watch`: charts, what moves and why, what is wrong, and the newest log lines. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from hatchway.cli.board import VERDICT_STYLES, error_cell, error_share, latest, rate_now, with_clock
from hatchway.cli.charts import Values, bar, chart, format_ms, format_rate, mean
from hatchway.cli.looks import Page
from hatchway.cli.output import Cell, aligned, format_age, format_bytes, printable, status_cell, to_text
from hatchway.cli.screen import Size
from hatchway.cli.verdicts import drifting, verdict_cell, what_happened

if TYPE_CHECKING:
    from rich.text import Text

    from hatchway.spec.status import ApiStatus, LogLine
    from hatchway.spec.timeline import Timeline

WIDE = 120  # characters: then three charts stand side by side, else two
CHART_HEIGHTS = (8, 4)  # on a terminal of at least TALL lines, and on a smaller one
TALL = 40
SMALLEST_WITH_CHARTS = 18  # lines
GAP = "  "
LEAST_LOG_LINES = (12, 4)  # on such terminals
BAR_WIDTH = 20
LEVEL_STYLES = {"ERROR": "red", "CRITICAL": "red", "WARNING": "yellow", "DEBUG": "dim"}


def page_lines(page: Page, size: Size, now: float) -> list[Text]:
    """At most `size.height` lines. What has no room is cut at its end, of the log at its beginning."""
    is_tall = size.height >= TALL
    lines = [*_head(page, size, now), *_charts(page.timeline, size)]
    sections = [
        Section("replicas", _replicas(page.api, size.width, now)),
        Section("drift", _drift(page, size.width, now)),
        Section("scaling", _scaling(page, size.width, now)),
    ]
    spacing = [to_text("")] if is_tall else []
    titled = len(spacing) + 1
    filled = [section for section in sections if section.lines]
    room = size.height - len(lines) - LEAST_LOG_LINES[not is_tall] - titled
    for index, section in enumerate(filled):
        fits = max(1, room // (len(filled) - index) - titled)
        lines += [*spacing, *section.draw(fits)]
        room -= min(fits, len(section.lines)) + titled
    log = _log(page.lines, size.width, size.height - len(lines) - titled)
    return [*lines, *spacing, to_text(Cell("log", "bold")), *log][: size.height]


@dataclass(frozen=True)
class Section:
    title: str
    lines: Sequence[Text]

    def draw(self, room: int) -> list[Text]:
        """`room` lines of it below the title, which says how many have no room."""
        more = len(self.lines) - room
        hidden = Cell(f"  and {more} more" if more > 0 else "", "dim")
        return [to_text(Cell(self.title, "bold"), hidden), *self.lines[:room]]


# --- the head ------------------------------------------------------------------------------------------------
def _head(page: Page, size: Size, now: float) -> Iterator[Text]:
    api, timeline = page.api, page.timeline
    counts = api.replicas
    first = to_text(
        Cell(api.name, "bold"), "  ", status_cell(api.status),
        f"  {counts.ready} of {counts.desired} replicas ready  ", Cell(f"revision {api.revision}", "dim"),
    )  # fmt: skip
    yield with_clock(first, size, now)
    yield to_text(Cell(api.endpoint, "dim"))
    told = f"{api.reason}: {api.message}" if api.reason and api.message else api.reason or api.message
    if told:
        yield to_text(Cell(told.splitlines()[0], "yellow"))
    for alert in page.alerts:
        since = Cell(f"  since {format_age(alert.since, now)}", "dim")
        yield to_text(Cell(f"{alert.alert}: {alert.message}".splitlines()[0], "red"), since)
    if api.status == "updating":
        yield _progress(api)
    if timeline is not None:
        yield _figures(api, timeline)


def _progress(api: ApiStatus) -> Text:
    """How far an update is."""
    new = [one for one in api.replica_list if one.revision == api.revision]
    ready = sum(one.state == "ready" for one in new)
    old = sum(one.state == "ready" for one in api.replica_list) - ready
    share = ready / api.replicas.desired if api.replicas.desired else 0.0
    serving = f", {old} old still serve" if old else ""
    return to_text(
        "update ",
        Cell(bar(share, BAR_WIDTH), "yellow"),
        f" {ready} of {api.replicas.desired} new replicas ready{serving}",
    )


def _figures(api: ApiStatus, timeline: Timeline) -> Text:
    parts: list[str | Cell] = [Cell(format_rate(rate_now(timeline)), "bold"), " requests/s"]
    for name, values in (("p50", timeline.p50_ms), ("p95", timeline.p95_ms), ("p99", timeline.p99_ms)):
        value = latest(values[-_last_steps(timeline) :])
        parts += [f"  {name} ", Cell("–" if value is None else format_ms(value), "bold")]
    share = error_share(timeline)
    if share is not None:
        parts += ["  5xx ", error_cell(share)]
    queued = timeline.queued[-1] if timeline.queued else 0
    parts += ["  in flight ", Cell(str(api.in_flight), "bold")]
    return to_text(*parts, *([f" ({queued} queued)"] if queued else []))


def _last_steps(timeline: Timeline) -> int:
    """A minute: figures of before are not those of now."""
    return max(1, round(60 / timeline.step_s))


# --- charts --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Plot:
    title: str
    values: Values
    how: Callable[[Iterable[float]], float]  # one value of several
    show: Callable[[float], str]
    style: str


def _charts(timeline: Timeline | None, size: Size) -> Iterator[Text]:
    if timeline is None or not timeline.requests_per_s or size.height < SMALLEST_WITH_CHARTS:
        return
    plots = [
        Plot("requests/s", timeline.requests_per_s, mean, format_rate, "cyan"),
        Plot("p95 latency", timeline.p95_ms, statistics.median, format_ms, "magenta"),
        Plot("replicas ready", timeline.replicas_ready, mean, lambda count: f"{count:g}", "green"),
    ]
    plots = plots if size.width >= WIDE else plots[:2]
    width = (size.width - len(GAP) * (len(plots) - 1)) // len(plots)
    height = CHART_HEIGHTS[0] if size.height >= TALL else CHART_HEIGHTS[1]
    seconds = len(timeline.requests_per_s) * timeline.step_s
    span = f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
    yield to_text("")
    titles: list[str | Cell] = []
    for plot in plots:
        titles += [GAP if titles else "", Cell(f"{plot.title}, last {span}".ljust(width), "dim")]
    yield to_text(*titles)
    drawn = [chart(plot.values, width, height, plot.how, plot.show) for plot in plots]
    for row in zip(*drawn, strict=True):
        cells: list[str | Cell] = []
        for plot, line in zip(plots, row, strict=True):
            scale, edge, bars = line.partition("│")
            cells += [GAP if cells else "", Cell(scale + edge, "dim"), Cell(bars, plot.style)]
        yield to_text(*cells)


# --- sections ------------------------------------------------------------------------------------------------
def _replicas(api: ApiStatus, width: int, now: float) -> list[Text]:
    """Those in trouble first."""
    order = {"failed": 0, "starting": 1, "draining": 2, "ready": 3}
    rows: list[list[str | Cell]] = [
        [
            one.id,
            status_cell(one.state),
            format_age(one.started_at, now),
            format_bytes(one.rss_bytes),
            f"{one.restarts} restart{'s' * (one.restarts > 1)}" if one.restarts else "",
            one.revision if one.revision != api.revision else "",
            ": ".join(text for text in (one.reason, one.message.split("\n")[0]) if text),
        ]
        for one in sorted(api.replica_list, key=lambda one: (order[one.state], one.id))
    ]
    return aligned(_without_empty_columns(rows), width, "  ") if rows else []


def _drift(page: Page, width: int, now: float) -> list[Text]:
    """Fields that differ; when none does, the verdict in one line."""
    report = page.drift
    if report is None or report.verdict == "disabled":
        return []
    rows: list[list[str | Cell]] = [
        [name, Cell("drift", VERDICT_STYLES["drift"]), what_happened(drift, now)]
        for name, drift in drifting(report.fields).items()
    ]
    if not rows:
        rows = [[verdict_cell(report), f"{len(report.fields)} fields are watched" if report.fields else ""]]
    return aligned(_without_empty_columns(rows), width, "  ")


def _scaling(page: Page, width: int, now: float) -> list[Text]:
    """The newest decision and those that moved something; `hatchway why` has them all."""
    rows: list[list[str | Cell]] = [
        [Cell(format_age(step.at, now), "dim"), Cell(step.message, "bold" if step.before != step.replicas else "")]
        for index, step in enumerate(page.steps)
        if index == 0 or step.before != step.replicas
    ]
    return aligned(rows, width, "  ") if rows else []


def _log(lines: Sequence[LogLine], width: int, room: int) -> list[Text]:
    """The newest, the last one at the bottom."""
    shown = [_log_line(line) for line in lines[-room:]] if room > 0 else []
    for text in shown:
        text.truncate(width, overflow="ellipsis")
    return shown or [to_text(Cell("  nothing in the last 10 minutes", "dim"))]


def _log_line(line: LogLine) -> Text:
    message = "".join(printable([_gist(line.message)]))
    return to_text(
        Cell(f"  {line.time[11:19]} {line.replica} ", "dim"), Cell(message, LEVEL_STYLES.get(line.level, ""))
    )


def _gist(message: str) -> str:
    """The line of a message that says most: of a traceback the last one."""
    lines = message.strip().splitlines() or [""]
    return lines[-1] if lines[0].startswith("Traceback (") else lines[0]


def _without_empty_columns(rows: Sequence[Sequence[str | Cell]]) -> list[list[str | Cell]]:
    columns = [*zip_longest(*rows)]
    filled = [any(cell.text if isinstance(cell, Cell) else cell for cell in column) for column in columns]
    return [[cell for cell, keep in zip(row, filled, strict=True) if keep] for row in rows]
