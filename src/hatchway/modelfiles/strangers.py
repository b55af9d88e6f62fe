"""Files that are taken for models and cannot be served: each with its reason and what to do."""

from __future__ import annotations

from pathlib import Path

from hatchway.errors import ModelFileError
from hatchway.modelfiles.refusals import LFS_START, lfs_pointer

KINDS = (
    "joblib, pickle or skops of scikit-learn, XGBoost (.json, .ubj), LightGBM (.txt), ONNX, "
    "TorchScript or .pt2 of PyTorch, a folder of MLflow or Transformers"
)
_UNSERVED = {
    b"\x89HDF\r\n": ("a Keras (HDF5) model", "export it to ONNX, or write a handler.py that loads it"),
    b"CBM1": ("a CatBoost model", "export it: model.save_model('model.onnx', format='onnx'), or write a handler.py"),
    b"GGUF": ("a GGUF file of llama.cpp", "write a handler.py that loads it with llama_cpp"),
}


def refuse_stranger(path: Path, head: bytes) -> ModelFileError:
    """What to say of a file that no adapter opens."""
    if head.startswith(LFS_START):
        return lfs_pointer(path.name)
    for magic, (what, hint) in _UNSERVED.items():
        if head.startswith(magic):
            return ModelFileError(
                f"{path.name} is {what}, which is not served by itself", reason="UnsupportedFramework", hint=hint
            )
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 10**9:
        return ModelFileError(
            f"{path.name} holds tensors (safetensors) without the model's code",
            reason="StateDict",
            hint="name the folder that also holds config.json, or write a handler.py that builds the model",
        )
    if head.startswith(b"\x93NUMPY"):
        return ModelFileError(f"{path.name} holds a NumPy array, not a model", reason="NotAModel")
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return ModelFileError(
            f"{path.name} is a web page, not a model", reason="NotAModel", hint="download it again from the link itself"
        )
    return ModelFileError(
        f"{path.name} is not a model of a kind that is known", reason="UnknownFormat", hint=f"served are: {KINDS}"
    )


def refuse_folder(path: Path) -> ModelFileError:
    """What to say of a folder that holds no model."""
    if (path / "saved_model.pb").is_file():
        return ModelFileError(
            f"{path.name} is a TensorFlow SavedModel, which is not served by itself",
            reason="UnsupportedFramework",
            hint="export it to ONNX with tf2onnx, or write a handler.py that loads it",
        )
    return ModelFileError(
        f"the folder {path.name} holds no model: neither MLmodel (MLflow) nor config.json with weights (Transformers)",
        reason="NoModel",
        hint="name the model's file itself",
    )
