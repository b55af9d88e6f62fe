"""`hatchway init`: a project to start from, a template's or one that serves a model. It never overwrites a file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hatchway.cli.output import Cell, Output
from hatchway.errors import Conflict, NotFound, StorageError, UsageError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

EXAMPLES = (
    "hatchway init",
    "hatchway init text",
    "hatchway init recommender my-shop",
    "hatchway init empty .",
    "hatchway init --from model.joblib",
)

DEFAULT_TEMPLATE = "iris"
TEMPLATES = {
    "iris": "a scikit-learn classifier: which species is this flower",
    "recommender": "matrix factorisation in NumPy: films for a user, films like a film",
    "text": "a text classifier: what is a customer's message about",
    "empty": "the smallest handler",
}


def complete_template(incomplete: str) -> list[tuple[str, str]]:
    return [(name, about) for name, about in TEMPLATES.items() if name.startswith(incomplete)]


def init(
    template: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEMPLATE]", help=", ".join(TEMPLATES) + "; default: iris.", autocompletion=complete_template
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Where to put it. Default: a new folder named like the template."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Start from a model's file: the project that serves it as it is."),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="With --from: open a model that may run code while it loads, without asking."),
    ] = False,
) -> None:
    """Start a project from a template, or from a model's file.

    You get its YAML, its handler, its training and a request to try; no file is ever overwritten.
    """
    if model is not None:
        start_from_model(model, template, folder, trust=trust)
    else:
        start_from_template(template or DEFAULT_TEMPLATE, folder)


def start_from_model(model: Path, target: str | None, folder: Path | None, *, trust: bool) -> None:
    """The first argument is the folder here: there is no template. Raises UsageError for two."""
    from hatchway.cli.connect import settings_here
    from hatchway.cli.models import asker, describe
    from hatchway.cli.progress import Silent
    from hatchway.cli.scaffold import scaffold, write
    from hatchway.client.model_checks import is_trusted, trust_all
    from hatchway.project.trust import TRUST_FILE, Trust

    if folder is not None:
        raise UsageError(f"--from needs no template: {target}", hint=f"hatchway init --from {model} {folder}")
    out = Output.open()
    trusted = Trust(settings_here().home / TRUST_FILE)
    may_trust = trust_all if trust else asker(out, Silent())
    project = scaffold(model, None, lambda found: is_trusted(found, trusted, may_trust))
    place = Path(target or project.name)
    names = write(project, place)
    out.line(f"{project.name}: {describe(project.model)}")
    for name in names:
        out.line("  ", Cell(str(place / name), "dim"))
    if project.request is None and project.model.unsafe:
        out.note("no request.json: the model may run code while it loads, so it was not opened (--trust opens it)")
    out.line("next:")
    here = [] if place.resolve() == Path.cwd() else [f"cd {shlex.quote(str(place))}"]
    ask = [f"hatchway predict {project.name} request.json"] if project.request is not None else []
    for command in [*here, "hatchway deploy", *ask]:
        out.line("  ", command)


def start_from_template(template: str, folder: Path | None) -> None:
    source = find_template(template)
    target = Path(template) if folder is None else folder
    names = copy_template(source, target)
    out = Output.open()
    out.line(f"{template}: {TEMPLATES[template]}")
    for name in names:
        out.line("  ", Cell(str(target / name), "dim"))
    out.line("next:")
    for command in next_commands(source, target):
        out.line("  ", command)
    others = [name for name in TEMPLATES if name != template]
    out.line(Cell(f"other templates: {', '.join(others)}", "dim"))


def find_template(name: str) -> Traversable:
    """Raises NotFound."""
    from importlib import resources

    if name not in TEMPLATES:
        raise NotFound(f"there is no template {name!r}", hint=f"templates: {', '.join(TEMPLATES)}")
    return resources.files("hatchway") / "templates" / name


def copy_template(source: Traversable, target: Path) -> list[str]:
    """Copy the files of `source` into `target` and return their names.

    Raises Conflict, before anything is written, when one of them exists; StorageError when it cannot be written.
    """
    files = sorted((entry for entry in source.iterdir() if entry.is_file()), key=lambda entry: entry.name)
    existing = [file.name for file in files if (target / file.name).exists()]
    if existing or (target.exists() and not target.is_dir()):
        raise Conflict(
            f"{target} already has {', '.join(existing)}" if existing else f"{target} is a file",
            hint="name another folder: hatchway init TEMPLATE DIR",
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in files:
            with (target / file.name).open("xb") as copy:
                copy.write(file.read_bytes())
    except OSError as exc:
        raise StorageError(f"cannot write {exc.filename or target}: {exc.strerror}") from exc
    return [file.name for file in files]


def next_commands(source: Traversable, target: Path) -> list[str]:
    """The three commands from here to a first answer."""
    name = _api_name(source)
    steps = []
    if target.resolve() != Path.cwd():
        steps.append(f"cd {shlex.quote(str(target))}")
    if (source / "requirements.txt").is_file():
        steps.append("pip install -r requirements.txt")
    if (source / "train.py").is_file():
        steps.append("python train.py")
    return [
        command
        for command in (" && ".join(steps), "hatchway deploy", f"hatchway predict {name} request.json")
        if command
    ]


def _api_name(source: Traversable) -> str:
    import yaml

    return str(yaml.safe_load((source / "hatchway.yaml").read_text())[0]["name"])
