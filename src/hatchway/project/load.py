"""From what the user names, a file or a folder, to the APIs it describes and the folder that is their project."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hatchway.errors import InvalidSpec, NotFound
from hatchway.spec.load import LoadedApi, load_documents, parse_dotenv

PROJECT_FILE = "hatchway.yaml"
CORTEX_FILE = "cortex.yaml"
MAX_YAML_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Project:
    """The YAML at `file`; everything below `root`, its folder, is what its APIs are made of."""

    root: Path
    file: Path
    apis: tuple[LoadedApi, ...]


def load_project(path: str | os.PathLike[str], environ: Mapping[str, str]) -> Project:
    """Read the YAML file at `path`, or the hatchway.yaml of the folder at `path`.

    `${VAR}` is filled in from `environ`, then from the `.env` beside the YAML. Raises NotFound, or InvalidSpec with
    all problems of the file.
    """
    file = _find(Path(path).expanduser())
    variables = {**_dotenv(file.parent / ".env"), **environ}
    return Project(file.parent.resolve(), file, load_documents(_read(file), file=_shown(file), variables=variables))


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
