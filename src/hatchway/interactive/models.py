"""Fitted models of a running process, saved in the format that their own framework reads back best."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchway.errors import UsageError


@dataclass(frozen=True)
class Format:
    """How models of one class are saved, and how a handler of one's own would load them."""

    suffix: str  # "" for a folder
    save: Callable[[Any, Path, Any], None]  # (model, where, example payload)
    imports: str
    load: str  # an expression of {path}


def format_of(model: object) -> Format | None:
    """The format for a model of a known framework, or None. Nothing is imported: what a model is of is loaded."""
    for module, name, form in _FORMATS:
        cls = getattr(sys.modules.get(module), name, None)
        if isinstance(cls, type) and isinstance(model, cls):
            return form
    return None


def _save_joblib(model: Any, path: Path, example: Any) -> None:
    import joblib

    joblib.dump(model, path)


def _save_model(model: Any, path: Path, example: Any) -> None:
    model.save_model(str(path))


def _save_onnx(model: Any, path: Path, example: Any) -> None:
    path.write_bytes(model.SerializeToString())


def _save_folder(model: Any, path: Path, example: Any) -> None:
    model.save_pretrained(str(path))


def _save_torchscript(model: Any, path: Path, example: Any) -> None:
    sys.modules["torch"].jit.save(model, str(path))


def _save_torch(model: Any, path: Path, example: Any) -> None:
    """As an exported program: it needs no class to be loaded, and an input to be traced with."""
    torch: Any = sys.modules["torch"]
    if example is None:
        raise UsageError(
            "a torch module is traced with an input before it is served",
            hint="give one: hatchway.deploy(model, example=[[5.1, 3.5, 1.4, 0.2]]), the batch as its first dimension",
        )
    given = example if isinstance(example, torch.Tensor) else torch.tensor(example)
    was_training = model.training
    try:
        batch = torch.export.Dim("batch")
        # Two rows, since a dimension of one is taken for a constant.
        rows = given if given.shape[0] > 1 else torch.cat([given, given])
        program = torch.export.export(model.eval(), (rows,), dynamic_shapes=({0: batch},))
        torch.export.save(program, str(path))
    finally:
        model.train(was_training)


_JOBLIB = Format(".joblib", _save_joblib, "import joblib", "joblib.load({path!r})")
# The first that fits counts.
_FORMATS = (
    ("sklearn.base", "BaseEstimator", _JOBLIB),  # XGBoost's and LightGBM's estimators too: labels and all
    ("xgboost", "Booster", Format(".ubj", _save_model, "import xgboost", "xgboost.Booster(model_file={path!r})")),
    ("lightgbm", "Booster", Format(".txt", _save_model, "import lightgbm", "lightgbm.Booster(model_file={path!r})")),
    ("torch.jit", "ScriptModule", Format(".pt", _save_torchscript, "import torch", "torch.jit.load({path!r})")),
    (
        "transformers",
        "Pipeline",
        Format("", _save_folder, "import transformers", "transformers.pipeline(model={path!r})"),
    ),
    ("torch.nn", "Module", Format(".pt2", _save_torch, "import torch", "torch.export.load({path!r}).module()")),
    ("onnx", "ModelProto", Format(".onnx", _save_onnx, "import onnx", "onnx.load({path!r})")),
)
