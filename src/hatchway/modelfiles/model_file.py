"""What is known of a model file from its bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ModelFile:
    """A file or folder that can be served."""

    path: Path
    # pickle, joblib, skops, xgboost-json, xgboost-ubj, lightgbm-text, onnx, torchscript, pt2, mlflow, transformers
    format: str
    framework: str  # sklearn, xgboost, lightgbm, onnx, torch, transformers, or the package of a pickled object's class
    packages: dict[str, str] = field(default_factory=dict)  # distribution -> version recorded in the file, "" unknown
    unsafe: tuple[str, ...] = ()  # what loading would call outside the known-safe list; () = safe
    sha256: str = ""  # of the content; of a folder: of its files' names and contents
    facts: dict[str, str] = field(default_factory=dict)  # what else it says of itself: "ONNX opset" -> "21"
    classes: tuple[str, ...] = ()  # of a pickle: the class of what it holds, "module.Name"
