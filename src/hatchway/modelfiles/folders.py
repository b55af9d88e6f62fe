"""Folders that hold a model: MLflow's and those of Transformers."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hatchway.errors import ModelFileError
from hatchway.modelfiles.model_file import ModelFile
from hatchway.modelfiles.plain_yaml import NotPlain, parse

_MAX_TEXT_BYTES = 16 * 1024**2
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
        found = parse(_text(folder / "MLmodel"))
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
    lines = _text(file).splitlines()
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


# --- Transformers ----------------------------------------------------------------------------------------------
# The end of the model class's name -> the task of a text pipeline.
TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
}
_SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def examine_transformers(folder: Path) -> ModelFile:
    """Raises ModelFileError. Weights in pickles, and code in the folder, are for the user to trust."""
    config = read_config(folder)
    if not any((folder / name).is_file() for name in _SAFE_WEIGHTS + _PICKLED_WEIGHTS):
        others = [name for name in ("tf_model.h5", "flax_model.msgpack", "model.onnx") if (folder / name).is_file()]
        raise ModelFileError(
            f"{folder.name} has a config.json and no weights of PyTorch" + (f" (it has {others[0]})" if others else ""),
            reason="NoModel",
            hint="save it with model.save_pretrained(folder), and its tokenizer beside it",
        )
    for file in sorted(folder.glob("*.safetensors")):
        _check_safetensors(file)
    unsafe = (
        [] if any((folder / name).is_file() for name in _SAFE_WEIGHTS) else ["weights in a pickle (pytorch_model.bin)"]
    )
    if "auto_map" in config:
        unsafe.append("code in the folder (auto_map in config.json)")
    packages = {"transformers": str(config.get("transformers_version") or ""), "torch": ""}
    classes = tuple(str(name) for name in config.get("architectures") or () if isinstance(name, str))
    return ModelFile(folder, "transformers", "transformers", packages, tuple(unsafe), classes=classes)


def task_of(classes: Sequence[str]) -> str | None:
    """What a text pipeline does with a model of these classes; None where there is no such pipeline."""
    return next((task for end, task in TASKS.items() for name in classes if name.endswith(end)), None)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises ModelFileError (Damaged)."""
    try:
        config = json.loads(_text(folder / "config.json"))
    except (ValueError, RecursionError) as exc:
        raise ModelFileError(f"{folder.name}/config.json is not valid JSON: {exc}", reason="Damaged") from exc
    if not isinstance(config, dict):
        raise ModelFileError(f"{folder.name}/config.json is not an object", reason="Damaged")
    return config


def _check_safetensors(file: Path) -> None:
    size = os.path.getsize(file)
    with open(file, "rb") as opened:
        start = opened.read(64)
        if start.startswith(b"version https://git-lfs"):
            raise lfs_pointer(file.name)
        length = int.from_bytes(start[:8], "little")
        if size < 8 or length > size - 8 or length > 100 * 1024**2:
            raise ModelFileError(f"{file.name} is cut off or damaged ({size:,} bytes)", reason="Truncated")
        opened.seek(8)
        try:
            header = json.loads(opened.read(length))
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as exc:
            raise ModelFileError(f"{file.name} is damaged: its header cannot be read", reason="Damaged") from exc
    if max(ends, default=0) > size - 8 - length:
        raise ModelFileError(f"{file.name} is cut off ({size:,} bytes)", reason="Truncated")


def lfs_pointer(name: str) -> ModelFileError:
    """Git LFS left its pointer where the content should be."""
    return ModelFileError(
        f"{name} is a Git LFS pointer, not the model itself",
        reason="LfsPointer",
        hint="fetch the content: git lfs pull",
    )


def _text(file: Path) -> str:
    with open(file, "rb") as opened:
        data = opened.read(_MAX_TEXT_BYTES + 1)
    if len(data) > _MAX_TEXT_BYTES:
        raise ModelFileError(f"{file.name} is larger than such a file can be", reason="Damaged")
    return data.decode("utf-8")
