"""Files of the other frameworks, served: the numbers of a direct call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import xgboost
from onnx import TensorProto, helper

from hatchway.errors import ModelFileError
from hatchway.modelfiles import examine, files_beside
from hatchway.project import load_project
from tests.replica.models.serving import refusal, served

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)).round(3)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
NAMES = ["a", "b", "c", "d"]


# --- boosters --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", ["json", "ubj", "joblib"])
def test_an_xgboost_booster(tmp_path: Path, suffix: str) -> None:
    data = xgboost.DMatrix(X, Y, feature_names=NAMES)
    booster = xgboost.train({"objective": "multi:softprob", "num_class": 3}, data, 3)
    path = tmp_path / f"m.{suffix}"
    joblib.dump(booster, path) if suffix == "joblib" else booster.save_model(path)
    assert examine(path).framework == "xgboost"
    with served(path) as api:
        direct = booster.predict(xgboost.DMatrix(X[:5], feature_names=NAMES))
        assert np.array_equal(np.array(api.predict(X[:5].tolist()), np.float32), direct)
        assert list(api.method.example) == NAMES
        assert api.post([[1, 2, 3]]).status == 422


@pytest.mark.parametrize("suffix", ["json", "ubj", "joblib"])
def test_an_xgboost_classifier_keeps_its_labels(tmp_path: Path, suffix: str) -> None:
    model = xgboost.XGBClassifier(n_estimators=3).fit(X, Y)
    path = tmp_path / f"m.{suffix}"
    joblib.dump(model, path) if suffix == "joblib" else model.save_model(path)
    with served(path) as api:
        answers = api.predict(X[:5].tolist())
        assert [answer["prediction"] for answer in answers] == model.predict(X[:5]).tolist()
        shares = np.array([list(answer["probabilities"].values()) for answer in answers], np.float32)
        assert np.array_equal(shares, model.predict_proba(X[:5]))


PEOPLE = pd.DataFrame({"age": X[:, 0], "city": pd.Categorical(np.where(X[:, 1] > 0, "Rome", "Oslo"))})


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBClassifier(n_estimators=3, enable_categorical=True),
        lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, min_data_in_leaf=2),
    ],
    ids=["xgboost", "lightgbm"],
)
def test_categories_of_a_data_frame_are_texts(tmp_path: Path, model: Any) -> None:
    model.fit(PEOPLE, Y > 1)
    joblib.dump(model, tmp_path / "m")
    with served(tmp_path / "m") as api:
        answers = api.predict(PEOPLE.head(6).to_dict("records"))
        shares = [list(answer["probabilities"].values()) for answer in answers]
        assert np.allclose(shares, model.predict_proba(PEOPLE.head(6)), rtol=1e-6)
        assert answers[:1] == api.predict(PEOPLE.head(1).to_dict("records"))
        assert api.post(api.method.example).status == 200
        assert api.method.example["city"] == "Oslo"
        refused = api.post({"age": 1.0, "city": 0.5})
        assert "Stack trace" not in refused.text


@pytest.mark.parametrize("suffix", ["txt", "joblib"])
def test_a_lightgbm_booster(tmp_path: Path, suffix: str) -> None:
    booster = lightgbm.train({"objective": "regression", "verbose": -1}, lightgbm.Dataset(X, Y.astype(float)), 3)
    path = tmp_path / f"m.{suffix}"
    joblib.dump(booster, path) if suffix == "joblib" else booster.save_model(path)
    with served(path) as api:
        assert api.predict(X[:5].tolist()) == np.asarray(booster.predict(X[:5])).tolist()
        assert api.predict(X[0].tolist()) == np.asarray(booster.predict(X[:1]))[0]


def test_a_lightgbm_classifier(tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, Y)
    joblib.dump(model, tmp_path / "m")
    with served(tmp_path / "m") as api:
        answers = api.predict(X[:5].tolist())
        assert [list(answer["probabilities"].values()) for answer in answers] == np.asarray(
            model.predict_proba(X[:5])
        ).tolist()


# --- ONNX ------------------------------------------------------------------------------------------------------
def an_onnx(
    path: Path,
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    constants: tuple[Any, ...] = (),
    opset: int = 17,
) -> onnxruntime.InferenceSession | None:
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return onnxruntime.InferenceSession(str(path)) if opset < 100 else None


def floats(name: str, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def linear(path: Path, first: Any = "n", opset: int = 17) -> onnxruntime.InferenceSession | None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 2], RANDOM.normal(size=8).tolist())
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return an_onnx(path, nodes, [floats("x", first, 4)], [floats("y", first, 2)], (weights,), opset)


def test_an_onnx_model_of_one_input(tmp_path: Path) -> None:
    session = linear(tmp_path / "m.onnx")
    assert session is not None
    assert examine(tmp_path / "m.onnx").facts == {"ONNX IR": "8", "ONNX opset": "17"}
    with served(tmp_path / "m.onnx") as api:
        assert api.batches
        direct = session.run(None, {"x": X[:5].astype(np.float32)})[0]
        assert np.array_equal(np.array(api.predict(X[:5].tolist()), np.float32), direct)
        assert api.predict({"x": X[0].tolist()}) == api.predict(X[0].tolist())
        assert api.post([[1, 2, 3]]).status == 422
        assert api.post([[1, 2, 3, "x"]]).status == 422
        assert api.post({"z": [1, 2, 3, 4]}).status == 422
        assert api.post(api.method.example).status == 200


def test_an_onnx_model_whose_batch_is_fixed(tmp_path: Path) -> None:
    session = linear(tmp_path / "m.onnx", first=2)
    assert session is not None
    with served(tmp_path / "m.onnx") as api:
        assert not api.batches
        direct = session.run(None, {"x": X[:2].astype(np.float32)})[0]
        assert np.array_equal(np.array(api.predict(X[:2].tolist()), np.float32), direct)
        assert api.post(X[:3].tolist()).status == 422


def test_an_onnx_model_of_several_inputs_and_outputs(tmp_path: Path) -> None:
    texts = helper.make_tensor_value_info("city", TensorProto.STRING, ["n", 1])
    same = helper.make_tensor_value_info("same", TensorProto.STRING, ["n", 1])
    nodes = [helper.make_node("Identity", ["city"], ["same"]), helper.make_node("Neg", ["age"], ["minus"])]
    an_onnx(tmp_path / "m.onnx", nodes, [texts, floats("age", "n", 1)], [same, floats("minus", "n", 1)])
    with served(tmp_path / "m.onnx") as api:
        assert api.predict({"city": "Rome", "age": 3}) == {"same": "Rome", "minus": -3.0}
        both = api.predict([{"city": "Rome", "age": 3}, {"city": "Oslo", "age": 4.5}])
        assert both == [{"same": "Rome", "minus": -3.0}, {"same": "Oslo", "minus": -4.5}]
        assert api.method.example == {"city": "text", "age": 0.0}
        assert "missing age" in api.post({"city": "Rome"}).error["message"]
        assert api.post({"city": 1, "age": 3}).status == 422


def test_an_onnx_model_that_is_too_new_names_both_versions(tmp_path: Path) -> None:
    linear(tmp_path / "m.onnx", opset=999)
    error = refusal(tmp_path / "m.onnx")
    assert error.reason == "VersionSkew"
    assert "opset 999" in error.message
    assert f"onnxruntime {onnxruntime.__version__}" in error.message


def test_an_onnx_model_whose_weights_lie_beside_it(tmp_path: Path) -> None:
    session = linear(tmp_path / "whole.onnx")
    assert session is not None
    model = onnx.load(tmp_path / "whole.onnx")
    (weights,) = model.graph.initializer
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights), "w"))  # as raw bytes
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    assert files_beside(tmp_path / "m.onnx") == ("m.onnx.data",)
    assert files_beside(tmp_path / "whole.onnx") == ()
    assert load_project(tmp_path / "m.onnx", {}).only == ("m.onnx", "m.onnx.data")
    with served(tmp_path / "m.onnx") as api:
        direct = session.run(None, {"x": X[:5].astype(np.float32)})[0]
        assert np.array_equal(np.array(api.predict(X[:5].tolist()), np.float32), direct)
    (tmp_path / "m.onnx.data").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelFileError, match=r"m\.onnx\.data, which is not beside it"):
        examine(tmp_path / "m.onnx")


def test_weights_of_an_onnx_model_are_not_read_from_elsewhere(tmp_path: Path) -> None:
    linear(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    (weights,) = model.graph.initializer
    weights.ClearField("float_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../secret")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="another folder"):
        examine(tmp_path / "m.onnx")


# --- folders of MLflow -----------------------------------------------------------------------------------------
MLMODEL = """artifact_path: model
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.11.7
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.9.1
mlflow_version: 2.16.0
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}, {"type": "double",
    "name": "b", "required": true}]'
  outputs: '[{"type": "double", "required": true}]'
  params: null
utc_time_created: '2026-01-01 00:00:00.000000'
"""


def test_a_folder_of_mlflow_is_served_by_its_own_framework(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(X[:, :2], Y)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text(MLMODEL)
    (tmp_path / "model" / "requirements.txt").write_text("mlflow==2.16.0\nscikit-learn==0.9\nnumpy==2.0.0\n")
    joblib.dump(model, tmp_path / "model" / "model.pkl")
    found = examine(tmp_path / "model")
    assert (found.format, found.framework, found.unsafe) == ("mlflow", "sklearn", ())
    with served(tmp_path / "model") as api:
        assert api.predict(X[:5, :2].tolist()) == model.predict(X[:5, :2]).tolist()
        assert "scikit-learn 0.9" in api.log


def test_a_python_function_of_mlflow_is_for_the_user_to_trust(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: mine\nmlflow_version: 2.16.0\n")
    assert "mine" in examine(tmp_path).unsafe[0]
    assert refusal(tmp_path).reason == "UntrustedModel"


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertForMaskedLM"], "model_type": "bert"}))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    error = refusal(tmp_path)
    assert error.reason == "MissingPackage"
    assert "pip install" in error.hint
