"""Files that are named under handler.dependencies, looked at before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from hatchway.errors import InvalidSpec
from hatchway.project import build_variables, check_dependencies
from hatchway.spec.api import Dependencies

PYPROJECT = '[project]\nname = "Demo_App"\nversion = "1"\ndependencies = ["scikit-learn>=1", "numpy"]\n'
LOCK = """
version = 1

[[package]]
name = "demo-app"
version = "1"
source = { virtual = "." }

[package.metadata]
requires-dist = [
    { name = "numpy" },
    { name = "pytest", marker = "extra == 'dev'" },
    { name = "scikit-learn", specifier = ">=1" },
]
"""


def refusal(root: Path, **dependencies: str) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        check_dependencies(root, Dependencies(**dependencies))
    return caught.value


def test_a_file_of_conda_is_answered_with_the_lines_to_write(tmp_path: Path) -> None:
    (tmp_path / "environment.yml").write_text("dependencies: [python=3.11, numpy=1.26.4, cudatoolkit, pip: [six]]\n")
    error = refusal(tmp_path, pip="environment.yml")
    assert error.message == "handler.dependencies.pip: environment.yml is a file of conda"
    assert error.problems == (
        "requirements.txt: numpy==1.26.4",
        "requirements.txt: six",
        "left out, not from PyPI: cudatoolkit",
    )
    assert error.hint is not None
    assert 'handler: {dependencies: {pip: requirements.txt}, python: "3.11"}' in error.hint


@pytest.mark.parametrize(
    ("file", "text", "part"),
    [
        ("Pipfile", '[packages]\nsix = "==1.16.0"\n', "is a file of Pipenv"),
        ("Pipfile.lock", "{}", "pipenv requirements"),
        ("poetry.lock", "", "poetry export"),
        ("uv.lock", "", "dependencies: {pyproject: pyproject.toml}"),
        ("pyproject.toml", PYPROJECT, "dependencies: {pyproject: pyproject.toml}"),
        ("pyproject.toml", '[tool.poetry.dependencies]\nsix = "^1"\n', "is a file of Poetry"),
    ],
)
def test_files_of_other_tools_are_not_taken_for_requirements(tmp_path: Path, file: str, text: str, part: str) -> None:
    (tmp_path / file).write_text(text)
    error = refusal(tmp_path, pip=file)
    assert part in f"{error.message} {error.hint}"


def test_a_pyproject_of_poetry_is_answered_with_the_lines_to_write(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.poetry.dependencies]\npython = "^3.11"\nsix = "^1.16"\n')
    assert refusal(tmp_path, pyproject="pyproject.toml").problems == ("requirements.txt: six>=1.16,<2",)


@pytest.mark.parametrize(
    ("file", "text", "part"),
    [
        ("pyproject.toml", "[build-system]\n", "has no [project] table"),
        ("pyproject.toml", "[project\n", "is not TOML"),
        ("other.toml", PYPROJECT, "is no pyproject.toml"),
    ],
)
def test_a_pyproject_that_says_nothing_is_refused(tmp_path: Path, file: str, text: str, part: str) -> None:
    (tmp_path / file).write_text(text)
    assert part in refusal(tmp_path, pyproject=file).message


def test_a_lock_that_is_older_than_its_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace('"numpy"', '"pandas"'))
    (tmp_path / "uv.lock").write_text(LOCK)
    error = refusal(tmp_path, pyproject="pyproject.toml")
    assert "uv.lock is older than pyproject.toml: +pandas, -numpy" in error.message
    assert error.hint == "renew it: uv lock"


def test_what_uv_can_install_passes(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    check_dependencies(tmp_path, Dependencies())
    check_dependencies(tmp_path, Dependencies(pip="requirements.txt"))
    check_dependencies(tmp_path, Dependencies(pyproject="pyproject.toml"))
    (tmp_path / "uv.lock").write_text(LOCK)
    check_dependencies(tmp_path, Dependencies(pyproject="pyproject.toml"))


def test_variables_travel_only_where_something_is_installed(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("--index-url https://${USER_NAME}@example.com/simple\nsix\n")
    environ = {"PIP_INDEX_URL": "https://example.com", "USER_NAME": "jo", "OTHER": "x"}
    assert build_variables(tmp_path, Dependencies(), environ) == {}
    found = build_variables(tmp_path, Dependencies(pip="requirements.txt"), environ)
    assert found == {"UV_DEFAULT_INDEX": "https://example.com", "USER_NAME": "jo"}
