"""Whether a Python has what a model needs: pure, from the packages that the model names and those that are there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Skew:
    """A package whose version in the file is another one than in the environment."""

    package: str
    recorded: str
    installed: str

    def __str__(self) -> str:
        return f"made with {self.package} {self.recorded}, served with {self.installed}"


def installed(packages: Iterable[str]) -> dict[str, str]:
    """`name==version` lines as a map; names as in `normal`."""
    pairs = (package.partition("==") for package in packages)
    return {normal(name): version for name, _, version in pairs}


def missing(needs: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """What has to be installed, as pip takes it: `scikit-learn==1.6.1`; without a version where none is known."""
    return [f"{name}=={version}" if version else name for name, version in needs.items() if normal(name) not in there]


def skews(needs: Mapping[str, str], there: Mapping[str, str]) -> list[Skew]:
    """Packages whose release (the first two numbers) differs: bug fixes alone are no reason to worry anybody."""
    found = []
    for name, recorded in needs.items():
        here = there.get(normal(name), "")
        if recorded and here and _release(recorded) != _release(here):
            found.append(Skew(name, recorded, here))
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _release(version: str) -> list[str]:
    return re.findall(r"\d+", version)[:2]
