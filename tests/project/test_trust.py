from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hatchway.errors import StorageError
from hatchway.project import Trust

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_what_was_trusted_is_remembered_by_its_content(tmp_path: Path) -> None:
    trust = Trust(tmp_path / "home/trusted-models")
    assert not trust.knows("a" * 64)
    trust.remember("a" * 64, tmp_path / "model.pkl", NOON)
    assert trust.knows("a" * 64)
    assert not trust.knows("b" * 64)
    assert not trust.knows("a")


def test_the_file_is_private_and_has_a_line_for_each_model(tmp_path: Path) -> None:
    path = tmp_path / "trusted-models"
    trust = Trust(path)
    trust.remember("a" * 64, tmp_path / "new\nline.pkl", NOON)
    trust.remember("a" * 64, tmp_path / "again.pkl", NOON)
    trust.remember("b" * 64, tmp_path / "other.pkl", NOON)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().splitlines() == [
        f"{'a' * 64} 2026-01-31T12:00:00Z {tmp_path}/new\\nline.pkl",
        f"{'b' * 64} 2026-01-31T12:00:00Z {tmp_path}/other.pkl",
    ]


def test_a_link_in_its_place_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "trusted-models").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="is trusted"):
        Trust(tmp_path / "trusted-models").remember("a" * 64, tmp_path / "m.pkl", NOON)
    assert not (tmp_path / "elsewhere").exists()
