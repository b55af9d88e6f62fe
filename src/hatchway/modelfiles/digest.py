"""SHA-256 of a model's content: what trust is remembered by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Of a file's bytes; of a folder: of its files' relative names and digests, in order."""
    if path.is_dir():
        lines = [f"{_of_file(file)}  {file.relative_to(path).as_posix()}\n" for file in files_below(path)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    return _of_file(path)


# What a deploy never takes along (`project.collect` too): hashed here, the replica's copy would be another content.
NEVER = ("__pycache__", "*.py[cod]", "*.egg-info", "node_modules")


def files_below(path: Path) -> list[Path]:
    """As a deploy takes them along: through links, without hidden files."""
    return sorted(_below(path, frozenset()))


def _below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above or (above and (folder / "pyvenv.cfg").exists()):
        return
    for entry in folder.iterdir():
        if entry.name.startswith(".") or any(fnmatchcase(entry.name, pattern) for pattern in NEVER):
            continue
        if entry.is_dir():
            yield from _below(entry, above | {real})
        elif entry.is_file():
            yield entry


def _of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
