"""handler.python as a version: behind the seam, and with what this machine has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hatchway.errors import InvalidSpec
from hatchway.project.pythons import UvPythons, of_version


class Shelf:
    """Pythons that are here, and those that can be fetched."""

    def __init__(self, here: set[str], elsewhere: set[str]) -> None:
        self._here = here
        self._elsewhere = elsewhere
        self.downloads: list[str] = []

    def find(self, version: str) -> Path | None:
        return Path(f"/pythons/{version}") if version in self._here else None

    def download(self, version: str) -> str | None:
        self.downloads.append(version)
        self._here |= {version} & self._elsewhere
        return None if version in self._elsewhere else "no download found"


def test_one_that_is_here_is_taken() -> None:
    shelf = Shelf({"3.12"}, {"3.12"})
    assert of_version("3.12", shelf) == Path("/pythons/3.12")
    assert shelf.downloads == []


def test_one_that_is_not_is_downloaded() -> None:
    shelf = Shelf(set(), {"3.12"})
    assert of_version("3.12", shelf) == Path("/pythons/3.12")
    assert shelf.downloads == ["3.12"]


def test_one_that_nobody_has_says_so() -> None:
    with pytest.raises(InvalidSpec, match=r"no Python 3\.77 .* cannot be downloaded: no download found") as caught:
        of_version("3.77", Shelf(set(), set()))
    assert "uv python install 3.77" in (caught.value.hint or "")


def test_the_versions_of_pyenv_are_found(tmp_path: Path) -> None:
    for name in ("3.97.2", "3.97.10", "3.97-dev", "3.9.1"):
        (tmp_path / "versions" / name / "bin").mkdir(parents=True)
        (tmp_path / "versions" / name / "bin" / "python").touch()
    pythons = UvPythons({"PATH": "/nowhere", "PYENV_ROOT": str(tmp_path)}, lambda _: None)
    assert pythons.find("3.97") == tmp_path / "versions" / "3.97.10" / "bin" / "python"
    assert pythons.find("3.97.2") == tmp_path / "versions" / "3.97.2" / "bin" / "python"
    assert pythons.find("3.98") is None


def test_uv_finds_what_is_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)
    version = ".".join(map(str, sys.version_info[:2]))
    assert UvPythons({"PATH": str(tmp_path), "HOME": str(tmp_path)}, lambda _: None).find(version) is not None


def test_a_download_that_cannot_be_is_told_before_and_after(tmp_path: Path) -> None:
    told: list[str] = []
    pythons = UvPythons({"PATH": "/nowhere", "HOME": str(tmp_path)}, told.append)
    assert "3.77" in (pythons.download("3.77") or "")
    assert told == ["3.77"]
