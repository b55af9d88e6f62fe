"""XGBoost's and LightGBM's boosters: what their own files hold."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hatchway.errors import LoadError, RequestError
from hatchway.replica.models.columns import Column, Columns, one_or_many
from hatchway.replica.models.model import Model, Schema
from hatchway.replica.models.sklearn_model import SklearnModel

_NUMBER: Schema = {"type": "number"}


class BoosterModel:
    """See `Model`. Answers what the booster's predict gives: a number, or a list of them for each row."""

    takes_batch = True

    def __init__(self, description: str, columns: Columns, n_outputs: int, run: Callable[[Any], Any]) -> None:
        self.description = description
        self._columns = columns
        self._run = run
        self._array = importlib.import_module("numpy").array
        outputs = {"type": "array", "items": _NUMBER, "minItems": n_outputs, "maxItems": n_outputs}
        self.input_schema = columns.schema
        self.output_schema = one_or_many(outputs if n_outputs > 1 else _NUMBER)
        self.example = columns.example

    def read(self, payload: Any) -> tuple[list[Any], bool]:
        return self._columns.read(payload)

    def predict(self, rows: Sequence[Any]) -> Sequence[Any]:
        try:
            matrix = self._array(rows, dtype=float)
        except ValueError as exc:
            raise RequestError("the records have not the same number of values", status=422) from exc
        return list(self._run(matrix).tolist())


def _columns(names: Sequence[str] | None, count: int) -> Columns:
    return Columns([Column(str(name)) for name in names]) if names else Columns.unnamed(count)


# --- XGBoost ---------------------------------------------------------------------------------------------------
def open_xgboost(path: Path, cpu_threads: int) -> Model:
    """A booster's file; as a classifier with its labels where a scikit-learn wrapper wrote it."""
    xgboost = importlib.import_module("xgboost")
    booster = xgboost.Booster(model_file=str(path))
    if _wrapper_kind(booster) == "classifier" and importlib.util.find_spec("sklearn"):
        classifier = xgboost.XGBClassifier()
        classifier.load_model(str(path))
        classifier.set_params(n_jobs=cpu_threads)
        return SklearnModel(classifier, booster.feature_names or ())
    return of_xgboost(booster, cpu_threads)


def of_xgboost(booster: Any, cpu_threads: int) -> Model:
    """A Booster, from its own file or from a pickle."""
    xgboost = importlib.import_module("xgboost")
    booster.set_param({"nthread": cpu_threads})
    names, types = booster.feature_names, booster.feature_types
    has_categories = "c" in (types or ())

    def run(matrix: Any) -> Any:
        data = xgboost.DMatrix(
            matrix, feature_names=names, feature_types=types, nthread=cpu_threads, enable_categorical=has_categories
        )
        return booster.predict(data)

    columns = _columns(names, booster.num_features())
    return BoosterModel("xgboost Booster", columns, _xgboost_outputs(booster), run)


def _wrapper_kind(booster: Any) -> str:
    try:
        return str(json.loads(booster.attr("scikit_learn") or "{}").get("_estimator_type", ""))
    except (ValueError, AttributeError):
        return ""


def _xgboost_outputs(booster: Any) -> int:
    learner = json.loads(booster.save_config())["learner"]
    parameters = learner["learner_model_param"]
    if learner["objective"]["name"] == "multi:softmax":
        return 1
    return max(int(parameters.get("num_class", 0)), int(parameters.get("num_target", 1)), 1)


# --- LightGBM --------------------------------------------------------------------------------------------------
def open_lightgbm(path: Path, cpu_threads: int) -> Model:
    """A text model."""
    lightgbm = importlib.import_module("lightgbm")
    return of_lightgbm(lightgbm.Booster(model_file=str(path)), cpu_threads)


def of_lightgbm(booster: Any, cpu_threads: int) -> Model:
    """A Booster, from its own file or from a pickle. Raises LoadError (Categories)."""
    if booster.pandas_categorical:
        raise LoadError(
            "the LightGBM model was trained on a DataFrame's category columns, which its file does not name",
            reason="Categories",
            hint="save the scikit-learn wrapper with joblib and an encoder before it, or write a handler.py",
        )
    names = booster.feature_name()
    is_named = not all(name == f"Column_{index}" for index, name in enumerate(names))
    columns = _columns(names if is_named else None, booster.num_feature())

    def run(matrix: Any) -> Any:
        return booster.predict(matrix, num_threads=cpu_threads)

    return BoosterModel("lightgbm Booster", columns, booster.num_model_per_iteration(), run)
