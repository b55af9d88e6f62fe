"""`hatchway deploy`: make what a YAML file says live, and say how to call it.

What an argument means is decided in `read_targets`; what the client reports is shown by `progress.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.connect import engine
from hatchway.cli.curl import curl_line
from hatchway.cli.names import api_name, complete_api
from hatchway.cli.output import Cell, Format, FormatOption, Output, status_cell
from hatchway.cli.progress import Progress, open_progress
from hatchway.errors import NotFound

if TYPE_CHECKING:
    from hatchway.client import Client
    from hatchway.spec.status import DeployResult

EXAMPLES = (
    "hatchway deploy",
    "hatchway deploy recommendation_engine",
    "hatchway deploy shop.yaml models/iris",
    "hatchway deploy --dry-run",
    "hatchway deploy --no-wait -o json",
)

PROJECT_FILE = "hatchway.yaml"
EXIT_FAILED = 1

ACTIONS = {  # action -> mark and word of the plan
    "created": ("+", "create", "green"),
    "updated": ("~", "replace, start before stop", "yellow"),
    "configured": ("~", "change in place", "yellow"),
    "unchanged": ("=", "up to date", "dim"),
}


@dataclass(frozen=True)
class Targets:
    """What to deploy: files and folders, and which of their APIs (None: all)."""

    paths: tuple[Path, ...]
    names: tuple[str, ...] | None = None


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
        typer.Option(metavar="SECONDS", min=1, help="How long to wait. Default: as the APIs' ready_timeout."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    output: FormatOption = Format.table,
) -> None:
    """Make APIs live, or update them: new replicas start before old ones stop, and what did not change stays."""
    out = Output.open(output)
    found = read_targets(targets or [], Path.cwd())
    with engine(out) as client:
        if dry_run:
            show_plan(out, client.deploy(*found.paths, names=found.names, dry_run=True))
            return
        started = time.monotonic()
        with open_progress(out) as progress:
            results = client.deploy(
                *found.paths,
                names=found.names,
                wait=wait,
                timeout_s=timeout,
                on_progress=translator(progress),
            )
        show_results(out, client, results, elapsed_s=time.monotonic() - started)
    if any(has_failed(result) for result in results):
        raise typer.Exit(EXIT_FAILED)


def read_targets(arguments: Sequence[str], here: Path) -> Targets:
    """What the arguments mean: each is a path if there is such a file or project, else a name in the YAML here.

    Raises NotFound for what is neither.
    """
    paths, names = [], []
    for argument in arguments:
        if _is_project(here / argument):
            paths.append(here / argument)
        elif "/" not in argument.rstrip("/") and not argument.endswith((".yaml", ".yml")) and _is_project(here):
            names.append(api_name(argument))
        else:
            raise NotFound(
                f"there is no file or project {argument}",
                hint=f"name a YAML file, a folder with a {PROJECT_FILE}, or an API of the {PROJECT_FILE} here",
            )
    if names:
        return Targets((here, *paths), tuple(names))
    return Targets(tuple(paths) or (here,))


def _is_project(path: Path) -> bool:
    return path.is_file() or (path / PROJECT_FILE).is_file()


def show_plan(out: Output, plan: Sequence[DeployResult]) -> None:
    if not out.is_table:
        out.data(list(plan))
        return
    for result in plan:
        mark, word, style = ACTIONS[result.action]
        out.line(Cell(f"{mark} {result.name}", style), f"  {word}", Cell(f"  revision {result.revision}", "dim"))
        for change in result.changes:
            out.line(f"    {change}")
    changing = sum(result.action != "unchanged" for result in plan)
    out.line(Cell(f"{changing} of {len(plan)} would change; nothing was changed", "dim"))


def show_results(out: Output, client: Client, results: Sequence[DeployResult], *, elapsed_s: float) -> None:
    if not out.is_table:
        out.data(list(results))
        return
    for result in results:
        show_result(out, client, result, elapsed_s)


def show_result(out: Output, client: Client, result: DeployResult, elapsed_s: float) -> None:
    about = Cell(f"  revision {result.revision}, {elapsed_s:.1f} s", "dim")
    out.line(Cell(result.name, "bold"), " is ", status_cell(result.status), about)
    for line in result.message.splitlines():
        out.line("  ", line)
    if has_failed(result):
        out.note(Cell("hint: ", "bold"), f"hatchway logs {result.name}; hatchway get {result.name}")
        return
    out.line("  ", Cell(result.endpoint, "bold"))
    out.line("  ", curl_line(result.endpoint, client.get(result.name).spec))


def has_failed(result: DeployResult) -> bool:
    return result.status == "failed"


def translator(progress: Progress) -> Callable[[object], None]:
    """What the client reports, in the words of `Progress`."""

    def on_progress(event: object) -> None:
        progress.step(str(event))

    return on_progress
