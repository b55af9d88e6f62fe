"""SHA-256 of a model's content: what trust is remembered by."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Of a file's bytes; of a folder: of its files' relative names and digests, in order."""
    if path.is_dir():
        lines = [f"{_of_file(file)}  {file.relative_to(path).as_posix()}\n" for file in files_below(path)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    return _of_file(path)


def files_below(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def _of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
