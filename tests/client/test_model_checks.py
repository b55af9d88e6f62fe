"""A model's way through a deploy: what is refused, what is asked, and what is remembered."""

from __future__ import annotations

import posixpath
from pathlib import Path

import joblib
import pytest
from sklearn.preprocessing import FunctionTransformer

from hatchway import Client
from hatchway.client import ModelSeen, ProgressEvent
from hatchway.client.model_checks import ModelChecks, trust_all, trust_none
from hatchway.errors import InvalidSpec, UsageError
from hatchway.modelfiles import ModelFile, examine
from hatchway.project import Trust
from hatchway.spec.load import LoadedApi
from hatchway.spec.revision import Interpreter
from tests.control_api.memory_plane import RunningPlane
from tests.model_files import write_safe, write_unsafe
from tests.spec.builders import load


@pytest.fixture
def safe(tmp_path: Path) -> Path:
    return write_safe(tmp_path / "safe.joblib")


@pytest.fixture
def unsafe(tmp_path: Path) -> Path:
    return write_unsafe(tmp_path / "unsafe.joblib")


def an_api(model: Path) -> LoadedApi:
    (api,) = load(f"name: iris\nhandler: {{model: {model.name}}}\n")
    return api


def a_python(*packages: str) -> Interpreter:
    return Interpreter(executable="/venv/bin/python", version="3.11.7", abi="cpython-311", packages=packages)


EVERYTHING = a_python("scikit-learn==99.1", "numpy==2.0", "joblib==1.4", "scipy==1.0")


def test_a_safe_model_needs_no_trust_and_is_told_with_its_skew(safe: Path, tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    checks = ModelChecks(Trust(tmp_path / "t"), trust_none, events.append)
    assert checks.trusted(an_api(safe), safe.parent, EVERYTHING) == ()
    (seen,) = events
    assert isinstance(seen, ModelSeen)
    assert "served with 99.1" in seen.skews[0]


def test_an_unsafe_one_is_refused_with_the_line_to_write(unsafe: Path, tmp_path: Path) -> None:
    checks = ModelChecks(Trust(tmp_path / "t"), trust_none, lambda event: None)
    with pytest.raises(InvalidSpec, match="may run code while it loads") as caught:
        checks.trusted(an_api(unsafe), unsafe.parent, EVERYTHING)
    assert "posixpath.join" in caught.value.problems
    assert "hatchway deploy unsafe.joblib --trust" in str(caught.value.hint)


def test_it_is_asked_about_once(unsafe: Path, tmp_path: Path) -> None:
    asked: list[ModelFile] = []

    def yes(model: ModelFile) -> bool:
        asked.append(model)
        return True

    for ask in (yes, yes, trust_none):
        checks = ModelChecks(Trust(tmp_path / "t"), ask, lambda event: None)
        assert checks.trusted(an_api(unsafe), unsafe.parent, EVERYTHING) == (examine(unsafe).sha256,)
    assert len(asked) == 1


def test_a_changed_file_is_asked_about_anew(unsafe: Path, tmp_path: Path) -> None:
    ModelChecks(Trust(tmp_path / "t"), trust_all, lambda event: None).trusted(an_api(unsafe), unsafe.parent, EVERYTHING)
    joblib.dump(FunctionTransformer(posixpath.split), unsafe)
    with pytest.raises(InvalidSpec, match="may run code"):
        ModelChecks(Trust(tmp_path / "t"), trust_none, lambda event: None).trusted(
            an_api(unsafe), unsafe.parent, EVERYTHING
        )


def test_a_python_without_the_framework_is_refused_with_the_line_of_pip(safe: Path, tmp_path: Path) -> None:
    checks = ModelChecks(Trust(tmp_path / "t"), trust_none, lambda event: None)
    with pytest.raises(InvalidSpec, match="needs scikit-learn==") as caught:
        checks.trusted(an_api(safe), safe.parent, a_python("numpy==2.0", "joblib==1.4"))
    assert "/venv/bin/python -m pip install scikit-learn==" in str(caught.value.hint)


@pytest.mark.parametrize("dependencies", ["{pip: r.txt}", "{pyproject: pyproject.toml}"])
def test_requirements_decide_for_themselves(safe: Path, tmp_path: Path, dependencies: str) -> None:
    (api,) = load(f"name: iris\nhandler: {{model: {safe.name}, dependencies: {dependencies}}}\n")
    checks = ModelChecks(Trust(tmp_path / "t"), trust_none, lambda event: None)
    assert checks.trusted(api, safe.parent, a_python()) == ()


# --- through the client ----------------------------------------------------------------------------------------
def test_what_is_trusted_travels_with_the_source(client: Client, running: RunningPlane, unsafe: Path) -> None:
    client.deploy(unsafe, name="flowers", trust=True, wait=False)
    (api,) = running.plane.requests[0].apis
    assert api.document == {"name": "flowers", "handler": {"model": "unsafe.joblib"}}
    assert [file.path for file in api.source.files] == ["unsafe.joblib"]
    assert api.source.trusted_models == (examine(unsafe).sha256,)
    client.deploy(unsafe, wait=False)  # remembered


def test_nothing_is_sent_of_a_model_that_is_refused(client: Client, running: RunningPlane, unsafe: Path) -> None:
    with pytest.raises(InvalidSpec):
        client.deploy(unsafe)
    assert running.plane.requests == []


def test_one_name_is_for_one_model(client: Client, safe: Path, unsafe: Path) -> None:
    with pytest.raises(UsageError, match="one name"):
        client.deploy(safe, unsafe, name="flowers")


def test_models_and_projects_go_together(client: Client, running: RunningPlane, safe: Path, project: Path) -> None:
    results = client.deploy(safe, project, wait=False)
    assert [result.name for result in results] == ["safe", "iris", "text"]
