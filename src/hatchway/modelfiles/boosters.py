"""What XGBoost and LightGBM write themselves: no code in them, a parser of their own reads them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hatchway.errors import ModelFileError
from hatchway.modelfiles.model_file import ModelFile
from hatchway.modelfiles.refusals import cut_off

_TAIL_BYTES = 4096
_UBJ_START = re.compile(rb"\{[LlIiU][\x00]*\x07learner")
_JSON_START = re.compile(rb'\s*\{\s*"(learner|version)"\s*:')
_JSON_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]')
_UBJ_INTS = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8}


def looks_like_xgboost(head: bytes) -> bool:
    return bool(_JSON_START.match(head) or _UBJ_START.match(head) or head.startswith(b"binf"))


def looks_like_lightgbm(head: bytes) -> bool:
    return head.startswith((b"tree\nversion=", b"tree\r\nversion="))


def examine_xgboost(path: Path, head: bytes) -> ModelFile:
    """Raises ModelFileError."""
    if head.startswith(b"binf"):
        raise ModelFileError(
            f"{path.name} is of XGBoost's old binary format, which XGBoost 3.1 and later do not read",
            reason="OldXGBoostFile",
            hint="load it with the XGBoost that wrote it and save it again: booster.save_model('model.ubj')",
        )
    tail = _tail(path)
    is_json = bool(_JSON_START.match(head))
    found = _JSON_VERSION.search(head) or _JSON_VERSION.search(tail) if is_json else None
    version = b".".join(found.groups()).decode() if found else ("" if is_json else _ubj_version(tail))
    if not version or not tail.rstrip().endswith(b"}"):  # the version is the last entry
        raise cut_off(path)
    return ModelFile(
        path,
        format="xgboost-json" if is_json else "xgboost-ubj",
        framework="xgboost",
        packages={"xgboost": version},
    )


def examine_lightgbm(path: Path) -> ModelFile:
    """Raises ModelFileError. The file names the version of its format only, not LightGBM's."""
    if not _contains(path, b"\nend of trees"):
        raise cut_off(path)
    return ModelFile(path, format="lightgbm-text", framework="lightgbm", packages={"lightgbm": ""})


def _ubj_version(tail: bytes) -> str:
    """The last entry of the outermost object: version, three small integers."""
    at = tail.rfind(b"version[")
    if at < 0:
        return ""
    rest = tail[at + len(b"version[") :]
    kind = b""
    if rest.startswith(b"$"):
        kind, rest = rest[1:2], rest[2:]
    if rest.startswith(b"#"):
        rest = rest[2 + _UBJ_INTS.get(rest[1:2], 0) :]
    numbers = []
    for _ in range(3):
        if not kind:
            marker, rest = rest[:1], rest[1:]
        width = _UBJ_INTS.get(kind or marker)
        if width is None or len(rest) < width:
            return ""
        numbers.append(int.from_bytes(rest[:width], "big"))
        rest = rest[width:]
    return ".".join(map(str, numbers))


def _tail(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - _TAIL_BYTES))
        return file.read()


def _contains(path: Path, wanted: bytes) -> bool:
    before = b""
    with open(path, "rb") as file:
        while data := file.read(1024 * 1024):
            if wanted in before + data:
                return True
            before = data[-len(wanted) :]
    return False
