"""What `handler.dependencies` asks for, as content that names an environment and as calls of `uv` that fill it."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hatchway.errors import EnvironmentFailed
from hatchway.installing import requirements

LOCK = "uv.lock"
RESOLVED = "requirements.txt"

# Where an environment's place goes, which is not known yet.
ENVIRONMENT = "{environment}"
PYTHON = "{python}"


@dataclass(frozen=True)
class Install:
    """One call of uv. Its arguments may hold ENVIRONMENT and PYTHON, which `filled` replaces."""

    content: str  # the same for two environments that are to be the same
    arguments: Sequence[str]
    cwd: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def filled(self, environment: Path) -> tuple[list[str], dict[str, str]]:
        """(arguments, environment variables) for the environment at this path."""
        places = {ENVIRONMENT: str(environment), PYTHON: str(environment / "bin" / "python")}
        return (
            [places.get(argument, argument) for argument in self.arguments],
            {name: places.get(value, value) for name, value in self.variables.items()},
        )


def from_requirements(project: Path, file: str, tree: str | None = None) -> Install:
    """`pip: requirements.txt`. Raises EnvironmentFailed for a file that cannot be read.

    `tree` names the project's content, for what is installed from its files; by default its place does.
    """
    content = f"pip {requirements.digest(project, file, tree)}"
    return Install(content, ("pip", "install", "--python", PYTHON, "-r", file), project)


def find_lock(project: Path, file: str) -> Path | None:
    """The uv.lock beside a pyproject.toml."""
    path = (project / file).parent / LOCK
    return path if path.is_file() else None


def from_lock(project: Path, file: str, lock: Path, tree: str | None = None) -> Install:
    """`pyproject: pyproject.toml` with a uv.lock: exactly what is in it, and nothing for development.

    Raises EnvironmentFailed for files that cannot be read.
    """
    locked = _read(lock)
    content = {
        "lock": locked,
        "asked": asked_for(project / file),
        "at": (tree or str(project)) if _is_local(locked) else "",
    }
    return Install(
        f"lock {_digest(content)}",
        ("sync", "--frozen", "--no-default-groups", "--no-install-project", "--no-editable", "--python", PYTHON),
        lock.parent,
        {"UV_PROJECT_ENVIRONMENT": ENVIRONMENT},
    )


def declaration(project: Path, file: str, tree: str | None = None) -> str:
    """Names what a pyproject.toml without a lock asks for, before it is resolved. Raises EnvironmentFailed."""
    asked = asked_for(project / file)
    is_local = re.search(r'"path": |"workspace": |@ file:', json.dumps(asked)) is not None
    return _digest({"asked": asked, "at": (tree or str(project)) if is_local else ""})


def from_resolution(project: Path, resolution: Path) -> Install:
    """What was resolved before: one "name==version" a line."""
    arguments = ("pip", "install", "--python", PYTHON, "--no-deps", "-r", str(resolution))
    return Install(f"resolved {requirements.digest(resolution.parent, resolution.name)}", arguments, project)


def from_declaration(project: Path, file: str, tree: str | None = None) -> Install:
    """A pyproject.toml without a lock, resolved as it is installed. Raises EnvironmentFailed."""
    content = f"declared {declaration(project, file, tree)}"
    return Install(content, ("pip", "install", "--python", PYTHON, "-r", file), project)


def from_pins(project: Path, pins: Path) -> Install:
    """A requirements file that names all there is to install, one "name==version" a line."""
    content = f"pinned {requirements.digest(pins.parent, pins.name)}"
    return Install(content, ("pip", "install", "--python", PYTHON, "--no-deps", "-r", str(pins)), project)


def within(pins: Path, install: Install) -> Install:
    """With versions as they are pinned, one "name==version" a line."""
    content = f"{install.content}, pinned {requirements.digest(pins.parent, pins.name)}"
    return replace(install, content=content, arguments=(*install.arguments, "-c", str(pins)))


def asked_for(pyproject: Path) -> dict[str, object]:
    """What of a pyproject.toml decides on the packages. Raises EnvironmentFailed."""
    document = _read(pyproject)
    project, tool = document.get("project", {}), document.get("tool", {})
    return {
        "dependencies": sorted(project.get("dependencies", [])),
        "dynamic": project.get("dynamic", []),
        "python": project.get("requires-python"),
        "uv": tool.get("uv", {}),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise EnvironmentFailed(f"handler.dependencies.pyproject: cannot read {path.name}: {exc}") from exc


def _is_local(lock: Mapping[str, Any]) -> bool:
    """Whether something is built from folders or files of the project (beside the project itself)."""
    sources = (package.get("source", {}) for package in lock.get("package", []))
    return any(source.get(kind) not in (None, ".") for source in sources for kind in ("editable", "directory", "path"))


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
