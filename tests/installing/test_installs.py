"""What names an environment: what is to be in it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from hatchway.errors import EnvironmentFailed
from hatchway.installing.installs import ENVIRONMENT, PYTHON, Install, declaration, find_lock, from_lock

PYPROJECT = """
[project]
name = "demo"
dependencies = ["b", "a"]
"""
LOCK = """
version = 1

[[package]]
name = "demo"
source = { virtual = "." }
"""
LOCAL = """
[[package]]
name = "lib"
source = { directory = "lib" }
"""


def a_project(folder: Path, pyproject: str = PYPROJECT, lock: str = LOCK) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(pyproject)
    (folder / "uv.lock").write_text(lock)
    return folder


def test_places_are_filled_in() -> None:
    install = Install("x", ("sync", "--python", PYTHON), Path("/project"), {"WHERE": ENVIRONMENT, "OTHER": "1"})
    assert install.filled(Path("/envs/e")) == (
        ["sync", "--python", "/envs/e/bin/python"],
        {"WHERE": "/envs/e", "OTHER": "1"},
    )


def test_a_lock_names_the_same_environment_in_every_revision(tmp_path: Path) -> None:
    def content(folder: str, **texts: str) -> str:
        project = a_project(tmp_path / folder, **texts)
        lock = find_lock(project, "pyproject.toml")
        assert lock is not None
        return from_lock(project, "pyproject.toml", lock).content

    assert content("one") == content("two") == content("one", lock=f"# a comment\n{LOCK}")
    assert content("one") == content("one", pyproject=f'{PYPROJECT}description = "other"\n')
    assert content("one") != content("one", lock=LOCK + LOCAL)
    assert content("one") != content("one", pyproject=f"{PYPROJECT}[tool.uv]\nno-binary = true\n")
    # What is in a folder of the project may differ between revisions.
    assert content("one", lock=LOCK + LOCAL) != content("two", lock=LOCK + LOCAL)


def test_without_a_lock_the_declaration_counts(tmp_path: Path) -> None:
    def declared(folder: str, pyproject: str = PYPROJECT) -> str:
        return declaration(a_project(tmp_path / folder, pyproject), "pyproject.toml")

    assert declared("one") == declared("two") == declared("one", PYPROJECT.replace('"b", "a"', '"a", "b"'))
    assert declared("one") != declared("one", PYPROJECT.replace('"b"', '"b>1"'))
    local = f'{PYPROJECT}[tool.uv.sources]\na = {{ path = "lib" }}\n'
    assert declared("one", local) != declared("two", local)


@pytest.mark.parametrize("text", ["[project", "\udcff"])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    project = a_project(tmp_path)
    (project / "uv.lock").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(EnvironmentFailed, match=r"cannot read uv\.lock"):
        from_lock(project, "pyproject.toml", project / "uv.lock")
