"""`hatchway get`: the list of APIs, or everything about one; `--watch` follows it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import compress
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.board import board_lines
from hatchway.cli.connect import engine_if_used, engine_of
from hatchway.cli.example import call_line
from hatchway.cli.looks import BoardLooks, PageLooks, again_and_again
from hatchway.cli.names import api_name, complete_api
from hatchway.cli.output import (
    Cell,
    Format,
    FormatOption,
    Output,
    format_age,
    format_bytes,
    format_moment,
    status_cell,
    to_text,
)
from hatchway.cli.page import page_lines
from hatchway.cli.predictions import prediction_lines
from hatchway.cli.screen import is_screen, show
from hatchway.cli.watch import every_list, every_state, print_changes
from hatchway.errors import MonitoringError, NotFound, TimedOut

if TYPE_CHECKING:
    from rich.text import Text

    from hatchway.client import Client
    from hatchway.spec.monitoring import MonitoringReport
    from hatchway.spec.status import ApiStatus, ScaledStatus

EXAMPLES = ("hatchway get", "hatchway get iris", "hatchway get iris --watch", "hatchway get iris -o json")


# In this order, when the terminal is narrow.
EXPENDABLE = ("REVISION", "IN FLIGHT", "AGE")
EXPENDABLE_OF_REPLICAS = ("REVISION", "RESTARTS", "MEMORY", "AGE", "PID")


def get(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Name of an API. Default: list them all.", autocompletion=complete_api),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it live until Ctrl-C.")] = False,
    output: FormatOption = Format.table,
) -> None:
    """List the APIs, or show everything about one.

    Of one API: status and reason, replicas, revisions, and how to call it. With --watch the terminal shows it live,
    with requests, latencies, drift, scaling and the log; a pipe gets a line, or a JSON object, for each change.
    """
    out = Output.open(output)
    if name is None:
        show_list(out, watch=watch)
    else:
        show_one(out, api_name(name), watch=watch)


def show_list(out: Output, *, watch: bool) -> None:
    client = engine_if_used(out)
    if client is None:
        print_list(out, [])
        return
    with client:
        if watch:
            watch_list(out, client)
        else:
            print_list(out, client.list())


def show_one(out: Output, name: str, *, watch: bool) -> None:
    with engine_of(name, out) as client:
        if watch:
            watch_one(out, client, name)
        else:
            print_one(out, client, client.get(name), predictions(client, name))


def watch_list(out: Output, client: Client) -> None:
    if is_screen(out):
        show(out, again_and_again(BoardLooks(client).look, client.way), board_lines)
    else:
        print_changes(out, every_list(client))


def watch_one(out: Output, client: Client, name: str) -> None:
    """Until the API is gone. Raises NotFound when it never was."""
    if not is_screen(out):
        print_changes(out, every_state(client, name))
    else:
        client.get(name)
        with suppress(NotFound):
            show(out, again_and_again(PageLooks(client, name).look, client.way), page_lines)
    out.note(f"{name} is deleted")


def print_list(out: Output, apis: Sequence[ApiStatus]) -> None:
    if not out.is_table:
        out.data(list(apis))
    elif not apis:
        out.line("nothing is deployed; start with: hatchway init, hatchway deploy")
    else:
        for line in list_lines(out, apis, time.time()):
            out.print(line)


def predictions(client: Client, name: str) -> MonitoringReport | None:
    """What is known of them; None while the monitor has nothing to say."""
    try:
        return client.monitoring(name)
    except (MonitoringError, TimedOut):
        return None


def print_one(out: Output, client: Client, api: ApiStatus, report: MonitoringReport | None) -> None:
    if not out.is_table:
        from hatchway.spec.monitoring import ApiDetails

        out.data(ApiDetails(**dict(api), monitoring=report))
        return
    call = call_line(client.way, api.name, api.endpoint, api.spec, api.status)
    for line in detail_lines(out, api, time.time(), call, report):
        out.print(line)


def list_lines(out: Output, apis: Sequence[ApiStatus], now: float) -> list[Text]:
    reasons = any(api.reason for api in apis)
    headers = [
        "NAME",
        "STATUS",
        "REPLICAS",
        "IN FLIGHT",
        "REVISION",
        "AGE",
        "ENDPOINT",
        *(["REASON"] if reasons else []),
    ]
    rows = []
    for api in apis:
        row: list[str | Cell] = [
            api.name,
            status_cell(api.status),
            f"{api.replicas.ready}/{api.replicas.desired}",
            str(api.in_flight),
            api.revision,
            format_age(api.updated_at, now),
            api.endpoint,
        ]
        rows.append([*row, api.reason] if reasons else row)
    return out.table_lines(headers, rows, expendable=EXPENDABLE)


def detail_lines(
    out: Output, api: ApiStatus, now: float, call: str, report: MonitoringReport | None = None
) -> Iterator[Text]:
    """Everything about one API, the most important first. `call` is a command that calls it."""
    reason = f"  {api.reason}" if api.reason else ""
    yield to_text(Cell(api.name, "bold"), "  ", status_cell(api.status), reason, Cell(f"  {api.kind}", "dim"))
    if api.message:
        yield from (to_text(line) for line in api.message.splitlines())
    counts = api.replicas
    extra = [f"{count} {word}" for word, count in (("starting", counts.starting), ("failed", counts.failed)) if count]
    scaled: list[list[str | Cell]] = []
    if api.scaled is not None:
        scaled.append([Cell("scaled", "dim"), scaled_text(api.scaled, now)])
    yield to_text("")
    yield from out.table_lines(
        (),
        [
            [Cell("endpoint", "dim"), api.endpoint],
            [Cell("revision", "dim"), api.revision],
            [Cell("replicas", "dim"), ", ".join([f"{counts.ready} of {counts.desired} ready", *extra])],
            *scaled,
            [Cell("in flight", "dim"), str(api.in_flight)],
        ],
    )
    yield from section(out, "conditions", ("TYPE", "STATE", "REASON", "MESSAGE"), condition_rows(api))
    yield from section(
        out,
        "replicas",
        ("ID", "STATE", "PID", "RESTARTS", "MEMORY", "AGE", "REVISION", "START", "REASON"),
        replica_rows(api, now),
        expendable=EXPENDABLE_OF_REPLICAS,
    )
    if report is not None:
        yield from prediction_lines(out, report)
    yield from section(out, "revisions", ("ID", "AGE", "COMMIT", ""), revision_rows(api, now))
    yield to_text("")
    yield to_text(Cell("call it", "bold"))
    yield to_text("  ", call)


def scaled_text(scaled: ScaledStatus, now: float) -> str:
    """ "to 3 until 14:05 by ada@lab"."""
    by = f" by {scaled.by}" if scaled.by else ""
    return f"to {scaled.replicas} until {format_moment(scaled.until, now)}{by}"


def section(
    out: Output,
    title: str,
    headers: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    expendable: Sequence[str] = (),
) -> Iterator[Text]:
    """A titled table without its empty columns; nothing when it has no rows."""
    if not rows:
        return
    filled = [any(_text(row[column]) for row in rows) for column in range(len(headers))]
    yield to_text("")
    yield to_text(Cell(title, "bold"))
    left = [*compress(headers, filled)]
    rows = [[*compress(row, filled)] for row in rows]
    yield from out.table_lines(left, rows, indent="  ", expendable=[header for header in expendable if header in left])


def _text(cell: str | Cell) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def condition_rows(api: ApiStatus) -> list[list[str | Cell]]:
    """A message of several lines takes several rows, so that a traceback reads as one."""
    rows: list[list[str | Cell]] = []
    for condition in api.conditions:
        first, *rest = condition.message.splitlines() or [""]
        rows.append([condition.type, status_cell(condition.state), condition.reason, first])
        rows.extend(["", "", "", line] for line in rest)
    return rows


def replica_rows(api: ApiStatus, now: float) -> list[list[str | Cell]]:
    return [
        [
            replica.id,
            status_cell(replica.state),
            str(replica.pid or ""),
            str(replica.restarts),
            format_bytes(replica.rss_bytes),
            format_age(replica.started_at, now),
            replica.revision,
            ": ".join(text for text in (replica.start, replica.start_reason) if text),
            ": ".join(text for text in (replica.reason, replica.message.split("\n")[0]) if text),
        ]
        for replica in api.replica_list
    ]


def revision_rows(api: ApiStatus, now: float) -> list[list[str | Cell]]:
    return [
        [
            revision.id,
            format_age(revision.created_at, now),
            (revision.git_commit or "")[:12],
            Cell("wanted", "green") if revision.active else Cell("was live" if revision.live_at else "", "dim"),
        ]
        for revision in api.revisions
    ]
