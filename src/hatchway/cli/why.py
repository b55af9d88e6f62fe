"""`hatchway why`: why an API is as it is, and what one request met with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.connect import engine_if_used, engine_of
from hatchway.cli.get import predictions
from hatchway.cli.names import NameArgument, api_name
from hatchway.cli.output import Cell, Format, FormatOption, Output, format_age, status_cell, to_text
from hatchway.cli.story import show_story
from hatchway.cli.verdicts import drifting, evidence, what_happened
from hatchway.errors import NotFound, UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from hatchway.spec.monitoring import ApiExplanation
    from hatchway.spec.status import ApiStatus, ScalingStep

EXAMPLES = (
    "hatchway why iris",
    "hatchway why iris --last 50",
    "hatchway why request 3f2a9c01",
    "hatchway why iris -o json",
)

_REQUEST = "request"  # with an id after it; alone it is the API of this name


def why(
    name: NameArgument,
    request_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="After the word request: the x-request-id of one.", show_default=False),
    ] = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="How many decisions to show.")] = 10,
    output: FormatOption = Format.table,
) -> None:
    """Explain an API: what stands in its way, which fields drift, and the autoscaler's last decisions in words.

    `why request ID` tells what one request went through: which replicas it reached and which refused it, how long it
    was held, queued and worked on, its answer, and its log lines.
    """
    from hatchway.spec.monitoring import ApiExplanation

    out = Output.open(output)
    if request_id is not None:
        if name != _REQUEST:
            raise UsageError(f"why takes one API, not {name} and {request_id}", hint=f"or: hatchway why request {name}")
        _why_request(request_id, out)
        return
    wanted = api_name(name)
    with engine_of(wanted, out) as client:
        api, steps, report = client.get(wanted), client.scaling(wanted)[:last], predictions(client, wanted)
    found = ApiExplanation(
        name=api.name,
        status=api.status,
        reason=api.reason,
        message=api.message,
        replicas=api.replicas,
        conditions=api.conditions,
        decisions=tuple(steps),
        drift={} if report is None else drifting(report.fields),
    )
    if not out.is_table:
        out.data(found)
        return
    for line in why_lines(out, found, obstacles(api), time.time()):
        out.print(line)


def _why_request(request_id: str, out: Output) -> None:
    client = engine_if_used(out)
    if client is None:
        raise NotFound(f"nothing is known of a request with the id {request_id}", hint="nothing is deployed yet")
    with client:
        found = client.story(request_id)
    if out.is_table:
        show_story(out, found)
    else:
        out.data(found)


def obstacles(api: ApiStatus) -> list[str]:
    """What stands in the API's way, in sentences; each only once."""
    found = [f"{api.reason}: {api.message}" if api.message else api.reason] if api.reason else []
    found += [f"{one.reason}: {one.message}" for one in api.conditions if one.state == "false" and one.reason]
    found += [f"{one.id}: {one.reason}: {one.message}" for one in api.replica_list if one.reason]
    told: list[str] = []
    for sentence in found:
        if not any(sentence in other or sentence.partition(": ")[2] in other for other in told):
            told.append(sentence)
    return told


def why_lines(out: Output, found: ApiExplanation, in_its_way: list[str], now: float) -> Iterator[Text]:
    counts = found.replicas
    ready = f"  {counts.ready} of {counts.desired} replicas ready"
    yield to_text(Cell(found.name, "bold"), "  ", status_cell(found.status), ready)
    for sentence in in_its_way:
        yield from (to_text(line) for line in sentence.splitlines())
    yield from _drift_lines(found, now)
    yield to_text("")
    if not found.decisions:
        yield to_text("the autoscaler has decided nothing yet")
        return
    rows = [[Cell(format_age(step.at, now), "dim"), _text(step)] for step in found.decisions]
    yield from out.table_lines(["AGE", "AUTOSCALER"], rows)


def _drift_lines(found: ApiExplanation, now: float) -> Iterator[Text]:
    for name, drift in found.drift.items():
        yield to_text(Cell("drift", "red"), f" of {name} {what_happened(drift, now)}")
        yield from (to_text(Cell(f"    {line}", "dim")) for line in evidence(drift))
    if found.drift:
        yield to_text(Cell("    if that is the new normal: ", "dim"), f"hatchway accept {found.name}")


def _text(step: ScalingStep) -> Cell:
    return Cell(step.message, "bold" if step.replicas != step.before else "")
