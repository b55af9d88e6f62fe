"""A project on disk as what is served while it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hatchway.dev.apis import Reader, Target
from hatchway.errors import InvalidSpec

YAML = "name: iris\nhandler: {path: handler.py, secrets: {TOKEN: payments/token}}\n"


def read_env(folder: Path, home: Path, **environ: str) -> dict[str, str]:
    (folder / "hatchway.yaml").write_text(YAML)
    (folder / "handler.py").write_text("def predict(payload): return 1\n")
    reader = Reader(Target(folder), {**os.environ, **environ}, home / "project-cache.db", lambda event: None)
    (workload,) = reader.read(lambda question: False)
    return dict(workload.env)


def test_secrets_are_those_of_the_home_else_of_the_shell(tmp_path: Path) -> None:
    project, home = tmp_path / "project", tmp_path / "home"
    project.mkdir()
    home.mkdir()
    assert read_env(project, home, TOKEN="of the shell") == {"TOKEN": "of the shell"}
    (home / "secrets" / "payments").mkdir(parents=True)
    (home / "secrets" / "payments" / "token").write_text("of the home\n")
    assert read_env(project, home, TOKEN="of the shell") == {"TOKEN": "of the home"}


def test_a_secret_that_is_nowhere_is_told_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"handler\.secrets\.TOKEN: payments/token: write it into"):
        read_env(tmp_path, tmp_path)
