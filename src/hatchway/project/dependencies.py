"""What `handler.dependencies` names, read before anything is sent: files of other tools are answered with what to
write instead, and an outdated lock with how to renew it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from hatchway.errors import InvalidSpec
from hatchway.installing.indexes import index_variables
from hatchway.project import foreign
from hatchway.spec.api import Dependencies

LOCK = "uv.lock"


def build_variables(root: Path, dependencies: Dependencies, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of this shell that say where packages come from; none where nothing is to be installed."""
    if dependencies.file is None:
        return {}
    return index_variables(environ, _read(root, dependencies.file))


def check_dependencies(root: Path, dependencies: Dependencies) -> None:
    """Raises InvalidSpec for a file that uv cannot install from, with the lines that would be right."""
    if dependencies.pip is not None:
        _check_requirements(root, dependencies.pip)
    if dependencies.pyproject is not None:
        _check_pyproject(root, dependencies.pyproject)


def _check_requirements(root: Path, file: str) -> None:
    name, text = PurePosixPath(file).name, _read(root, file)
    field = "handler.dependencies.pip"
    if name.endswith((".yml", ".yaml")):
        raise _answer(f"{field}: {file} is a file of conda", foreign.from_conda(text))
    if name == "Pipfile":
        raise _answer(f"{field}: {file} is a file of Pipenv", foreign.from_pipfile(text))
    if name == "pyproject.toml":
        _check_pyproject(root, file)
        raise InvalidSpec(f"{field}: {file} is no requirements file", hint=f"write dependencies: {{pyproject: {file}}}")
    if name.endswith((".lock", ".toml")) and not name.startswith("requirements"):
        exports = {
            "Pipfile.lock": "pipenv requirements > requirements.txt",
            "poetry.lock": "poetry export -o requirements.txt",
            "uv.lock": "write dependencies: {pyproject: pyproject.toml}, which uses the lock beside it",
        }
        hint = exports.get(name, "name a requirements file, or a pyproject.toml under dependencies.pyproject")
        raise InvalidSpec(f"{field}: {file} is no requirements file", hint=hint)


def _check_pyproject(root: Path, file: str) -> None:
    field = "handler.dependencies.pyproject"
    if PurePosixPath(file).name != "pyproject.toml":
        hint = "the file must be named pyproject.toml; requirements go under dependencies.pip"
        raise InvalidSpec(f"{field}: {file} is no pyproject.toml", hint=hint)
    document = _toml(root, file)
    project = document.get("project")
    if not isinstance(project, dict):
        poetry = document.get("tool", {}).get("poetry")
        if isinstance(poetry, dict):
            raise _answer(
                f"{field}: {file} is a file of Poetry, without a [project] table", foreign.from_poetry(poetry)
            )
        raise InvalidSpec(f"{field}: {file} has no [project] table", hint="list the packages in [project] dependencies")
    lock = (PurePosixPath(file).parent / LOCK).as_posix()
    if (root / lock).is_file():
        _check_lock(file, project, lock, _toml(root, lock))


def _check_lock(file: str, project: dict[str, Any], lock: str, document: dict[str, Any]) -> None:
    """An outdated lock would install what nobody asks for any more."""
    asked = {_name(str(line)) for line in project.get("dependencies", [])}
    locked = _locked_names(str(project.get("name", "")), document)
    if locked is None or "dependencies" in project.get("dynamic", []) or asked == locked:
        return
    changes = [*(f"+{name}" for name in sorted(asked - locked)), *(f"-{name}" for name in sorted(locked - asked))]
    raise InvalidSpec(
        f"handler.dependencies.pyproject: {lock} is older than {file}: {', '.join(changes)}",
        hint="renew it: uv lock",
    )


def _locked_names(project: str, lock: dict[str, Any]) -> set[str] | None:
    """What the project asked for when it was locked; None when the lock does not say."""
    for package in lock.get("package", []):
        source = package.get("source", {})
        if "." in (source.get("virtual"), source.get("editable")) and package.get("name") == _name(project):
            return {str(one["name"]) for one in package.get("metadata", {}).get("requires-dist", []) if _is_plain(one)}
    return None


def _is_plain(required: dict[str, Any]) -> bool:
    """Whether it is asked for always, and not as an extra."""
    return "extra ==" not in str(required.get("marker", ""))


def _name(requirement: str) -> str:
    """The normalised name at the beginning of "Scikit_Learn[x] >= 1"."""
    found = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower().strip("-") if found else ""


def _answer(message: str, translation: foreign.Translation) -> InvalidSpec:
    lines = [f"requirements.txt: {line}" for line in translation.lines]
    told = [f"left out, not from PyPI: {', '.join(translation.left_out)}"] if translation.left_out else []
    python = f', python: "{translation.python}"' if translation.python else ""
    hint = f"write these lines into requirements.txt, and handler: {{dependencies: {{pip: requirements.txt}}{python}}}"
    return InvalidSpec(message, hint=hint, problems=(*lines, *told))


def _read(root: Path, file: str) -> str:
    try:
        return (root / file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise InvalidSpec(f"handler.dependencies: cannot read {file}: {reason}") from exc


def _toml(root: Path, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(root, file))
    except tomllib.TOMLDecodeError as exc:
        raise InvalidSpec(f"handler.dependencies: {file} is not TOML: {exc}") from exc
