"""A model's file or folder as a project of its own: which paths are models, and the API that a path alone describes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hatchway.errors import NotFound, UsageError
from hatchway.spec.api import MAX_NAME_CHARS

YAML_SUFFIXES = (".yaml", ".yml")
MODEL_SUFFIXES = (
    ".joblib", ".pkl", ".pickle", ".skops",
    ".ubj", ".json", ".bst", ".xgb", ".txt", ".lgb", ".model",
    ".onnx", ".pt", ".pth", ".ts", ".pt2", ".safetensors",
)  # fmt: skip
MODEL_FOLDER_MARKS = ("MLmodel", "config.json")  # of MLflow and of Transformers
PROJECT_FILES = ("hatchway.yaml", "cortex.yaml")
_SNIFFED_BYTES = 4096


def is_model(path: Path) -> bool:
    """Whether `path` is to be served as a model. What is neither that nor missing is read as YAML.

    Raises UsageError for what is neither a model nor YAML for sure, with what to write instead.
    """
    if path.is_dir():
        has_project = any((path / name).is_file() for name in PROJECT_FILES)
        return not has_project and any((path / mark).is_file() for mark in MODEL_FOLDER_MARKS)
    suffix = path.suffix.lower()
    if not path.is_file() or suffix in YAML_SUFFIXES:
        return False
    _refuse_code(path, suffix)
    return suffix in MODEL_SUFFIXES or not _is_text(path)


def api_name(path: Path) -> str:
    """A valid name for an API from the name of its model's file: `Iris model v2.joblib` -> `iris-model-v2`."""
    stem = path.resolve().name if path.is_dir() else path.name.removesuffix(path.suffix)
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    if not re.match(r"[a-z]", name) or name.startswith("b-"):
        name = f"model-{name}".rstrip("-")
    return name[:MAX_NAME_CHARS].rstrip("-")


def find_model(path: str | os.PathLike[str]) -> Path:
    """Raises NotFound."""
    found = Path(path).expanduser()
    if not found.exists():
        raise NotFound(f"there is no file or folder {found}")
    return found


def _refuse_code(path: Path, suffix: str) -> None:
    if suffix == ".py":
        raise UsageError(
            f"{path} is Python: a handler is named in a YAML file",
            hint=f"write hatchway.yaml with  name: {api_name(path)}  and  handler: {{path: {path.name}}},"
            " and deploy its folder",
        )
    if suffix == ".ipynb":
        raise UsageError(
            f"{path} is a notebook",
            hint="in its last cell: import hatchway; hatchway.deploy(model)  (or a function of yours)",
        )


def _is_text(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_SNIFFED_BYTES)
    except OSError:
        return True  # whoever reads it as YAML says what is wrong
    return b"\0" not in start and b"\xff" not in start and _decodes(start)


def _decodes(start: bytes) -> bool:
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as exc:
        return len(start) == _SNIFFED_BYTES and exc.start > len(start) - 4  # cut off within a character
    return True
