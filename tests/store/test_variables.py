"""Values are private, whole, and known to others by a keyed digest only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hatchway.errors import StorageError
from hatchway.store.variables import Variables


@pytest.fixture
def variables(tmp_path: Path) -> Variables:
    return Variables(tmp_path / "variables")


def test_values_are_kept_per_revision_in_private_files(variables: Variables) -> None:
    variables.save("iris", "r1", {"TOKEN": "größer"})
    variables.save("iris", "r1", {"TOKEN": "new"})
    variables.save("iris", "r2", {})
    assert variables.load("iris", "r1") == {"TOKEN": "new"}
    assert variables.load("iris", "r2") == {}
    assert variables.load("other", "r1") == {}
    for path in variables.folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_removed_values_are_gone(variables: Variables) -> None:
    for revision in ("r1", "r2", "r3"):
        variables.save("iris", revision, {"A": revision})
    variables.prune({("iris", "r3")})
    assert [variables.load("iris", r) for r in ("r1", "r2", "r3")] == [{}, {}, {"A": "r3"}]
    variables.remove("iris")
    variables.remove("iris")
    assert [path.name for path in variables.folder.iterdir()] == [".key"]


def test_the_key_is_made_once_per_home(tmp_path: Path) -> None:
    here, again, elsewhere = Variables(tmp_path / "a"), Variables(tmp_path / "a"), Variables(tmp_path / "b")
    assert here.key() == again.key() != elsewhere.key()
    assert len(here.key()) == 32


def test_a_damaged_file_is_named(variables: Variables) -> None:
    variables.save("iris", "r1", {"A": "1"})
    (variables.folder / "iris" / "r1.json").write_text("{")
    with pytest.raises(StorageError, match=r"r1\.json is damaged"):
        variables.load("iris", "r1")


def test_a_name_cannot_leave_the_folder(variables: Variables) -> None:
    with pytest.raises(StorageError):
        variables.save("..", "r1", {})
    with pytest.raises(StorageError):
        variables.load("iris", "../../x")


def test_a_full_disk_is_a_storage_error_and_keeps_the_old_values(small_disk: Path) -> None:
    variables = Variables(small_disk / "variables")
    variables.save("iris", "r1", {"A": "1"})
    with pytest.raises(StorageError, match="No space left"):
        variables.save("iris", "r1", {"A": "x" * 2_000_000})
    assert variables.load("iris", "r1") == {"A": "1"}
