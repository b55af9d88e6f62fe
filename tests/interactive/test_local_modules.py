from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatchway.interactive.local_modules import copy_local, is_local


@pytest.mark.parametrize(
    "name", ["json", "os.path", "sys", "numpy", "pytest", "hatchway", "__main__", "never_imported"]
)
def test_what_is_installed_or_ours_is_not_local(name: str) -> None:
    assert not is_local(name)


def test_a_module_of_these_tests_is_local() -> None:
    assert is_local(__name__)


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of the user's own with data, bytecode and a hidden folder in it."""
    folder = tmp_path / "own_things"
    (folder / ".git").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    for name in ("__init__.py", "words.txt", ".git/config", "__pycache__/x.pyc"):
        (folder / name).write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("own_things")
    yield "own_things"
    del sys.modules["own_things"]


def test_a_package_is_copied_with_its_data_and_without_what_never_travels(own_module: str, tmp_path: Path) -> None:
    copy_local(f"{own_module}.inner", tmp_path / "project")
    copied = tmp_path / "project/own_things"
    assert sorted(path.name for path in copied.rglob("*")) == ["__init__.py", "words.txt"]
