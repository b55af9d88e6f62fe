"""Whether a Python has what a model needs: pure, from the packages that the model names and those that are there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# A distribution may have the same modules under another name: onnxruntime-gpu, mlflow-skinny.
_TWINS = ("", "-cpu", "-gpu", "-skinny")


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


def names_of(package: str) -> list[str]:
    """The distributions that have the package's modules; its own first."""
    return [normal(package) + twin for twin in _TWINS]


def missing(needs: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """What has to be installed, as pip takes it: `scikit-learn==1.6.1`; without a version where none is known."""
    return [as_requirement(name, version) for name, version in needs.items() if not _found(name, there)]


def as_requirement(name: str, version: str) -> str:
    return f"{name}=={version}" if version else name


def skews(needs: Mapping[str, str], there: Mapping[str, str]) -> list[Skew]:
    """Packages whose release (the first two numbers) differs: bug fixes alone are no reason to worry anybody."""
    found = []
    for name, recorded in needs.items():
        here = _found(name, there)
        if recorded and here and _release(recorded) != _release(here):
            found.append(Skew(name, recorded, here))
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _found(name: str, there: Mapping[str, str]) -> str:
    return next((there[twin] for twin in names_of(name) if twin in there), "")


def _release(version: str) -> list[str]:
    return re.findall(r"\d+", version)[:2]
