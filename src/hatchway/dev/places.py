"""Folders of a session, which go with it. What a killed session left is removed by the next one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hatchway.processes import identify
from hatchway.settings import Settings

_PREFIX = "hatchway-dev-"


@dataclass(frozen=True)
class Places:
    """Where the replicas of a session keep what they need."""

    scratch: Path
    sockets: Path
    bytecode: Path  # not of this session alone


def owner() -> str:
    """What stands for a home in the marks of our processes: they are not the engine's, and end with us."""
    return f"dev-{os.getpid()}"


@contextlib.contextmanager
def places(settings: Settings) -> Iterator[Places]:
    """Make them, and remove them at the end. Raises StorageError."""
    settings.prepare()
    # Sockets beside those of homes: the paths are short there.
    roots = (Path(tempfile.gettempdir()), settings.runtime_dir.parent)
    for root in roots:
        _sweep(root)
    scratch, sockets = (Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root)) for root in roots)
    try:
        yield Places(scratch, sockets, settings.bytecode_dir)
    finally:
        for folder in (scratch, sockets):
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        pid = re.match(rf"{_PREFIX}(\d+)-", folder.name)
        if pid and identify(int(pid[1])) is None:
            shutil.rmtree(folder, ignore_errors=True)
