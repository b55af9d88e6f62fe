"""`hatchway deploy`: make what a YAML file says, or a model's file, live, wait for it, and say how to call it.

The arguments become `Targets`; the client deploys; `finishes.py` waits and says what became of each API.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.connect import engine
from hatchway.cli.finishes import Finish, TimeoutOption, WaitOption, exit_as, follow, show_finishes
from hatchway.cli.models import asker, check_paths, with_models
from hatchway.cli.names import api_name, complete_api
from hatchway.cli.output import Cell, Format, FormatOption, Output
from hatchway.cli.progress import Silent, open_progress, reporter
from hatchway.errors import UsageError

if TYPE_CHECKING:
    from hatchway.spec.status import DeployResult

EXAMPLES = (
    "hatchway deploy",
    "hatchway deploy model.joblib",
    "hatchway deploy model.onnx --name iris",
    "hatchway deploy recommendation_engine",
    "hatchway deploy shop.yaml models/iris",
    "hatchway deploy --dry-run",
    "hatchway deploy --no-wait -o json",
    "hatchway deploy --force",
)

PROJECT_FILES = ("hatchway.yaml", "cortex.yaml")

ACTIONS = {  # action -> mark, words and style of the plan
    "created": ("+", "create", "green"),
    "updated": ("~", "replace, start before stop", "yellow"),
    "configured": ("~", "change in place, keep the replicas", "yellow"),
    "unchanged": ("=", "", "dim"),  # in the engine's words: up to date, or already updating
}


@dataclass(frozen=True)
class Targets:
    """What to deploy: files and folders (none: the folder we are in), and which of their APIs (None: all)."""

    paths: tuple[Path, ...] = ()
    names: tuple[str, ...] | None = None


def deploy(  # noqa: PLR0913 (an option each)
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH|NAME",
            help="Models' files, YAML files, folders with a hatchway.yaml or a model, or names of APIs in the "
            "hatchway.yaml here. Default: here.",
            autocompletion=complete_api,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The name of the API that serves a model. Default: as its file is named."),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Load models that may run code while they load, without asking."),
    ] = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take the place of an update to another revision that goes on.")
    ] = False,
    output: FormatOption = Format.table,
) -> None:
    """Make APIs live, or update them: those of a YAML file, or a model's file alone.

    New replicas start before old ones stop; what did not change stays as it is.
    """
    out = Output.open(output)
    found = read_targets(targets or [])
    wanted = None if name is None else api_name(name)
    check_paths(found.paths)
    with engine(out) as client:
        if dry_run:
            plan = client.deploy(
                *found.paths,
                names=found.names,
                name=wanted,
                trust=trust or asker(out, Silent()),
                dry_run=True,
                force=force,
                on_progress=with_models(out, lambda event: None),
            )
            show_plan(out, plan)
            return
        began = time.monotonic()
        with open_progress(out) as progress:
            results = client.deploy(
                *found.paths,
                names=found.names,
                name=wanted,
                trust=trust or asker(out, progress),
                force=force,
                wait=False,
                on_progress=with_models(out, reporter(progress)),
            )
            if wait:
                finishes = follow(client, results, progress, began=began, timeout_s=timeout)
            else:
                finishes = [Finish(result, time.monotonic() - began) for result in results]
        show_finishes(out, client, finishes)
    exit_as(finishes)


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
    from hatchway.project.models import MODEL_FOLDER_MARKS

    path = Path(argument)
    has_project = path.is_file() or any((path / name).is_file() for name in (*PROJECT_FILES, *MODEL_FOLDER_MARKS))
    looks_like_path = "/" in argument.rstrip("/") or argument.startswith(".") or path.suffix != ""
    return not has_project and not looks_like_path and Path(PROJECT_FILES[0]).is_file()


def show_plan(out: Output, plan: Sequence[DeployResult]) -> None:
    if not out.is_table:
        out.data(list(plan))
        return
    for result in plan:
        mark, words, style = ACTIONS[result.action]
        words = words or result.message
        out.line(Cell(f"{mark} {result.name}", style), f"  {words}", Cell(f"  revision {result.revision}", "dim"))
        for change in result.changes:
            out.line(f"    {change}")
    changing = sum(result.action != "unchanged" for result in plan)
    out.line(Cell(f"{changing} of {len(plan)} would change; this was a dry run", "dim"))
