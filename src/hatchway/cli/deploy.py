"""`hatchway deploy`: make what a YAML file says live, wait for it, and say how to call it.

The arguments become `Targets`; the client deploys; all APIs are waited for at the same time, and what became of each
is a `Finish`, so that one failure hides no other result and JSON is printed whatever happened.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.connect import engine
from hatchway.cli.curl import curl_line
from hatchway.cli.names import api_name, complete_api
from hatchway.cli.output import Cell, Format, FormatOption, Output, status_cell
from hatchway.cli.progress import Progress, open_progress, reporter
from hatchway.errors import DeployFailed, EngineUnavailable, HatchwayError, NotFound, TimedOut, UsageError

if TYPE_CHECKING:
    from hatchway.client import AsyncClient, Client
    from hatchway.spec.status import DeployResult

EXAMPLES = (
    "hatchway deploy",
    "hatchway deploy recommendation_engine",
    "hatchway deploy shop.yaml models/iris",
    "hatchway deploy --dry-run",
    "hatchway deploy --no-wait -o json",
)

PROJECT_FILES = ("hatchway.yaml", "cortex.yaml")

ACTIONS = {  # action -> mark, words and style of the plan
    "created": ("+", "create", "green"),
    "updated": ("~", "replace, start before stop", "yellow"),
    "configured": ("~", "change in place, keep the replicas", "yellow"),
    "unchanged": ("=", "up to date", "dim"),
}


@dataclass(frozen=True)
class Targets:
    """What to deploy: files and folders (none: the folder we are in), and which of their APIs (None: all)."""

    paths: tuple[Path, ...] = ()
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Finish:
    """What became of one API after how long; `error` says why it is not live."""

    result: DeployResult
    elapsed_s: float
    error: HatchwayError | None = None


def deploy(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH|NAME",
            help="YAML files, folders with a hatchway.yaml, or names of APIs in the hatchway.yaml here. Default: here.",
            autocompletion=complete_api,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the APIs are live.")] = True,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0, help="How long to wait. Default: as update_strategy.ready_timeout says."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    output: FormatOption = Format.table,
) -> None:
    """Make APIs live, or update them.

    New replicas start before old ones stop; what did not change stays as it is.
    """
    out = Output.open(output)
    found = read_targets(targets or [])
    with engine(out) as client:
        if dry_run:
            show_plan(out, client.deploy(*found.paths, names=found.names, dry_run=True))
            return
        began = time.monotonic()
        with open_progress(out) as progress:
            results = client.deploy(*found.paths, names=found.names, wait=False, on_progress=reporter(progress))
            if wait:
                finishes = follow(client, results, progress, began=began, timeout_s=timeout)
            else:
                finishes = [Finish(result, time.monotonic() - began) for result in results]
        show_finishes(out, client, finishes)
    failed = [finish.error for finish in finishes if finish.error is not None]
    if failed:
        raise typer.Exit(failed[0].exit_code)


def read_targets(arguments: Sequence[str]) -> Targets:
    """What the arguments mean: each is a path if a project is there, else a name in the hatchway.yaml here.

    What is neither stays a path, for the client to say that it is missing. Raises UsageError for a mixture.
    """
    paths = tuple(Path(argument) for argument in arguments if not _is_name(argument))
    names = tuple(dict.fromkeys(api_name(argument) for argument in arguments if _is_name(argument)))
    if paths and names:
        raise UsageError(
            f"{names[0]} is an API of the {PROJECT_FILES[0]} here, {paths[0]} is a path",
            hint="deploy them one after the other",
        )
    return Targets(paths, names or None)


def _is_name(argument: str) -> bool:
    """A folder without a project in it does not hide an API of the same name."""
    path = Path(argument)
    has_project = path.is_file() or any((path / name).is_file() for name in PROJECT_FILES)
    looks_like_path = "/" in argument.rstrip("/") or argument.startswith(".") or path.suffix != ""
    return not has_project and not looks_like_path and Path(PROJECT_FILES[0]).is_file()


def follow(
    client: Client, results: Sequence[DeployResult], progress: Progress, *, began: float, timeout_s: float | None
) -> list[Finish]:
    """Wait for all of `results` at once and say what became of each, in their order. `began`: when, monotonic."""
    import asyncio

    from hatchway.client import AsyncClient

    async def wait_for_all() -> list[Finish]:
        async with AsyncClient() as waiting:
            return [*await asyncio.gather(*(_wait_for(waiting, one, progress, began, timeout_s) for one in results))]

    for result in results:
        progress.phase(result.name, result.status, "")
    try:
        finishes = asyncio.run(wait_for_all())
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the deploy goes on in the background: hatchway get --watch") from None
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


def show_plan(out: Output, plan: Sequence[DeployResult]) -> None:
    if not out.is_table:
        out.data(list(plan))
        return
    for result in plan:
        mark, words, style = ACTIONS[result.action]
        out.line(Cell(f"{mark} {result.name}", style), f"  {words}", Cell(f"  revision {result.revision}", "dim"))
        for change in result.changes:
            out.line(f"    {change}")
    changing = sum(result.action != "unchanged" for result in plan)
    out.line(Cell(f"{changing} of {len(plan)} would change; this was a dry run", "dim"))


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
    out.line("  ", curl_line(result.endpoint, client.get(result.name).spec))


def _show_failure(out: Output, result: DeployResult, error: HatchwayError) -> None:
    out.error(error)
    if result.status == "live":
        out.note(f"{result.name} is still live, on the revision it had before")
    if error.hint is None:
        out.note(Cell("hint: ", "bold"), f"hatchway logs {result.name} shows what its handler said")
