"""What requirements leave open, pinned when a project is deployed to a cluster. With an index of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from hatchway.errors import EnvironmentFailed
from hatchway.project.cache import Cache
from hatchway.project.locking import lock_dependencies
from hatchway.spec.api import Dependencies
from tests.backends.builders import this_interpreter
from tests.wheels import write_wheel

PIP = Dependencies(pip="requirements.txt")
PYPROJECT = Dependencies(pyproject="pyproject.toml")


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "hw_acme", "1.0", ("hw-base>=1",))
    write_wheel(wheels, "hw_base", "1.5")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    return {**plain, "UV_FIND_LINKS": str(wheels), "UV_NO_INDEX": "1"}


def lock(root: Path, dependencies: Dependencies, environ: Mapping[str, str], cache: Cache | None = None) -> str | None:
    return lock_dependencies(root, dependencies, this_interpreter(), environ, cache or Cache(None))


def test_everything_is_pinned_that_a_requirements_file_brings(tmp_path: Path, environ: Mapping[str, str]) -> None:
    write_wheel(tmp_path / "own", "hw_own", "1.0")
    (tmp_path / "requirements.txt").write_text("hw-acme\n./own/hw_own-1.0-py3-none-any.whl\n")
    assert lock(tmp_path, PIP, environ) == "hw-acme==1.0\nhw-base==1.5\n"


def test_the_same_question_has_the_same_answer(tmp_path: Path, environ: Mapping[str, str]) -> None:
    cache = Cache(None)
    (tmp_path / "requirements.txt").write_text("hw-base\n")
    assert lock(tmp_path, PIP, environ, cache) == "hw-base==1.5\n"
    write_wheel(tmp_path / "wheels", "hw_base", "1.6")
    assert lock(tmp_path, PIP, environ, cache) == "hw-base==1.5\n"
    (tmp_path / "requirements.txt").write_text("hw-base>1.5\n")
    assert lock(tmp_path, PIP, environ, cache) == "hw-base==1.6\n"


def test_a_pyproject_is_pinned_where_no_lock_does_it(tmp_path: Path, environ: Mapping[str, str]) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "demo"\nversion = "0"\ndependencies = ["hw-base"]\n')
    assert lock(tmp_path, PYPROJECT, environ) == "hw-base==1.5\n"
    (tmp_path / "uv.lock").write_text("version = 1\n")
    assert lock(tmp_path, PYPROJECT, environ) is None
    assert lock(tmp_path, Dependencies(), environ) is None


def test_what_cannot_be_met_is_told_in_uvs_words(tmp_path: Path, environ: Mapping[str, str]) -> None:
    (tmp_path / "requirements.txt").write_text("hw-acme==9\n")
    with pytest.raises(EnvironmentFailed, match="there is no version of hw-acme==9") as caught:
        lock(tmp_path, PIP, environ)
    assert caught.value.hint == "correct handler.dependencies.pip and deploy again"
