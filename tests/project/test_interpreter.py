"""Which Python runs a handler, asked of real interpreters and of things that are none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hatchway.errors import InvalidSpec
from hatchway.project import Cache, git_commit, interpreter
from hatchway.spec.revision import Interpreter

HERE = Path(sys.executable)
ENVIRON = {"PATH": os.environ["PATH"]}


def ask(python: str | None, environ: dict[str, str], root: Path, *, with_packages: bool = True) -> Interpreter:
    with Cache(root / "cache.db") as cache:
        return interpreter(python, environ, root=root, with_packages=with_packages, cache=cache)


def an_environment(folder: Path) -> Path:
    """A virtual environment with one package, "demo 1.2", and no pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    install(folder, "Demo_Package", "1.2")
    return folder


def install(environment: Path, name: str, version: str) -> None:
    (site,) = environment.glob("lib/python*/site-packages")
    (site / f"{name}-{version}.dist-info").mkdir()
    (site / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")


def a_python(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_without_anything_else_it_is_the_commands_own(tmp_path: Path) -> None:
    found = ask(None, ENVIRON, tmp_path)
    assert found.executable == str(HERE)
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.abi.startswith(sys.implementation.cache_tag or "?")
    names = [package.partition("==")[0] for package in found.packages]
    assert "pydantic" in names
    assert list(found.packages) == sorted(found.packages)
    assert not {"hatchway", "pip"} & set(names)


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_active_environment_goes_before_it(tmp_path: Path, variable: str) -> None:
    environment = an_environment(tmp_path / "venv")
    found = ask(None, {**ENVIRON, variable: str(environment)}, tmp_path)
    assert found.executable == str(environment / "bin" / "python")
    assert found.packages == ("demo-package==1.2",)


def test_an_active_environment_that_is_gone_does_not_matter(tmp_path: Path) -> None:
    assert ask(None, {**ENVIRON, "VIRTUAL_ENV": str(tmp_path / "gone")}, tmp_path).executable == str(HERE)


@pytest.mark.parametrize("python", ["venv/bin/python", "./venv", "venv"])
def test_handler_python_is_a_path_in_the_project_or_an_environments_folder(tmp_path: Path, python: str) -> None:
    environment = an_environment(tmp_path / "venv")
    assert ask(python, {**ENVIRON, "VIRTUAL_ENV": "/x"}, tmp_path).executable == str(environment / "bin" / "python")


def test_handler_python_may_be_a_name_on_the_path(tmp_path: Path) -> None:
    python = a_python(tmp_path / "bin" / "python9", f'exec {HERE} "$@"')
    assert ask("python9", {"PATH": str(python.parent)}, tmp_path).executable == str(python)


def test_handler_python_may_be_a_version(tmp_path: Path) -> None:
    version = ".".join(map(str, sys.version_info[:2]))
    assert ask(version, dict(os.environ), tmp_path).version.startswith(f"{version}.")
    with pytest.raises(InvalidSpec, match=r"no Python 3\.99") as caught:
        ask("3.99", dict(os.environ), tmp_path)
    assert "uv python install" in (caught.value.hint or "")


def test_a_new_package_is_seen_though_the_answer_was_kept(tmp_path: Path) -> None:
    environment = an_environment(tmp_path / "venv")
    assert ask("venv", ENVIRON, tmp_path).packages == ("demo-package==1.2",)
    install(environment, "other", "3")
    assert ask("venv", ENVIRON, tmp_path).packages == ("demo-package==1.2", "other==3")


def test_packages_from_files_of_this_machine_are_named(tmp_path: Path) -> None:
    environment = an_environment(tmp_path / "venv")
    (site,) = environment.glob("lib/python*/site-packages")
    for name, url in {"Mine": "file:///home/me/mine", "theirs": "https://example.com/theirs.whl"}.items():
        install(environment, name, "1")
        (site / f"{name}-1.dist-info" / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {}}))
    found = ask("venv", ENVIRON, tmp_path)
    assert found.local == ("mine",)
    assert "mine==1" in found.packages
    assert ask("venv", ENVIRON, tmp_path, with_packages=False).local == ()


def test_the_interpreter_is_asked_once(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    a_python(tmp_path / "bin" / "python", f'echo >> {asked}; exec {HERE} "$@"')
    assert ask("bin/python", ENVIRON, tmp_path) == ask("bin/python", ENVIRON, tmp_path)
    assert asked.read_text() == "\n"


def test_with_dependencies_of_its_own_the_environments_packages_do_not_count(tmp_path: Path) -> None:
    assert ask(None, ENVIRON, tmp_path, with_packages=False).packages == ()


def test_an_old_python_is_refused_with_its_version(tmp_path: Path) -> None:
    a_python(
        tmp_path / "old",
        """echo '{"version": [3, 9, 2], "folders": {}, "packages": [], "local": [], "abi": "cpython-39"}'""",
    )
    with pytest.raises(InvalidSpec, match=r"handler\.python: \./old is Python 3\.9\.2; handlers need 3\.11 or newer"):
        ask("./old", ENVIRON, tmp_path)


@pytest.mark.parametrize("script", ["echo hello", "echo broken >&2; exit 3", ":"])
def test_what_is_no_python_is_refused(tmp_path: Path, script: str) -> None:
    a_python(tmp_path / "odd", script)
    with pytest.raises(InvalidSpec, match="not a Python that works"):
        ask("./odd", ENVIRON, tmp_path)


def test_a_python_that_is_not_there_or_cannot_start_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x")
    for python in ("./text", "./nowhere", "python-that-is-not-there"):
        with pytest.raises(InvalidSpec, match=r"handler\.python"):
            ask(python, ENVIRON, tmp_path)


def test_the_commit_is_told_when_there_is_one(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert git_commit(tmp_path) is None
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    commit = git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
