"""The project as a package: one version, locked dependencies, layers that hold, a wheel with all that is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import hatchway
from tests.shell import REPOSITORY

BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def name_of(requirement: str) -> str:
    """A requirement's package, spelt as in the lock."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=~!;\[ ]", requirement)[0]).lower()


def test_the_version_is_written_once() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", hatchway.__version__)


def test_the_lock_has_every_dependency_and_names_no_place() -> None:
    lock = (REPOSITORY / "requirements-dev.lock").read_text()
    locked = {name_of(line) for line in lock.splitlines()}
    wanted = {name_of(line) for line in (*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"])}
    assert wanted - locked == set()
    assert "/" not in lock


@pytest.mark.timeout(120)
def test_a_wrong_import_is_caught(tmp_path: Path) -> None:
    """The layers are checked for real: a spec that imports the store, in a copy of the sources, fails."""
    shutil.copytree(REPOSITORY / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    api = tmp_path / "src/hatchway/spec/api.py"
    api.write_text(api.read_text() + "\nimport hatchway.store.sqlite\n")
    done = subprocess.run(
        [BIN / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env={"PATH": f"{BIN}:/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "hatchway.spec.api -> hatchway.store.sqlite" in done.stdout


@pytest.mark.e2e
@pytest.mark.timeout(180)
def test_the_wheel_has_the_templates_and_the_types(tmp_path: Path) -> None:
    subprocess.run(
        [BIN / "uv", "build", "--quiet", "--wheel", "--out-dir", tmp_path, REPOSITORY], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"hatchway-{hatchway.__version__}-")
    packed = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(path.relative_to(REPOSITORY / "src"))
        for path in (REPOSITORY / "src/hatchway").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources - packed == set()
    assert "hatchway/py.typed" in packed
    assert "hatchway/templates/iris/hatchway.yaml" in packed
