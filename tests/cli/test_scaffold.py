"""`hatchway init --from`: a project whose handler answers what the model's file alone would."""

from __future__ import annotations

import importlib.util
import json
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost
import yaml
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from hatchway.cli.scaffold import HANDLERS, PICKLED, Payloads, handler_for
from hatchway.contract import Launch
from hatchway.interactive.models import format_of
from hatchway.modelfiles import ModelFile
from hatchway.replica.models.method import Predictions
from hatchway.replica.models.opening import open_model
from tests.cli.conftest import CommandLine

FRAME = pd.DataFrame({"width": [0.0, 1.0, 2.0, 3.0], "height": [1.0, 0.0, 1.0, 0.0]})
LABELS = ["low", "low", "high", "high"]


def a_booster() -> Any:
    return xgboost.train({"max_depth": 2}, xgboost.DMatrix(FRAME.to_numpy(), label=[1, 2, 3, 4]), 3)


def some_trees() -> Any:
    data = lightgbm.Dataset(FRAME.to_numpy().repeat(10, axis=0), label=[1.0, 2.0, 3.0, 4.0] * 10)
    return lightgbm.train({"min_data_in_leaf": 1, "verbose": -1}, data, 3)


def a_sum(*names: str) -> Any:
    """An ONNX model that adds its inputs, of two numbers each, and then 1."""
    kind = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info(name, kind, ["n", 2]) for name in names]
    one = onnx.helper.make_tensor("one", kind, [1], [1.0])
    nodes = [onnx.helper.make_node("Sum", list(names), ["sum"]), onnx.helper.make_node("Add", ["sum", "one"], ["out"])]
    outputs = [onnx.helper.make_tensor_value_info("out", kind, ["n", 2])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, [one])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


MODELS: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "named-classifier": (
        lambda: LogisticRegression().fit(FRAME, LABELS),
        [{"width": 3, "height": 0.5}, [3, 0.5], [{"height": 1, "width": 0}, {"width": 2, "height": 0}]],
    ),
    "named-regressor": (lambda: LinearRegression().fit(FRAME, [1, 2, 3, 4]), [{"width": 1, "height": 2}, [[1, 2]]]),
    "unnamed-classifier": (
        lambda: LogisticRegression().fit(np.asarray(FRAME), [0, 0, 1, 1]),
        [[1.0, 2.0], [[1.0, 2.0], [3.0, 0.0]]],
    ),
    "booster": (a_booster, [[1.0, 2.0], [[1.0, 2.0], [3.0, 0.0]]]),
    "trees": (some_trees, [[1.0, 2.0], [[1.0, 2.0], [3.0, 0.0]]]),
    "one-input": (lambda: a_sum("x"), [[1.0, 2.0], [[1.0, 2.0], [3.0, 0.0]]]),
    "two-inputs": (lambda: a_sum("x", "y"), [{"x": [1.0, 2.0], "y": [3.0, 4.0]}, [{"x": [1.0, 2.0], "y": [0, 0]}]]),
    "objects": (
        lambda: make_pipeline(DictVectorizer(), LogisticRegression()).fit([{"city": "Rome"}, {"age": 3}], ["+", "-"]),
        [{"city": "Rome"}, [{"age": 3.0}, {"city": "Oslo", "age": 2}]],
    ),
    "texts": (
        lambda: make_pipeline(CountVectorizer(), MultinomialNB()).fit(["good film", "bad film"], ["+", "-"]),
        ["a good one", ["a bad one", "film"]],
    ),
}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    monkeypatch.chdir(tmp_path)
    model = MODELS[request.param][0]()
    form = format_of(model)
    assert form is not None
    path = tmp_path / f"{request.param}{form.suffix}"
    form.save(model, path, None)
    return path


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_the_handler_answers_what_the_file_alone_would(
    fresh: CommandLine, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = fresh.run("init", "--from", str(model), "project")
    assert done.code == 0, done.stderr
    project = model.parent / "project"
    monkeypatch.chdir(project)
    (api,) = yaml.safe_load(Path("hatchway.yaml").read_text())
    spec = importlib.util.spec_from_file_location("made_handler", "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.Handler(api["handler"]["config"])
    launch = Launch("", "", "", str(project), "", "", "", model=model.name)
    alone = Predictions(open_model(launch).model)
    payloads = [*MODELS[model.stem][1], json.loads(Path("request.json").read_text())]
    for payload in payloads:
        assert handler.handle_post(payload) == alone.one(payload), payload


@pytest.mark.parametrize("model", ["named-classifier"], indirect=True)
def test_it_says_what_is_there_and_what_comes_next_and_overwrites_nothing(fresh: CommandLine, model: Path) -> None:
    done = fresh.run("init", "--from", str(model))
    assert done.code == 0
    assert "named-classifier: scikit-learn LogisticRegression (joblib)" in done.stdout
    assert "hatchway predict named-classifier request.json" in done.stdout
    assert {path.name for path in Path("named-classifier").iterdir()} == {
        "hatchway.yaml", "handler.py", "request.json", "requirements.txt", model.name,
    }  # fmt: skip
    again = fresh.run("init", "--from", str(model))
    assert again.code == 1
    assert "already has hatchway.yaml" in again.stderr


@pytest.mark.parametrize("model", ["named-classifier"], indirect=True)
def test_in_the_models_own_folder_it_is_not_copied(fresh: CommandLine, model: Path) -> None:
    assert fresh.run("init", "--from", model.name, ".").code == 0
    assert Path("hatchway.yaml").is_file()


@pytest.mark.parametrize("model", ["named-classifier"], indirect=True)
def test_a_template_beside_it_is_too_much(fresh: CommandLine, model: Path) -> None:
    done = fresh.run("init", "iris", "folder", "--from", model.name)
    assert done.code == 2
    assert "--from needs no template" in done.stderr


def test_what_may_run_code_is_not_opened_for_its_example(
    fresh: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    joblib.dump(make_pipeline(FunctionTransformer(posixpath.join), LinearRegression()), "m.joblib")
    done = fresh.run("init", "--from", "m.joblib", "p")
    assert done.code == 0
    assert "no request.json" in done.stderr
    assert not Path("p/request.json").exists()
    assert Path("p/handler.py").exists()


def test_what_is_trusted_is_opened_and_stays_trusted(
    fresh: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = LinearRegression().fit([[0.0, 1.0], [1.0, 1.0]], [0.0, 1.0])
    model.note = posixpath.join
    joblib.dump(model, "m.joblib")
    done = fresh.run("init", "--from", "m.joblib", "p", "--trust")
    assert done.code == 0
    assert "predict m request.json" in done.stdout
    assert json.loads(Path("p/request.json").read_text()) == [0.0, 0.0]
    assert fresh.run("init", "--from", "m.joblib", "q").code == 0  # its content is known now
    assert Path("q/request.json").exists()


@pytest.mark.parametrize("form", [*HANDLERS, *PICKLED])
@pytest.mark.parametrize("example", [None, {"a": 1}, [1], "text"])
def test_every_format_has_a_handler_that_is_python(form: str, example: object) -> None:
    text = handler_for(ModelFile(Path("m"), form, "x", classes=("BertForMaskedLM",)), Payloads(example))
    assert "LOAD" not in text
    assert "TASK" not in text
    assert "ANSWER" not in text
    assert "INPUT_TYPES" not in text
    assert "dtype=DTYPE" not in text
    assert "class Handler" in text
    compile(text, "handler.py", "exec")
