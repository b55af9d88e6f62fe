"""A file or a folder leads to the APIs it describes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hatchway.errors import InvalidSpec, NotFound
from hatchway.project import load_project

YAML = """
- name: iris
  handler: {path: handler.py, env: {TOKEN: "${TOKEN}", PLACE: "${PLACE:-here}"}}
"""


def test_a_folder_means_its_hatchway_yaml(tmp_path: Path) -> None:
    (tmp_path / "hatchway.yaml").write_text("name: iris\nhandler: {path: handler.py}\n")
    for named in (tmp_path, tmp_path / "hatchway.yaml", str(tmp_path)):
        project = load_project(named, {})
        assert project.root == tmp_path
        assert [api.spec.name for api in project.apis] == ["iris"]


def test_the_environment_goes_before_the_dotenv_file(tmp_path: Path) -> None:
    (tmp_path / "hatchway.yaml").write_text(YAML)
    (tmp_path / ".env").write_text("TOKEN=from-file\nPLACE=there\n")
    (api,) = load_project(tmp_path, {"TOKEN": "from-environment"}).apis
    assert api.variables == {"TOKEN": "from-environment", "PLACE": "there"}
    assert api.document["handler"]["env"]["TOKEN"] == "${TOKEN}"


def test_a_folder_without_a_yaml_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        load_project(tmp_path, {})
    assert "hatchway init" in (caught.value.hint or "")
    (tmp_path / "cortex.yaml").write_text("- name: x\n")
    with pytest.raises(NotFound, match=r"but a cortex\.yaml") as caught:
        load_project(tmp_path, {})
    assert "rename" in (caught.value.hint or "")
    with pytest.raises(NotFound, match="no file or folder"):
        load_project(tmp_path / "nowhere", {})


def test_a_file_that_cannot_be_a_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hatchway.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(InvalidSpec, match="UTF-8"):
        load_project(tmp_path, {})
    (tmp_path / "hatchway.yaml").write_bytes(b"#" * (5 * 2**20))
    with pytest.raises(InvalidSpec, match="larger than 4 MiB"):
        load_project(tmp_path, {})


def test_problems_name_the_file_as_the_user_would(tmp_path: Path) -> None:
    (tmp_path / "hatchway.yaml").write_text("name: iris\nhandlr: {}\n")
    with pytest.raises(InvalidSpec) as caught:
        load_project(tmp_path, {})
    assert caught.value.problems[0].startswith(f"{tmp_path}/hatchway.yaml:")
