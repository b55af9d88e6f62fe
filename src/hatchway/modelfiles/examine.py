"""What a file or folder is, by its content; its name decides only between things that look alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hatchway.errors import ModelFileError
from hatchway.modelfiles.digest import sha256_of
from hatchway.modelfiles.model_file import ModelFile
from hatchway.modelfiles.pickled import examine_pickle, looks_like_pickle, unpacked_head
from hatchway.modelfiles.source import compression_of

_HEAD_BYTES = 4096


def examine(path: Path) -> ModelFile:
    """Raises ModelFileError; loads, imports and runs nothing of the file's."""
    try:
        found = _examine_folder(path) if path.is_dir() else _examine_file(path)
        return dataclasses.replace(found, sha256=sha256_of(path))
    except OSError as exc:
        raise ModelFileError(f"cannot read {path}: {exc.strerror or exc}", reason="Unreadable") from exc


def _examine_folder(path: Path) -> ModelFile:
    raise ModelFileError(f"the folder {path.name} holds no model", reason="NoModel")


def _examine_file(path: Path) -> ModelFile:
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise ModelFileError(f"{path.name} is empty", reason="Empty")
    if looks_like_pickle(head) or looks_like_pickle(_unpacked(path, head)):
        return examine_pickle(path, head)
    raise ModelFileError(f"{path.name} is of no kind that is known", reason="UnknownFormat", hint="")


def _unpacked(path: Path, head: bytes) -> bytes:
    compression = compression_of(head)
    if compression == "lz4":
        return b"\x80\x04"  # joblib alone writes such files
    return unpacked_head(path, compression) if compression else b""
