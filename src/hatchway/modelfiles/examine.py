"""What a file or folder is, by its content; its name decides only between things that look alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hatchway.errors import ModelFileError
from hatchway.modelfiles import mlflow_folder
from hatchway.modelfiles.archives import examine_archive, looks_like_zip
from hatchway.modelfiles.boosters import examine_lightgbm, examine_xgboost, looks_like_lightgbm, looks_like_xgboost
from hatchway.modelfiles.digest import sha256_of
from hatchway.modelfiles.model_file import ModelFile
from hatchway.modelfiles.onnx import examine_onnx, looks_like_onnx
from hatchway.modelfiles.pickled import examine_pickle, looks_like_pickle, unpacked_head
from hatchway.modelfiles.source import compression_of
from hatchway.modelfiles.strangers import refuse_folder, refuse_stranger
from hatchway.modelfiles.transformers_folder import examine_transformers

_HEAD_BYTES = 4096


def examine(path: Path) -> ModelFile:
    """Raises ModelFileError; loads, imports and runs nothing of the file's."""
    try:
        found = _examine_folder(path) if path.is_dir() else _examine_file(path)
        return dataclasses.replace(found, sha256=sha256_of(path))
    except OSError as exc:
        raise ModelFileError(f"cannot read {path}: {exc.strerror or exc}", reason="Unreadable") from exc


def _examine_folder(path: Path) -> ModelFile:
    if (path / "MLmodel").is_file():
        mlmodel = mlflow_folder.read_mlmodel(path)
        native = mlflow_folder.native_model(path, mlmodel)
        if native is None:
            return mlflow_folder.pyfunc_model(path, mlmodel)
        return mlflow_folder.as_mlflow(path, mlmodel, _examine_file(native))
    if (path / "config.json").is_file():
        return examine_transformers(path)
    raise refuse_folder(path)


def _examine_file(path: Path) -> ModelFile:
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise ModelFileError(f"{path.name} is empty", reason="Empty", hint="write or copy it again")
    if looks_like_zip(head):
        return examine_archive(path)
    if looks_like_lightgbm(head):
        return examine_lightgbm(path)
    if looks_like_xgboost(head):
        return examine_xgboost(path, head)
    if looks_like_pickle(head) or looks_like_pickle(_unpacked(path, head)):
        return examine_pickle(path, head)
    if looks_like_onnx(head):
        return examine_onnx(path)
    raise refuse_stranger(path, head)


def _unpacked(path: Path, head: bytes) -> bytes:
    compression = compression_of(head)
    if compression == "lz4":
        return b"\x80\x04"  # joblib alone writes such files
    return unpacked_head(path, compression) if compression else b""
