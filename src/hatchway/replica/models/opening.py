"""From a launch's model file to an adapter: examined, trusted or refused, opened, versions compared."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchway.contract import Launch
from hatchway.errors import LoadError, ModelFileError
from hatchway.modelfiles import ModelFile, examine
from hatchway.modelfiles.known_globals import is_known
from hatchway.modelfiles.versions import Skew, as_requirement, names_of, skews
from hatchway.replica.models import boosters, mlflow_model, torch_model, transformers_model, unpickling
from hatchway.replica.models.model import Model, Opening
from hatchway.replica.models.onnx_model import OnnxModel
from hatchway.replica.models.sklearn_model import SklearnModel


@dataclass(frozen=True)
class Opened:
    """An adapter ready to predict. `warning` names versions that differ from the file's; "" when none does."""

    model: Model
    file: ModelFile
    warning: str


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
        model = _open(file, is_trusted, launch.cpu_threads)
    except LoadError:
        raise
    except unpickling.Forbidden as exc:
        raise untrusted(name, file, (str(exc),)) from exc
    except ModuleNotFoundError as exc:
        raise _missing(name, file, exc) from exc
    except BaseException as exc:
        raise _failed(name, file, exc) from exc
    return Opened(model, file, skew_of(file))


def _open(file: ModelFile, is_trusted: bool, cpu_threads: int) -> Model:
    """By the file itself; of a folder of MLflow, by the file in it where a framework can open that alone."""
    inner = mlflow_model.inner_file(file) if file.format == "mlflow" else file
    return _OPENERS[inner.format](Opening(file, inner, is_trusted, cpu_threads))


def untrusted(name: str, file: ModelFile, found: tuple[str, ...]) -> LoadError:
    shown = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
    return LoadError(
        f"loading {name} would run what is not on the list of known-safe names: {shown}",
        reason="UntrustedModel",
        hint=f"if you trust where the file comes from, deploy it with --trust (its SHA-256 is {file.sha256})",
    )


# --- by format -------------------------------------------------------------------------------------------------
def _open_pickle(opening: Opening) -> Model:
    return _of_object(_unpickle(opening), opening)


def _of_object(found: Any, opening: Opening) -> Model:
    package = type(found).__module__.partition(".")[0]
    if type(found).__name__ == "Booster" and package == "xgboost":
        return boosters.of_xgboost(found, opening.cpu_threads)
    if type(found).__name__ == "Booster" and package == "lightgbm":
        return boosters.of_lightgbm(found, opening.cpu_threads)
    return SklearnModel(found)


def _unpickle(opening: Opening) -> Any:
    path, is_joblib = opening.path, opening.inner.format == "joblib"
    if not opening.is_trusted:
        return unpickling.load_joblib(path) if is_joblib else unpickling.load_plain(path)
    if is_joblib:
        return importlib.import_module("joblib").load(path)
    with open(path, "rb") as file:
        return importlib.import_module("pickle").load(file)


def _open_skops(opening: Opening) -> Model:
    """skops has a list of its own; ours decides what is added to it."""
    skops = importlib.import_module("skops.io")
    asked = skops.get_untrusted_types(file=str(opening.path))
    foreign = [name for name in asked if not is_known(*name.rpartition(".")[::2])]
    if foreign and not opening.is_trusted:
        raise unpickling.Forbidden(", ".join(foreign))
    return _of_object(skops.load(str(opening.path), trusted=asked), opening)


def _open_transformers(opening: Opening) -> Model:
    return transformers_model.open_transformers(
        opening.path, opening.file.classes, is_trusted=opening.is_trusted, cpu_threads=opening.cpu_threads
    )


_OPENERS: dict[str, Callable[[Opening], Model]] = {
    "pickle": _open_pickle,
    "joblib": _open_pickle,
    "skops": _open_skops,
    "xgboost-json": lambda opening: boosters.open_xgboost(opening.path, opening.cpu_threads),
    "xgboost-ubj": lambda opening: boosters.open_xgboost(opening.path, opening.cpu_threads),
    "lightgbm-text": lambda opening: boosters.open_lightgbm(opening.path, opening.cpu_threads),
    "onnx": lambda opening: OnnxModel(opening.inner, opening.path, opening.cpu_threads),
    "torchscript": lambda opening: torch_model.open_torchscript(opening.path, opening.cpu_threads),
    "pt2": lambda opening: torch_model.open_pt2(opening.path, opening.cpu_threads, is_trusted=opening.is_trusted),
    "torch-pickle": lambda opening: torch_model.open_module(opening.path, opening.cpu_threads),
    "transformers": _open_transformers,
    "mlflow": mlflow_model.open_pyfunc,
}


# --- versions --------------------------------------------------------------------------------------------------
def skews_of(file: ModelFile) -> list[Skew]:
    """Of the packages that the file names, those that this Python has in another release."""
    candidates = {name for package in file.packages for name in names_of(package)}
    return skews(file.packages, {name: version for name in candidates if (version := _version_here(name))})


def skew_of(file: ModelFile) -> str:
    """A sentence for people, or ""."""
    found = [f"{skew.package} {skew.recorded}, and this environment has {skew.installed}" for skew in skews_of(file)]
    return f"{file.path.name} was written with {'; '.join(found)}" if found else ""


def _version_here(name: str) -> str:
    import importlib.metadata  # most replicas have no model file, and need not wait for it

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _pip_line(file: ModelFile) -> str:
    wanted = [f"'{as_requirement(skew.package, skew.recorded)}'" for skew in skews_of(file)]
    return f"pip install {' '.join(wanted)}"


def _missing(name: str, file: ModelFile, exc: ModuleNotFoundError) -> LoadError:
    package = (exc.name or "").partition(".")[0]
    skew = skew_of(file)
    if skew:
        return LoadError(f"loading {name} failed: {exc}. {skew}", reason="VersionSkew", hint=_pip_line(file))
    distribution = {"sklearn": "scikit-learn"}.get(package, package)
    return LoadError(
        f"loading {name} needs {distribution}, which this environment does not have",
        reason="MissingPackage",
        hint=f"pip install {as_requirement(distribution, file.packages.get(distribution, ''))}",
    )


def _failed(name: str, file: ModelFile, exc: BaseException) -> LoadError:
    what = f"loading {name} failed: {type(exc).__name__}: {exc}"
    skew = skew_of(file)
    if skew:
        return LoadError(f"{what}. {skew}", reason="VersionSkew", hint=_pip_line(file))
    return LoadError(what, reason="LoadFailed")
