"""Folders that MLflow itself wrote: run where it is installed, by `pytest -m mlflow`; skipped elsewhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from hatchway.cli.scaffold import Payloads, handler_for
from hatchway.modelfiles import examine
from tests.replica.models.serving import refusal, served

mlflow = pytest.importorskip("mlflow")
pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.filterwarnings("ignore"),  # it warns of its own parts
    pytest.mark.timeout(300),
]

FRAME = pd.DataFrame({"width": [0.0, 1.0, 2.0, 3.0], "height": [1.0, 0.0, 1.0, 0.0]})
LABELS = ["low", "low", "high", "high"]
RECORDS = [{"width": 3.0, "height": 0.5}, {"width": 0.0, "height": 1.0}]
FORMATS = ["pickle", "cloudpickle", "skops"]


def save(folder: Path, model: Any, flavour: str, **more: Any) -> Path:
    """As `mlflow.FLAVOUR.log_model` writes it, with a signature, and without a tracking server."""
    signature = mlflow.models.infer_signature(FRAME, model.predict(FRAME))
    module = __import__(f"mlflow.{flavour}", fromlist=["save_model"])
    module.save_model(model, str(folder), signature=signature, pip_requirements=[], **more)
    return folder


@pytest.mark.parametrize("form", FORMATS)
def test_a_model_of_scikit_learn_is_served_without_mlflow(tmp_path: Path, form: str) -> None:
    model = LogisticRegression().fit(FRAME, LABELS)
    folder = save(tmp_path / "model", model, "sklearn", serialization_format=form)
    found = examine(folder)
    assert (found.format, found.framework, found.unsafe) == ("mlflow", "sklearn", ())
    with served(folder) as api:
        answers = api.predict(RECORDS)
        assert [answer["prediction"] for answer in answers] == ["high", "low"]
        shares = model.predict_proba(pd.DataFrame(RECORDS)).tolist()
        # The last digit depends on how a table lies in memory.
        assert np.allclose([list(answer["probabilities"].values()) for answer in answers], shares, rtol=1e-12)
        assert list(api.method.example) == ["width", "height"]


def test_a_model_of_xgboost(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    model = xgboost.XGBRegressor(n_estimators=2).fit(FRAME, [1, 2, 3, 4])
    folder = save(tmp_path / "model", model, "xgboost")
    with served(folder) as api:
        assert np.array_equal(np.array(api.predict(RECORDS), np.float32), model.predict(pd.DataFrame(RECORDS)))


def test_a_model_of_lightgbm(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMRegressor(n_estimators=2, min_data_in_leaf=1, verbose=-1).fit(FRAME, [1, 2, 3, 4])
    folder = save(tmp_path / "model", model, "lightgbm")
    with served(folder) as api:
        assert api.predict(RECORDS) == model.predict(pd.DataFrame(RECORDS)).tolist()


def a_model(predict: Callable[[Any], Any]) -> Any:
    """MLflow is imported within tests only: it warns as it is."""

    class Function(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined]  # of Any
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints
            return predict(model_input)

    return Function()


def a_function(folder: Path) -> Path:
    ratio = a_model(lambda frame: frame["width"] / (frame["height"] + 1))
    signature = mlflow.models.infer_signature(FRAME, FRAME["width"])
    mlflow.pyfunc.save_model(str(folder), python_model=ratio, signature=signature, pip_requirements=[])
    return folder


def test_a_function_is_served_by_mlflow_once_it_is_trusted(tmp_path: Path) -> None:
    folder = a_function(tmp_path / "model")
    found = examine(folder)
    assert found.format == "mlflow"
    assert found.unsafe
    assert refusal(folder).reason == "UntrustedModel"
    with served(folder, [found.sha256]) as api:
        assert api.predict(RECORDS) == [2.0, 0.0]
        assert api.predict(RECORDS[0]) == 2.0
        assert api.method.example == {"width": 0.0, "height": 0.0}
        assert api.post({"width": 1.0}).status == 422


def test_columns_have_the_types_of_the_signature(tmp_path: Path) -> None:
    def kinds(frame: pd.DataFrame) -> list[str]:
        return [",".join(map(str, frame.dtypes))] * len(frame)

    frame = pd.DataFrame({"n": [1], "x": [0.5], "when": pd.to_datetime(["2020-01-01"]), "who": ["me"], "ok": [True]})
    signature = mlflow.models.infer_signature(frame, ["kinds"])
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=a_model(kinds), signature=signature, pip_requirements=[])
    record = {"n": 1.0, "x": 2, "when": "2026-11-24", "who": "you", "ok": False}
    with served(tmp_path / "m", [examine(tmp_path / "m").sha256]) as api:
        assert api.predict([record, record])[1].startswith("int64,float64,datetime64[ns],")
        assert api.post({**record, "n": 1.5}).status == 422
        assert api.post({**record, "n": None}).status == 422
        assert api.post({**record, "when": "yesterday"}).status == 422
        assert "refuses" in api.post({**record, "ok": 7}).error["message"]


def test_arrays_and_texts_are_what_the_signature_says(tmp_path: Path) -> None:
    doubled = a_model(lambda rows: rows * 2)
    upper = a_model(lambda frame: [text.upper() for text in frame.iloc[:, 0]])
    rows = np.ones((2, 3), np.float32)
    models = {"array": (doubled, rows), "texts": (upper, ["a"]), "deep": (doubled, np.ones((2, 3, 4)))}
    for name, (model, inputs) in models.items():
        signature = mlflow.models.infer_signature(inputs, inputs)
        mlflow.pyfunc.save_model(str(tmp_path / name), python_model=model, signature=signature, pip_requirements=[])
    trusted = [examine(tmp_path / name).sha256 for name in models]
    with served(tmp_path / "array", trusted) as api:
        assert api.predict([[1, 2, 3], [0.5, 0, 1]]) == [[2, 4, 6], [1, 0, 2]]
        assert api.predict([1, 2, 3]) == [2, 4, 6]
        assert api.post([1, 2]).status == 422
    with served(tmp_path / "texts", trusted) as api:
        assert api.post("a").text == "A"
        assert api.predict(["a", "b"]) == ["A", "B"]
    assert refusal(tmp_path / "deep", trusted).reason == "UnsupportedInput"


@pytest.mark.parametrize("kind", ["function", "regressor"])
def test_the_handler_to_start_from_answers_the_same(tmp_path: Path, kind: str) -> None:
    if kind == "function":
        folder = a_function(tmp_path / "model")
    else:
        folder = save(tmp_path / "model", LinearRegression().fit(FRAME, [1.0, 2.0, 3.0, 4.0]), "sklearn")
    (tmp_path / "handler.py").write_text(handler_for(examine(folder), Payloads(RECORDS[0])))
    spec = importlib.util.spec_from_file_location("made_handler", tmp_path / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.Handler({"model": str(folder)})
    with served(folder, [examine(folder).sha256]) as api:
        for payload in (RECORDS, RECORDS[0]):
            assert np.allclose(handler.handle_post(payload), api.predict(payload), rtol=1e-12)
