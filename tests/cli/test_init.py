from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from hatchway.cli.init import TEMPLATES, copy_template, find_template
from hatchway.cli.main import app
from hatchway.errors import Conflict
from hatchway.spec.load import load_documents

ANSWER = """
import json, sys, yaml
from handler import Handler
spec = yaml.safe_load(open("hatchway.yaml"))[0]["handler"]
handler = Handler(spec["config"])
print(json.dumps(handler.handle_post(json.load(open("request.json")))))
"""


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["init", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_arguments_it_is_iris_in_a_folder_of_its_own(here: Path) -> None:
    code, stdout, _ = run()
    assert code == 0
    assert (here / "iris/hatchway.yaml").is_file()
    assert "cd iris && pip install -r requirements.txt && python train.py" in stdout
    assert "hatchway predict iris request.json" in stdout


def test_here_needs_no_cd(here: Path) -> None:
    code, stdout, _ = run("empty", ".")
    assert code == 0
    assert (here / "handler.py").is_file()
    assert "cd " not in stdout


def test_nothing_is_overwritten_and_nothing_half_written(here: Path) -> None:
    (here / "iris").mkdir()
    (here / "iris/train.py").write_text("mine")
    code, _, stderr = run("iris")
    assert code == 1
    assert "iris already has train.py" in stderr
    assert [file.name for file in (here / "iris").iterdir()] == ["train.py"]
    assert (here / "iris/train.py").read_text() == "mine"


def test_a_file_in_the_way_is_named(here: Path) -> None:
    (here / "iris").write_text("")
    with pytest.raises(Conflict, match="iris is a file"):
        copy_template(find_template("iris"), here / "iris")


def test_an_unknown_template_is_not_found_and_the_others_are_named() -> None:
    code, _, stderr = run("irris")
    assert code == 3
    assert "iris, recommender, text, empty" in stderr


def test_every_folder_of_templates_is_offered_and_every_offer_exists() -> None:
    folder = Path(str(find_template("iris"))).parent
    assert {entry.name for entry in folder.iterdir() if entry.is_dir()} == {*TEMPLATES, "from_model"}


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_yaml_of_a_template_is_valid_and_its_request_is_its_example(here: Path, template: str) -> None:
    run(template, ".")
    text = (here / "hatchway.yaml").read_text()
    (loaded,) = load_documents(text, file="hatchway.yaml", variables={})
    assert loaded.spec.handler.path == "handler.py"
    assert yaml.safe_load(text)[0]["handler"]["example"] == json.loads((here / "request.json").read_text())


@pytest.mark.parametrize(
    ("template", "key"),
    [("iris", "species"), ("recommender", "recommendations"), ("text", "topic"), ("empty", "message")],
)
def test_a_template_trains_and_answers(here: Path, template: str, key: str) -> None:
    run(template, ".")
    if (here / "train.py").exists():
        subprocess.run([sys.executable, "train.py"], cwd=here, check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-c", ANSWER], cwd=here, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)[key]
