"""Modules of the user's own, as opposed to installed ones: they travel with what is deployed."""

from __future__ import annotations

import ast
import importlib.machinery
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from hatchway.errors import UsageError

_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.py[cod]", "*.egg-info", "node_modules", ".*")
_INSTALLED = ("site-packages", "dist-packages")
_OURS = "hatchway"  # what is deployed runs without it


def is_local(name: str) -> bool:
    """Whether the top-level module of `name` is a file or folder of the user's own."""
    place = _place(name)
    if place is None or any(part in _INSTALLED for part in place.parts):  # those of other environments on the path too
        return False
    return not any(place.is_relative_to(folder) for folder in _standard_library())


def copy_local(name: str, folder: Path) -> None:
    """Put the top-level module of `name` into `folder`, and whatever of the user's own it imports.

    Raises UsageError for one that cannot travel.
    """
    top = name.partition(".")[0]
    place = _place(top)
    if place is None or (folder / place.name).exists():
        return
    if place.suffix in importlib.machinery.EXTENSION_SUFFIXES or place.suffix not in ("", ".py"):
        raise UsageError(f"the module {top} ({place}) is not Python source", hint="install it as a package")
    if place.is_dir():
        shutil.copytree(place, folder / place.name, ignore=_NOT_COPIED)
        sources = list((folder / place.name).rglob("*.py"))
    else:
        shutil.copyfile(place, folder / place.name)
        sources = [folder / place.name]
    for source in sources:
        for imported in _imports(source):
            if imported in sys.modules and is_local(imported):
                copy_local(imported, folder)


def _place(name: str) -> Path | None:
    """The file or the folder of a top-level module; None for a built-in one, a notebook's and ours."""
    top = name.partition(".")[0]
    module = sys.modules.get(top)
    if top in (_OURS, "__main__") or not isinstance(module, ModuleType):
        return None
    folders = list(getattr(module, "__path__", []))
    if folders:
        return Path(folders[0]).resolve()
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _standard_library() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(paths[key]).resolve() for key in ("stdlib", "platstdlib")]


def _imports(source: Path) -> Iterator[str]:
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
