"""From what the user names, a file or a folder, to the APIs it describes and the folder that is their project."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hatchway.errors import InvalidSpec, NotFound, UsageError
from hatchway.modelfiles import files_beside
from hatchway.project.models import api_name, is_model
from hatchway.spec.load import LoadedApi, load_documents, parse_document, parse_dotenv

PROJECT_FILE = "hatchway.yaml"
CORTEX_FILE = "cortex.yaml"
MAX_YAML_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Project:
    """The YAML at `file`; everything below `root`, its folder, is what its APIs are made of.

    With `only`, files or a folder in `root`, that is all they are made of: a model that is deployed without YAML.
    `python` is the interpreter of APIs that name none, in place of the active environment's.
    """

    root: Path
    file: Path
    apis: tuple[LoadedApi, ...]
    only: tuple[str, ...] = ()
    python: str | None = None


def load_project(path: str | os.PathLike[str], environ: Mapping[str, str], name: str | None = None) -> Project:
    """Read the YAML file at `path`, or the hatchway.yaml of the folder at `path`, or take the model at `path`.

    `${VAR}` is filled in from `environ`, then from the `.env` beside the YAML. `name` is the API's that serves a
    model. Raises NotFound, UsageError, or InvalidSpec with all problems of the file.
    """
    given = Path(path).expanduser()
    if is_model(given):
        return _model_project(given, name or api_name(given))
    if name is not None and given.exists():
        raise UsageError(f"{given} has the names of its APIs in it", hint="a name is for a model that has no YAML")
    file = _find(given)
    variables = {**_dotenv(file.parent / ".env"), **environ}
    return Project(file.parent.resolve(), file, load_documents(_read(file), file=_shown(file), variables=variables))


def _model_project(path: Path, name: str) -> Project:
    """One API, as its YAML would say it. Raises InvalidSpec for a name that is none."""
    path = path.absolute() if path.name else path.resolve()  # `.` has no name of its own
    document = {"name": name, "handler": {"model": path.name.replace("${", "$${")}}
    api = LoadedApi(parse_document(document, {}), document, {}, f"{_shown(path)}:1")
    return Project(path.parent.resolve(), path, (api,), only=(path.name, *files_beside(path)))


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise NotFound(f"there is no file or folder {path}")
    if (path / PROJECT_FILE).is_file():
        return path / PROJECT_FILE
    if (path / CORTEX_FILE).is_file():
        raise NotFound(
            f"there is no {PROJECT_FILE} in {path}, but a {CORTEX_FILE}",
            hint=f"rename it to {PROJECT_FILE} and deploy: every line that has to change is answered with the new one",
        )
    raise NotFound(f"there is no {PROJECT_FILE} in {path}", hint="`hatchway init` writes one to start from")


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_YAML_BYTES + 1)
        if len(content) > MAX_YAML_BYTES:
            raise InvalidSpec(f"{file} is larger than {MAX_YAML_BYTES >> 20} MiB: is it the right file?")
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidSpec(f"{file} is not text in UTF-8 (byte {exc.start})") from exc
    except OSError as exc:
        raise InvalidSpec(f"cannot read {file}: {exc.strerror}") from exc


def _dotenv(file: Path) -> dict[str, str]:
    return parse_dotenv(_read(file)) if file.is_file() else {}


def _shown(file: Path) -> str:
    """As short as it is clear: relative to where the user is, when it lies below."""
    try:
        return str(file.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(file)
