"""From a launch's model file to an adapter: examined, trusted or refused, opened, versions compared."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchway.contract import Launch
from hatchway.errors import LoadError, ModelFileError
from hatchway.modelfiles import ModelFile, examine
from hatchway.replica.models import unpickling
from hatchway.replica.models.model import Model
from hatchway.replica.models.sklearn_model import SklearnModel


@dataclass(frozen=True)
class Opened:
    """An adapter ready to predict. `warning` names versions that differ from the file's; "" when none does."""

    model: Model
    file: ModelFile
    warning: str


@dataclass(frozen=True)
class Opening:
    """What an adapter is opened with."""

    file: ModelFile
    is_trusted: bool  # the user lets it run code as it loads
    cpu_threads: int


def open_model(launch: Launch) -> Opened:
    """Raises LoadError: UntrustedModel, MissingPackage, VersionSkew, LoadFailed, NoPredict, or why it is no model."""
    name = launch.model or ""
    try:
        file = examine(Path(os.path.join(launch.project_dir, name)))
    except ModelFileError as exc:
        raise LoadError(exc.message, reason=exc.reason, hint=exc.hint) from exc
    is_trusted = file.sha256 in launch.trusted_models
    if file.unsafe and not is_trusted:
        raise untrusted(name, file, file.unsafe)
    try:
        model = _opener_of(file)(Opening(file, is_trusted, launch.cpu_threads))
    except LoadError:
        raise
    except unpickling.ForbiddenName as exc:
        raise untrusted(name, file, (str(exc),)) from exc
    except ModuleNotFoundError as exc:
        raise _missing(name, file, exc) from exc
    except BaseException as exc:
        raise _failed(name, file, exc) from exc
    return Opened(model, file, skew_of(file))


def untrusted(name: str, file: ModelFile, found: tuple[str, ...]) -> LoadError:
    shown = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
    return LoadError(
        f"loading {name} would run what is not on the list of known-safe names: {shown}",
        reason="UntrustedModel",
        hint=f"if you trust where the file comes from, deploy it with --trust (its SHA-256 is {file.sha256})",
    )


def _opener_of(file: ModelFile) -> Callable[[Opening], Model]:
    return _OPENERS[file.format]


def _open_pickle(opening: Opening) -> Model:
    estimator = _unpickle(opening)
    return SklearnModel(estimator)


def _unpickle(opening: Opening) -> Any:
    path = opening.file.path
    if opening.is_trusted:
        module = "joblib" if opening.file.format == "joblib" else "pickle"
        load = importlib.import_module(module).load
        if module == "joblib":
            return load(path)
        with open(path, "rb") as file:
            return load(file)
    return unpickling.load_joblib(path) if opening.file.format == "joblib" else unpickling.load_plain(path)


_OPENERS: dict[str, Callable[[Opening], Model]] = {"pickle": _open_pickle, "joblib": _open_pickle}


# --- versions --------------------------------------------------------------------------------------------------
def differing(file: ModelFile) -> dict[str, tuple[str, str]]:
    """Distribution -> (version in the file, version here), where both are known and are not the same."""
    here = {name: _installed(name) for name, version in file.packages.items() if version}
    return {
        name: (file.packages[name], version)
        for name, version in here.items()
        if version and version != file.packages[name]
    }


def skew_of(file: ModelFile) -> str:
    """A sentence for people, or ""."""
    found = [f"{name} {theirs}, and this environment has {ours}" for name, (theirs, ours) in differing(file).items()]
    return f"{file.path.name} was written with {'; '.join(found)}" if found else ""


def _installed(name: str) -> str:
    for candidate in (name, f"{name}-cpu", f"{name}-gpu", f"{name}-skinny"):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _pip_line(file: ModelFile) -> str:
    return "pip install " + " ".join(f"'{name}=={theirs}'" for name, (theirs, _) in differing(file).items())


def _missing(name: str, file: ModelFile, exc: ModuleNotFoundError) -> LoadError:
    package = (exc.name or "").partition(".")[0]
    skew = skew_of(file)
    if skew:
        return LoadError(f"loading {name} failed: {exc}. {skew}", reason="VersionSkew", hint=_pip_line(file))
    distribution = {"sklearn": "scikit-learn"}.get(package, package)
    version = file.packages.get(distribution, "")
    return LoadError(
        f"loading {name} needs {distribution}, which this environment does not have",
        reason="MissingPackage",
        hint=f"pip install {f'{distribution}=={version}' if version else distribution}",
    )


def _failed(name: str, file: ModelFile, exc: BaseException) -> LoadError:
    what = f"loading {name} failed: {type(exc).__name__}: {exc}"
    skew = skew_of(file)
    if skew:
        return LoadError(f"{what}. {skew}", reason="VersionSkew", hint=_pip_line(file))
    return LoadError(what, reason="LoadFailed")
