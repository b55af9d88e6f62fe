from __future__ import annotations

import os
from pathlib import Path

from hatchway.plane import disk_bytes


def test_disk_use_is_told_by_folder_and_links_count_once(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "blobs/deeper").mkdir(parents=True)
    (tmp_path / "blobs/one").write_bytes(bytes(100_000))
    alone = disk_bytes(tmp_path)
    os.link(tmp_path / "blobs/one", tmp_path / "blobs/deeper/two")
    assert disk_bytes(tmp_path) == alone
    assert alone["blobs"] >= 100_000
    assert alone["logs"] == 0


def test_a_home_that_was_removed_takes_nothing(tmp_path: Path) -> None:
    assert disk_bytes(tmp_path / "gone") == {}
