"""Waiting for what a command has begun, and saying what became of it: for `deploy`, `start`, `restart`, `rollback`.

All APIs are waited for at the same time, and what became of each is a `Finish`, so that one failure hides no other
result and JSON is printed whatever happened.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.example import call_line
from hatchway.cli.output import Cell, Output, status_cell
from hatchway.cli.progress import Progress, open_progress, reporter
from hatchway.errors import DeployFailed, EngineUnavailable, HatchwayError, NotFound, TimedOut

if TYPE_CHECKING:
    from hatchway.client import AsyncClient, Client
    from hatchway.spec.status import DeployResult


WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is live.")]
TimeoutOption = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0, help="How long to wait. Default: as update_strategy.ready_timeout says."),
]


@dataclass(frozen=True)
class Finish:
    """What became of one API after how long; `error` says why it is not live."""

    result: DeployResult
    elapsed_s: float
    error: HatchwayError | None = None


def finish_one(out: Output, client: Client, result: DeployResult, *, wait: bool, timeout_s: float | None) -> None:
    """Wait for what was begun with one API just now, say what became of it, and exit with 1 when it failed."""
    began = time.monotonic()
    finish = Finish(result, 0.0)
    if wait:
        with open_progress(out) as progress:
            (finish,) = follow(client, [result], progress, began=began, timeout_s=timeout_s)
    if out.is_table:
        show_finishes(out, client, [finish])
    else:
        out.data(finish.result)
        if finish.error is not None:
            out.error(finish.error)
    exit_as([finish])


def exit_as(finishes: Sequence[Finish]) -> None:
    """Exit with the code of the first failure; return when there is none."""
    failed = [finish.error for finish in finishes if finish.error is not None]
    if failed:
        raise typer.Exit(failed[0].exit_code)


def follow(
    client: Client, results: Sequence[DeployResult], progress: Progress, *, began: float, timeout_s: float | None
) -> list[Finish]:
    """Wait for all of `results` at once and say what became of each, in their order. `began`: when, monotonic."""
    import asyncio

    from hatchway.client import AsyncClient

    async def wait_for_all() -> list[Finish]:
        async with AsyncClient(way=client.way) as waiting:
            return [*await asyncio.gather(*(_wait_for(waiting, one, progress, began, timeout_s) for one in results))]

    for result in results:
        progress.phase(result.name, result.status, "")
    try:
        finishes = asyncio.run(wait_for_all())
    except KeyboardInterrupt:
        raise KeyboardInterrupt("it goes on in the background: hatchway get --watch") from None
    return [_with_status_now(client, finish) for finish in finishes]


async def _wait_for(
    client: AsyncClient, result: DeployResult, progress: Progress, began: float, timeout_s: float | None
) -> Finish:
    import asyncio

    error: HatchwayError | None = None
    try:
        async with asyncio.timeout(timeout_s):
            result = await client.wait(result, timeout_s=timeout_s, on_progress=reporter(progress))
    except TimeoutError:
        reason = await _reason_now(client, result.name)
        error = TimedOut(
            f"{result.name} was not live within {timeout_s:g} s{': ' * bool(reason)}{reason}",
            hint=f"it goes on in the background: hatchway get {result.name}",
        )
    except (DeployFailed, TimedOut, EngineUnavailable) as exc:
        error = exc
    return Finish(result, time.monotonic() - began, error)


async def _reason_now(client: AsyncClient, name: str) -> str:
    try:
        return (await client.get(name)).reason
    except EngineUnavailable:
        return "the engine does not answer"


def _with_status_now(client: Client, finish: Finish) -> Finish:
    """A failed deploy's status is that of the API as it is: `live`, when its former revision goes on serving."""
    if finish.error is None:
        return finish
    try:
        status = client.get(finish.result.name).status
    except NotFound:
        status = "deleting"
    except EngineUnavailable:
        status = finish.result.status
    changed = finish.result.model_copy(update={"status": status, "message": finish.error.message})
    return replace(finish, result=changed)


def show_finishes(out: Output, client: Client, finishes: Sequence[Finish]) -> None:
    if not out.is_table:
        out.data([finish.result for finish in finishes])
    for finish in finishes:
        if finish.error is not None:
            _show_failure(out, finish.result, finish.error)
        elif out.is_table:
            _show_success(out, client, finish.result, finish.elapsed_s)


def _show_success(out: Output, client: Client, result: DeployResult, elapsed_s: float) -> None:
    about = f"  {result.message}, {elapsed_s:.1f} s"
    out.line(Cell(result.name, "bold"), " is ", status_cell(result.status), Cell(about, "dim"))
    out.line("  ", result.endpoint)
    spec = client.get(result.name).spec
    out.line("  ", call_line(client.way, result.name, result.endpoint, spec, result.status))
    if not (spec.get("handler") or {}).get("app"):  # an application has routes of its own
        out.line("  ", Cell("try it, and read what it takes: ", "dim"), f"{result.endpoint.rstrip('/')}/docs")
    for setting in result.kept:
        out.line("  ", Cell("stays as it is now: ", "dim"), setting)


def _show_failure(out: Output, result: DeployResult, error: HatchwayError) -> None:
    out.error(error)
    if result.status in ("live", "idle"):
        served_by = "with replicas from before" if result.action == "restarted" else "on the revision it had before"
        out.note(f"{result.name} is still {result.status}, {served_by}")
    if error.hint is None:
        out.note(Cell("hint: ", "bold"), f"hatchway logs {result.name} shows what its handler said")
