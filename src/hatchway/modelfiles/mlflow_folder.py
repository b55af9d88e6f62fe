"""Folders of MLflow."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path, PurePosixPath
from typing import Any

from hatchway.errors import ModelFileError
from hatchway.modelfiles.model_file import ModelFile
from hatchway.modelfiles.plain_yaml import NotPlain, parse
from hatchway.modelfiles.source import read_text

# Flavour -> the fields that name its file, the first that is there; in the order in which they are tried.
FLAVOURS = {
    "sklearn": ("pickled_model",),
    "xgboost": ("data",),
    "lightgbm": ("data",),
    "onnx": ("data",),
    "pytorch": ("model_data",),
}
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*==\s*([A-Za-z0-9.!_-]+)")


def read_mlmodel(folder: Path) -> dict[str, Any]:
    """The MLmodel file. Raises ModelFileError (Damaged)."""
    try:
        found = parse(read_text(folder / "MLmodel"))
    except (NotPlain, UnicodeDecodeError) as exc:
        raise ModelFileError(f"{folder.name}/MLmodel cannot be read: {exc}", reason="Damaged") from exc
    if not isinstance(found, dict) or not isinstance(found.get("flavors"), dict):
        raise ModelFileError(f"{folder.name}/MLmodel names no flavours", reason="Damaged")
    return found


def native_model(folder: Path, mlmodel: dict[str, Any]) -> Path | None:
    """The file of the first flavour that can be opened without MLflow; None: only python_function is left.

    Raises ModelFileError when a file is named that is not in the folder.
    """
    for flavour, keys in FLAVOURS.items():
        fields = mlmodel["flavors"].get(flavour)
        if not isinstance(fields, dict):
            continue
        name = next((str(fields[key]) for key in keys if fields.get(key)), "")
        if not name:
            continue
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ModelFileError(f"{folder.name}/MLmodel names a file outside the folder: {name}", reason="Damaged")
        file = folder / name
        if file.is_dir() and flavour == "pytorch":
            file = file / "model.pth"
        if not file.is_file():
            raise ModelFileError(f"{folder.name}/MLmodel names {name}, which is not there", reason="NoModel")
        return file
    return None


def recorded_packages(folder: Path) -> dict[str, str]:
    """What MLflow wrote to requirements.txt, where it names a version."""
    file = folder / "requirements.txt"
    if not file.is_file():
        return {}
    lines = read_text(file).splitlines()
    return {found.group(1).lower(): found.group(2) for line in lines if (found := _PINNED.match(line.strip()))}


def pyfunc_model(folder: Path, mlmodel: dict[str, Any]) -> ModelFile:
    """A folder that only MLflow itself can open: it imports the module that the folder names."""
    fields = mlmodel["flavors"].get("python_function")
    if not isinstance(fields, dict):
        names = ", ".join(map(str, mlmodel["flavors"])) or "none"
        raise ModelFileError(
            f"{folder.name} has no flavour that can be served (it has: {names})",
            reason="UnsupportedFramework",
            hint=f"served are {', '.join(FLAVOURS)} and python_function",
        )
    loader = str(fields.get("loader_module", "python_function"))
    packages = {"mlflow": str(mlmodel.get("mlflow_version") or "")} | recorded_packages(folder)
    return ModelFile(folder, "mlflow", "mlflow", packages, unsafe=(f"{loader} and what the folder's pickles name",))


def as_mlflow(folder: Path, mlmodel: dict[str, Any], inner: ModelFile) -> ModelFile:
    """The folder, known by the file that it holds."""
    recorded = recorded_packages(folder)
    packages = inner.packages | {name: recorded[name] for name in inner.packages if name in recorded}
    packages |= {"xgboost": recorded["xgboost"]} if inner.framework == "xgboost" and "xgboost" in recorded else {}
    return dataclasses.replace(inner, path=folder, format="mlflow", packages=packages)
