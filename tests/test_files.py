"""A file that is replaced in one step."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hatchway.files import replace_text


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for text in ("old", "new"):
        replace_text(path, text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_could_not_be_written_leaves_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    replace_text(path, "old")
    (tmp_path / "record.json.unfinished").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        replace_text(path, "new")
    assert path.read_text() == "old"
