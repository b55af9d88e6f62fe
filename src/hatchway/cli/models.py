"""What `deploy` says of a model's file, and how it asks whether one is trusted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hatchway.cli.output import Cell, Output, printable
from hatchway.errors import NotFound

if TYPE_CHECKING:
    from hatchway.cli.progress import Progress
    from hatchway.client import ProgressEvent
    from hatchway.modelfiles import ModelFile

FRAMEWORKS = {  # what a framework calls itself, where its package has another name
    "sklearn": "scikit-learn",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "onnx": "ONNX",
    "torch": "PyTorch",
    "transformers": "Transformers",
    "mlflow": "MLflow",
}
READ_TWICE_BYTES = 64 * 1024 * 1024  # beyond it, starting an engine in vain costs less
MAX_SHOWN = 12  # of what a model names; a hostile one may name thousands


def check_paths(paths: Sequence[Path]) -> None:
    """What can be told without an engine is told before one is started. Raises NotFound, UsageError, ModelFileError."""
    from hatchway.modelfiles import examine
    from hatchway.project.models import is_model

    for path in paths:
        if not path.expanduser().exists():
            raise NotFound(f"there is no file or folder {path}")
        if is_model(path.expanduser()) and path.expanduser().stat().st_size <= READ_TWICE_BYTES:
            examine(path.expanduser())


def with_models(out: Output, report: Callable[[ProgressEvent], None]) -> Callable[[ProgressEvent], None]:
    """`report`, and a few lines about each model that is found."""
    from hatchway.client import ModelSeen

    def report_too(event: ProgressEvent) -> None:
        if isinstance(event, ModelSeen):
            if out.is_table:
                show_model(out, event.model, event.skews, is_trusted=event.is_trusted)
        else:
            report(event)

    return report_too


def show_model(out: Output, model: ModelFile, skews: Sequence[str], *, is_trusted: bool) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in model.packages.items() if version)
    made = f", made with {versions}" if versions else ""
    out.note(Cell(model.path.name, "bold"), f": {describe(model)}", Cell(made, "dim"))
    for skew in skews:
        out.note("  ", Cell("note: ", "yellow"), skew, Cell("; if answers differ, install the version of then", "dim"))
    if is_trusted:
        out.note(Cell(f"  it may run code while it loads; trusted by you before ({model.sha256[:12]})", "dim"))
    elif not model.unsafe:
        out.note(Cell("  safe to load: it names nothing but code that is known to be safe", "dim"))


def describe(model: ModelFile) -> str:
    """ "scikit-learn Pipeline (joblib)": as its users call it."""
    framework = FRAMEWORKS.get(model.framework, model.framework)
    names = [name.rpartition(".")[2] for name in model.classes[:1]]
    return f"{' '.join([framework, *names])} ({model.format})"


def asker(out: Output, progress: Progress) -> Callable[[ModelFile], bool]:
    """Asks on a terminal; where there is none, nobody says yes."""

    def ask(model: ModelFile) -> bool:
        if not (sys.stdin.isatty() and out.notes.is_terminal):
            return False
        with progress.paused():
            out.note(
                Cell(model.path.name, "bold"), " may run code while it loads. Beyond what is known to be safe, it names"
            )
            for line in printable(model.unsafe[:MAX_SHOWN]):
                out.note("  ", Cell(line, "yellow"))
            if len(model.unsafe) > MAX_SHOWN:
                out.note(f"  and {len(model.unsafe) - MAX_SHOWN} more")
            out.note("Go on only if you know where it comes from: what it runs can do whatever you can.")
            return typer.confirm("Trust this file, for as long as its content stays as it is?", err=True)

    return ask
