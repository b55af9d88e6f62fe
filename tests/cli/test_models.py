"""`hatchway deploy model.joblib`: what is said of the file, what is asked, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hatchway.modelfiles import examine
from tests.cli.conftest import CommandLine
from tests.cli.test_terminal import terminal
from tests.model_files import write_safe, write_unsafe


@pytest.fixture
def safe(tmp_path: Path) -> Path:
    return write_safe(tmp_path / "iris.joblib")


@pytest.fixture
def unsafe(tmp_path: Path) -> Path:
    return write_unsafe(tmp_path / "unsafe.joblib")


def test_a_file_is_enough(cli: CommandLine, safe: Path) -> None:
    done = cli.run("deploy", str(safe))
    assert done.code == 0
    assert "iris.joblib: scikit-learn DummyClassifier (joblib), made with scikit-learn" in done.stderr
    assert "safe to load" in done.stderr
    assert done.stdout.endswith("/iris/docs\n")
    (request,) = cli.engine.plane.requests
    assert [api.document for api in request.apis] == [{"name": "iris", "handler": {"model": "iris.joblib"}}]


def test_it_can_be_named_and_json_is_only_json(cli: CommandLine, safe: Path) -> None:
    done = cli.run("deploy", str(safe), "--name", "my_flowers", "-o", "json")
    assert done.json[0]["name"] == "my-flowers"
    assert done.stderr == ""


def test_where_nobody_can_be_asked_it_is_refused_with_the_line_to_write(cli: CommandLine, unsafe: Path) -> None:
    done = cli.run("deploy", str(unsafe))
    assert done.code == 2
    assert "posixpath.join" in done.stderr
    assert "hatchway deploy unsafe.joblib --trust" in done.stderr
    assert cli.engine.plane.requests == []


def test_trust_is_remembered(cli: CommandLine, unsafe: Path) -> None:
    assert cli.run("deploy", str(unsafe), "--trust").code == 0
    done = cli.run("deploy", str(unsafe))
    assert done.code == 0
    assert "trusted by you before" in done.stderr
    for request in cli.engine.plane.requests:
        assert request.apis[0].source.trusted_models == (examine(unsafe).sha256,)


@pytest.mark.parametrize(("answer", "code", "requests"), [("n", 2, 0), ("y", 0, 1)])
def test_on_a_terminal_it_is_asked(cli: CommandLine, unsafe: Path, answer: str, code: int, requests: int) -> None:
    with terminal(cli, "deploy", str(unsafe)) as screen:
        screen.read_until("[y/N]")
        assert "posixpath.join" in screen.seen
        screen.type(answer + "\n")
        assert screen.read_to_the_end() == code
    assert len(cli.engine.plane.requests) == requests


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        ("missing.joblib", None, 3, "there is no file or folder"),
        ("train.py", "x = 1", 2, "is Python"),
        ("work.ipynb", "{}", 2, "is a notebook"),
        ("empty.pkl", "", 2, "is empty"),
    ],
)
def test_what_is_no_model_is_told_without_starting_an_engine_for_it(
    fresh: CommandLine, tmp_path: Path, name: str, content: str | None, code: int, says: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    done = fresh.run("deploy", str(tmp_path / name))
    assert done.code == code
    assert says in done.stderr
    assert not fresh.settings.home.exists()


def test_two_files_of_one_name_are_not_one_api(cli: CommandLine, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_safe(tmp_path / folder / "model.joblib")
    done = cli.run("deploy", str(tmp_path / "a" / "model.joblib"), str(tmp_path / "b" / "model.joblib"))
    assert done.code == 2
    assert "are both named model" in done.stderr
    assert "--name" in done.stderr
    assert cli.engine.plane.requests == []
