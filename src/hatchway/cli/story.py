"""What one request went through, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hatchway.cli.logs import show_line
from hatchway.cli.output import Cell, Output, format_bytes, printable

if TYPE_CHECKING:
    from hatchway.spec.story import GatewayNote, RequestStory, RequestVisit

STYLES = {"answered": "green", "waiting": "yellow", "running": "yellow"}  # all else went wrong


def show_story(out: Output, story: RequestStory) -> None:
    """The visits and the gateway's notes, each a line, then the log."""
    rows = [_visit_row(visit) for visit in story.visits] + [_gateway_row(note) for note in story.gateway]
    out.table(["TIME (UTC)", "API", "WHERE", "WHAT"], [row for _, row in sorted(rows, key=lambda row: row[0])])
    if story.lines:
        out.line("")
    for line in story.lines:
        show_line(out.line, line)


def _visit_row(visit: RequestVisit) -> tuple[str, list[str | Cell]]:
    what = Cell(", ".join(visit_words(visit)), STYLES.get(visit.outcome, "red"))
    return visit.at, [_clock(visit.at), visit.api, visit.replica, what]


def _gateway_row(note: GatewayNote) -> tuple[str, list[str | Cell]]:
    return note.at, [_clock(note.at), note.api or "", "gateway", ", ".join(gateway_words(note))]


def visit_words(visit: RequestVisit) -> Iterator[str]:
    """What became of a request in a replica, piece by piece."""
    status = "" if visit.status is None else f" {visit.status}"
    yield {
        "waiting": "waits for a slot",
        "running": "runs",
        "answered": f"answered{status}",
        "failed": f"failed: answered{status}" if status else "failed",
        "timed_out": f"timed out: answered{status}" if status else "timed out",
        "refused": f"refused{status}: all slots and the queue were taken",
        "client_left": "the client left",
    }[visit.outcome]
    yield "".join(printable([f"{visit.method} {visit.path}"]))
    if visit.attempt > 1:
        yield f"attempt {visit.attempt}"
    if visit.held_s is not None:
        refused = f" (refused {visit.held_refusals} times meanwhile)" if visit.held_refusals else ""
        yield f"held {visit.held_s:.3f} s by the activator before{refused}"
    if visit.outcome != "refused":
        yield f"queued {visit.queue_s:.3f} s"
    if visit.handler_s is not None:
        batch = f" in a batch of {visit.batch_size}" if visit.batch_size else ""
        yield f"handler {visit.handler_s:.3f} s{batch}"
    elif visit.outcome in ("timed_out", "client_left"):
        yield "never had a slot"
    if visit.response_bytes:
        yield format_bytes(visit.response_bytes)
    if visit.trace_id is not None:
        yield f"trace {visit.trace_id}"


def gateway_words(note: GatewayNote) -> Iterator[str]:
    """What the gateway noted, piece by piece."""
    yield "answered nothing" if note.status is None else f"answered {note.status}"
    yield f"after {note.took_s:.3f} s"
    if note.attempts > 1:
        yield f"{note.attempts} attempts"
    if note.replica is not None:
        yield f"the last by way of {note.replica}" if note.attempts > 1 else f"by way of {note.replica}"
    if note.meaning or note.flags:
        yield note.meaning or f"Envoy says {' '.join(note.flags)}"


def _clock(moment: str) -> Cell:
    return Cell(moment[11:23], "dim")
