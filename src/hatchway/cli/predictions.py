"""What `hatchway get NAME` shows of the API's predictions: the verdict, and the fields that matter."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hatchway.cli.output import Cell, Output, format_bytes, to_text
from hatchway.cli.verdicts import accepted_text, drifting, verdict_cell, what_happened

if TYPE_CHECKING:
    from rich.text import Text

    from hatchway.spec.monitoring import FieldReport, LogReport, MonitoringReport

SHOWN_FIELDS = 8
SHOWN_CLASSES = 4
SHOWN_CHARS = 32


def prediction_lines(out: Output, report: MonitoringReport) -> Iterator[Text]:
    """Nothing before the first request, and while nothing that was judged before is worth a line."""
    is_judged = report.verdict in ("ok", "drift") or bool(report.baseline.accepted)
    if not report.fields and report.log is None and not is_judged:
        return
    now = time.time()
    of = f" of {report.seen}" if report.sampled != report.seen else ""
    yield to_text("")
    yield to_text(Cell("predictions", "bold"), f"  of the last {_span(report.window_s)}: ", verdict_cell(report))
    rows = [_row(field, now) for field in shown_fields(report.fields)]
    if rows:
        yield from out.table_lines(("FIELD", "VALUES", "MISSING", "", "DRIFT"), rows, indent="  ")
    notes = [f"{report.sampled}{of} requests looked at"]
    if report.baseline.source is not None:
        source = {
            "data": "training data",
            "first_period": "the first period",
            "previous_revision": "the former revision",
            "accepted": "what was accepted",
        }
        notes.append(f"compared with {source[report.baseline.source]} ({report.baseline.count} records)")
    left = len(report.fields) - len(rows)
    if left:
        notes.append(f"{left} more fields: -o json")
    yield to_text("  ", Cell("; ".join(notes), "dim"))
    for change in report.baseline.accepted:
        if change.undone_at is None:
            yield to_text("  ", Cell(accepted_text(change, now), "dim"))
    if report.log is not None:
        state = report.log.problem or _log_state(report.log)
        yield to_text(
            "  ", Cell("log  ", "dim"), report.log.folder, Cell(f"  {state}", "red" if report.log.problem else "dim")
        )


def _log_state(log: LogReport) -> str:
    waiting = f", {format_bytes(log.waiting_bytes)} of the last minutes in no file yet" if log.waiting_bytes else ""
    dropped = f"; {log.dropped} predictions came too fast to be kept" if log.dropped else ""
    return f"{log.files} files, {format_bytes(log.bytes)}{waiting}{dropped}"


def shown_fields(fields: Sequence[FieldReport]) -> list[FieldReport]:
    """Those that drifted first, then outputs, then inputs with values missing, then the others."""

    def rank(field: FieldReport) -> tuple[bool, bool, bool]:
        return (not drifting([field]), field.side != "output", field.missing == 0)

    return sorted(fields, key=rank)[:SHOWN_FIELDS]


def _row(field: FieldReport, now: float) -> list[str | Cell]:
    drift = drifting([field]).get(field.name)
    return [
        field.name,
        str(field.count - field.missing),
        str(field.missing or ""),
        _summary(field),
        Cell("" if drift is None else what_happened(drift, now), "red"),
    ]


def _summary(field: FieldReport) -> str:
    if field.top:
        total = max(1, field.count - field.missing)
        shares = [f"{_cut(value)} {count / total:.0%}" for value, count, _ in field.top[:SHOWN_CLASSES]]
        return ", ".join(shares) + (", ..." if len(field.top) > SHOWN_CLASSES else "")
    if field.mean is not None and field.min is not None and field.max is not None:
        return f"{field.min:.4g} to {field.max:.4g}, mean {field.mean:.4g}"
    return field.kind


def _cut(value: str) -> str:
    plain = value.strip('"')
    return plain if len(plain) <= SHOWN_CHARS else f"{plain[: SHOWN_CHARS - 3]}..."


def _span(seconds: float) -> str:
    return "hour" if seconds == 3600 else f"{seconds / 60:.0f} minutes"
