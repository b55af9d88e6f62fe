"""What the tests of the store share: blobs and trees in a folder of their own, a disk of one MiB."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatchway.store.blobs import Blobs
from hatchway.store.trees import Trees


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def trees(tmp_path: Path, blobs: Blobs) -> Trees:
    return Trees(tmp_path / "revisions", blobs)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A real disk of 1 MiB."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()
