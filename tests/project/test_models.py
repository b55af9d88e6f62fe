from __future__ import annotations

import re
from pathlib import Path

import pytest

from hatchway.errors import InvalidSpec, NotFound, UsageError
from hatchway.project import collect_only, load_project
from hatchway.project.models import api_name, is_model
from hatchway.spec.api import NAME_PATTERN


@pytest.mark.parametrize(
    ("name", "content", "is_one"),
    [
        ("m.joblib", b"x", True),
        ("m.PKL", b"x", True),
        ("booster.json", b"{}", True),
        ("booster.txt", b"tree", True),
        ("hatchway.yaml", b"name: a", False),
        ("other.yml", b"\x00", False),
        ("conf", b"name: a", False),
        ("conf", "näme: a".encode() * 1000, False),
        ("weights", b"\x80\x05\x95", True),
        ("weights.bin", b"abc\x00", True),
    ],
)
def test_the_suffix_tells_a_model_and_else_the_content(tmp_path: Path, name: str, content: bytes, is_one: bool) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_model(tmp_path / name) is is_one


def test_a_folder_is_a_model_by_what_is_in_it_unless_it_is_a_project(tmp_path: Path) -> None:
    assert not is_model(tmp_path)
    (tmp_path / "MLmodel").touch()
    assert is_model(tmp_path)
    (tmp_path / "hatchway.yaml").touch()
    assert not is_model(tmp_path)
    assert not is_model(tmp_path / "missing.joblib")


@pytest.mark.parametrize(("name", "says"), [("train.py", "is Python"), ("work.ipynb", "is a notebook")])
def test_code_is_answered_with_what_to_do(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).write_text("x = 1")
    with pytest.raises(UsageError, match=says) as caught:
        is_model(tmp_path / name)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("iris.joblib", "iris"),
        ("Iris_Model v2.joblib", "iris-model-v2"),
        ("2024-01.pkl", "model-2024-01"),
        ("b-side.onnx", "model-b-side"),
        ("été.onnx", "t"),
        ("日本.onnx", "model"),
        ("x" * 80 + ".pt", "x" * 42),
        ("a" * 41 + "-b.pt", "a" * 41),
    ],
)
def test_a_name_is_made_of_the_file_name(file: str, name: str) -> None:
    assert api_name(Path(file)) == name
    assert re.fullmatch(NAME_PATTERN, name)


def test_a_model_alone_is_a_project_of_one_api_and_one_file(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("not mine to send")
    (tmp_path / "iris.joblib").write_bytes(b"model")
    project = load_project(tmp_path / "iris.joblib", {})
    (api,) = project.apis
    assert api.document == {"name": "iris", "handler": {"model": "iris.joblib"}}
    assert project.only == ("iris.joblib",)
    assert [file.path for file in collect_only(project.root, project.only).files] == ["iris.joblib"]


def test_the_name_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "model.joblib").touch()
    assert load_project(tmp_path / "model.joblib", {}, "flowers").apis[0].spec.name == "flowers"
    with pytest.raises(InvalidSpec, match="mistake"):
        load_project(tmp_path / "model.joblib", {}, "No Name!")


def test_a_yaml_file_has_its_names_in_it(tmp_path: Path) -> None:
    (tmp_path / "hatchway.yaml").write_text("name: a\nhandler: {path: h.py}\n")
    with pytest.raises(UsageError, match="names of its APIs"):
        load_project(tmp_path, {}, "b")
    with pytest.raises(NotFound):
        load_project(tmp_path / "missing.joblib", {}, "b")


def test_a_name_with_a_dollar_sign_is_no_variable(tmp_path: Path) -> None:
    (tmp_path / "${HOME}.pkl").touch()
    (api,) = load_project(tmp_path / "${HOME}.pkl", {}).apis
    assert api.spec.handler.model == "${HOME}.pkl"


def test_links_of_a_hub_cache_are_followed(tmp_path: Path) -> None:
    blob = tmp_path / "blobs/abc"
    blob.parent.mkdir()
    blob.write_text("{}")
    snapshot = tmp_path / "snapshots/bert"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to(blob)
    project = load_project(snapshot, {})
    assert project.only == ("bert",)
    found = collect_only(project.root, ["bert"])
    assert [(file.path, file.size) for file in found.files] == [("bert/config.json", 2)]
